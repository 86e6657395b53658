# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, RequestFailed, TimedOut
from ansible_collections.veza.rabbitmq.plugins.modules import api_health as module

PATH = "/api/v1/health"
CONNECTED = {"eventbus": "connected", "pid": 7}
DEGRADED = {"eventbus": "degraded", "pid": 7}
REFUSED = RequestFailed("refused", "GET http://b/api/v1/health: connection refused")


@pytest.fixture
def ask(scripted_http: Callable[..., Any], params_of: Callable[..., Any], clock: Any) -> Callable[..., dict[str, Any]]:
    def run(answers: list[Any], **params: Any) -> dict[str, Any]:
        client = scripted_http(*((PATH, answer) for answer in answers))
        known = params_of(module.argument_spec(), api_url="http://b", **params)
        return module.run(known, client, clock, clock.sleep)

    return run


@pytest.mark.parametrize(
    ("document", "status", "outcome", "connected"),
    [
        (CONNECTED, 200, "connected", True),
        (DEGRADED, 200, "disconnected", False),
        ("hello", 200, "unclear", None),
        (CONNECTED, 503, "ailing", None),
    ],
)
def test_what_an_answer_says(
    ask: Callable[..., Any], reply: Callable[..., Any], document: Any, status: int, outcome: str, connected: bool | None
) -> None:
    seen = ask([reply(document, status)])
    assert (seen["outcome"], seen["connected"], seen["answers"]) == (outcome, connected, status == 200)
    assert not seen["changed"]


def test_no_answer_is_an_outcome(ask: Callable[..., Any]) -> None:
    seen = ask([REFUSED])
    assert (seen["outcome"], seen["answers"], seen["connected"]) == ("refused", False, None)


def test_it_waits_until_the_bus_has_left_degraded_mode(ask: Callable[..., Any], reply: Callable[..., Any]) -> None:
    answers = [REFUSED, reply(CONNECTED, 503), reply(DEGRADED), reply(CONNECTED)]
    assert ask(answers, wait_timeout=10)["outcome"] == "connected"
    assert ask(answers[:3], wait_timeout=10, until="answers")["outcome"] == "disconnected"


def test_a_wait_that_ends_in_vain_fails_with_what_was_seen(
    ask: Callable[..., Any], reply: Callable[..., Any], clock: Any
) -> None:
    with pytest.raises(TimedOut, match="Not as wanted within 1 s") as ended:
        ask([reply(DEGRADED)] * 3, wait_timeout=1)
    assert ended.value.details["outcome"] == "disconnected"
    assert clock.sleeps == [0.5, 0.5]


def test_whose_process_it_is(ask: Callable[..., Any], reply: Callable[..., Any]) -> None:
    assert ask([reply(CONNECTED)], identity="[pid]")["identity"] == [7]
    assert ask([reply(CONNECTED)])["identity"] is None


@pytest.mark.parametrize(
    "params",
    [
        {"connected": "["},
        {"timeout": 0},
        {"wait_timeout": -1},
        {"identity": "["},
        {"connected": "(" * 100_000},
        {"path": "health"},
        {"path": "evil.example:80/x"},
        {"path": ""},
    ],
)
def test_parameters_that_make_no_sense_are_refused(ask: Callable[..., Any], params: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        ask([], **params)


@pytest.mark.parametrize("raises", ["contains(eventbus, bus)", "ceil(n)", "eventbus[::0]", "list[::0]"])
def test_an_expression_that_does_not_fit_the_answer_finds_nothing(
    ask: Callable[..., Any], reply: Callable[..., Any], raises: str
) -> None:
    document = {**CONNECTED, "n": float("inf"), "list": []}
    seen = ask([reply(document)], connected=raises, identity=raises)
    assert (seen["outcome"], seen["identity"]) == ("unclear", None)


def test_main_asks(run_main: Callable[..., Any], served: Callable[..., str]) -> None:
    url = served(lambda one: one.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"eventbus": "connected"}'))
    assert run_main(module, api_url=url).result["outcome"] == "connected"
    assert run_main(module, api_url="http://u:p@b").failed


@pytest.mark.parametrize(("wait", "timeouts"), [(0, [5.0]), (0.5, [1.0]), (6.0, [5.0, 1.0])])
def test_a_server_that_hangs_holds_no_wait_beyond_its_end(
    scripted_http: Callable[..., Any], params_of: Callable[..., Any], clock: Any, wait: float, timeouts: list[float]
) -> None:
    def hang() -> RequestFailed:
        clock.now += client.timeouts[-1]
        return RequestFailed("timed_out", "GET http://b/api/v1/health: no complete answer")

    client, began = scripted_http(*[(PATH, hang)] * len(timeouts)), clock()
    with pytest.raises(TimedOut) if wait else nullcontext():
        module.run(params_of(module.argument_spec(), api_url="http://b", wait_timeout=wait), client, clock, clock.sleep)
    assert client.timeouts == timeouts
    assert clock() - began <= (wait + 1.0 if wait else 5.0)
