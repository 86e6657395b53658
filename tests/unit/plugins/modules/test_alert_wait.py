# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, RequestFailed, TimedOut
from ansible_collections.veza.rabbitmq.plugins.modules import alert_wait
from ansible_collections.veza.rabbitmq.plugins.modules.alert_wait import argument_spec

URL = "http://monitor:9093"
QUERY = "active=true&filter=['alertname=\"RabbitMQUnreachable\"']&inhibited=false&silenced=false&unprocessed=false"
ASKED = f"/api/v2/alerts?{QUERY}"


def alert(state: str = "active", **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": "RabbitMQUnreachable", **labels},
        "startsAt": "2026-01-31T02:03:04Z",
        "status": {"state": state, "silencedBy": []},
    }


@pytest.fixture
def run(params_of: Any, scripted_http: Any, clock: Any) -> Any:
    def run_it(*answers: Any, asked: str = ASKED, **params: Any) -> dict[str, Any]:
        client = scripted_http(*((asked, answer) for answer in answers))

        def now() -> str:
            return f"second {clock.now - 1000:g}"

        options = params_of(argument_spec(), **{"url": URL, **params})
        return alert_wait.run(options, client, clock, clock.sleep, now)

    return run_it


def test_it_waits_until_the_alert_fires(run: Any, reply: Any, clock: Any) -> None:
    result = run(reply([]), reply([]), reply([alert()]))
    assert result["firing"] is True
    assert result["at"] == "second 2"
    assert result["alerts"][0]["starts_at"] == "2026-01-31T02:03:04Z"
    assert "fires since 2026-01-31T02:03:04Z" in result["message"]
    assert clock.sleeps == [1, 1]


def test_it_waits_until_nothing_fires(run: Any, reply: Any) -> None:
    result = run(reply([alert()]), reply([]), state="quiet")
    assert (result["firing"], result["alerts"]) == (False, [])


@pytest.mark.parametrize("strange", [{"status": "active"}, {"status": {"state": "active"}, "labels": ["a"]}])
def test_alerts_of_another_make_are_no_answer(run: Any, reply: Any, strange: dict[str, Any]) -> None:
    with pytest.raises(TimedOut, match="no list of alerts"):
        run(reply([strange]), wait_timeout=0)


@pytest.mark.parametrize("wait", [0.5, 6.0])
def test_an_alertmanager_that_hangs_holds_no_wait_beyond_its_end(params_of: Any, clock: Any, wait: float) -> None:
    class Hangs:
        def get(self, _path: str, timeout: float = 5.0, **_more: Any) -> None:
            clock.now += timeout
            raise RequestFailed("timed_out", "no complete answer")

    began, params = clock(), params_of(argument_spec(), url=URL, wait_timeout=wait)
    with pytest.raises(TimedOut):
        alert_wait.run(params, Hangs(), clock, clock.sleep)  # type: ignore[arg-type]
    assert clock() - began <= wait + 1.0


@pytest.mark.parametrize("state", ["suppressed", "unprocessed"])
def test_an_alert_that_nobody_is_told_of_does_not_fire(run: Any, reply: Any, state: str) -> None:
    with pytest.raises(TimedOut, match="not firing") as late:
        run(reply([alert(state)]), wait_timeout=0)
    assert late.value.details["firing"] is False


def test_the_alert_of_another_site_is_none_of_ours(run: Any, reply: Any) -> None:
    asked = ASKED.replace("']", "', 'veza_site=\"paris\"']")
    answers = [reply([alert(veza_site="lyon")]), reply([alert(veza_site="lyon"), alert(veza_site="paris")])]
    result = run(*answers, asked=asked, labels={"veza_site": "paris"})
    assert [entry["labels"]["veza_site"] for entry in result["alerts"]] == ["paris"]
    assert result["at"] == "second 1"


def test_an_alertmanager_that_does_not_answer_is_asked_again(run: Any, reply: Any) -> None:
    refused = RequestFailed("refused", "GET x: connection refused.")
    assert run(refused, reply("<html>", status=502), reply([alert()]))["firing"] is True


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (RequestFailed("refused", "GET x: connection refused."), "refused"),
        ({"status": 200, "document": {"alerts": []}}, "no list of alerts"),
        ({"status": 500, "document": []}, "500"),
        ({"status": 200, "document": ["RabbitMQUnreachable"]}, "no list of alerts"),
    ],
)
def test_no_fit_answer_is_not_a_quiet_one(run: Any, reply: Any, answer: Any, said: str) -> None:
    answer = reply(**answer) if isinstance(answer, dict) else answer
    with pytest.raises(TimedOut, match=said) as late:
        run(answer, state="quiet", wait_timeout=0)
    assert late.value.details["firing"] is None
    assert late.value.details["at"] is None


def test_a_wait_that_ends_fails_with_the_same_keys(run: Any, reply: Any, clock: Any) -> None:
    good = set(run(reply([alert()])))
    with pytest.raises(TimedOut, match=r"not firing after 2\.5 s") as late:
        run(*[reply([])] * 4, wait_timeout=2.5)
    assert set(late.value.details) == good
    assert clock.sleeps == [1, 1, 0.5]


def test_a_label_cannot_break_out_of_its_matcher(run: Any, reply: Any) -> None:
    asked = ASKED.replace("']", "', 'veza_site=\"a\\\\\"b\\\\\\\\\"']")
    with pytest.raises(TimedOut):
        run(reply([]), asked=asked, labels={"veza_site": 'a"b\\'}, wait_timeout=0)


@pytest.mark.parametrize("wrong", [{"url": "monitor:9093"}, {"interval": 0}, {"timeout": 0}, {"wait_timeout": -1}])
def test_what_makes_no_sense_is_refused(params_of: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        alert_wait.client_of(params_of(argument_spec(), **{"url": URL, **wrong}))


def test_as_ansible_runs_it(run_main: Any, served: Any) -> None:
    def answer(connection: socket.socket) -> None:
        body = json.dumps([alert()]).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    url = served(answer)
    assert not run_main(alert_wait, url=url).failed
    outcome = run_main(alert_wait, url=url, state="quiet", wait_timeout=0, _check_mode=True)
    assert outcome.failed
    assert outcome.result["firing"] is True
