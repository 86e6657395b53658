# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, Stuck, TimedOut, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._queues import Depth, Look
from ansible_collections.veza.rabbitmq.plugins.modules import queue_drain_wait

Made = Callable[..., Any]
START = datetime(2026, 1, 31, 2, 3, 4, tzinfo=UTC)
ODD_PROGRESS: list[dict[str, Any]] = [
    *({"elapsed": odd} for odd in (float("nan"), "nan", float("inf"), -1e9, 1e300, 10**400)),
    *({"first": {"jobs.dlq": odd}} for odd in (float("inf"), float("nan"), -1)),
    {"at": "0001-01-01T00:00:00+14:00"},
]


def depth(ready: int, unacked: int = 0, name: str = "jobs", **more: Any) -> Depth:
    sure = {"known": True, "fresh": True, "settled": True, "confirm": False, "state": "running", "type": "classic"}
    return Depth(name, ready, unacked, **{"consumers": 1, "statistics": ready + unacked, **sure, **more})


def failed(outcome: str, name: str = "jobs", settled: bool = True) -> Depth:
    reason = f"GET http://mq:15672/api/queues/%2Fveza/{name}: {outcome}."
    return Depth(name, reason=reason, outcome=outcome, settled=settled)


class Script:
    """A reader that gives exactly these looks, each after the time that it takes."""

    def __init__(self, clock: Any, looks: Sequence[Any], takes: float, seconds: list[float] | None) -> None:
        self.clock, self.looks, self.takes = clock, list(looks), takes
        self.seconds = [] if seconds is None else seconds

    def look(self, names: Sequence[str], seconds: float) -> Look:
        assert self.looks, "a look too many"
        self.seconds.append(seconds)
        self.clock.sleep(self.takes)
        self.clock.sleeps.pop()
        look = self.looks.pop(0)
        depths = {depth.name: depth for depth in (look if isinstance(look, tuple) else (look,))}
        assert list(depths) == list(names)
        return Look(depths)


@pytest.fixture
def run(params_of: Made, clock: Any) -> Made:
    def run_it(
        looks: Sequence[Any],
        check_mode: bool = False,
        takes: float = 0.0,
        seconds: list[float] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        params = params_of(
            queue_drain_wait.argument_spec(), **{"queues": ["jobs"], "vhost": "/veza", "timeout": 10, **changes}
        )
        script, began = Script(clock, looks, takes, seconds), clock()

        def now() -> datetime:
            return START + timedelta(seconds=clock() - began)

        result = queue_drain_wait.run(params, check_mode, script.look, clock, clock.sleep, now)
        assert not script.looks, "looks that never came"
        return result

    return run_it


def slept(clock: Any) -> list[float]:
    return [seconds for seconds in clock.sleeps if seconds]


def test_it_looks_before_it_sleeps_and_ends_with_the_first_proof(run: Made, clock: Any) -> None:
    result = run([depth(20), depth(10), depth(0)])
    assert (result["drained"], result["changed"], result["elapsed"]) == (True, False, 4.0)
    assert slept(clock) == [2.0, 2.0]
    assert [entry["queues"]["jobs"]["ready"] for entry in result["samples"]] == [20, 10, 0]
    assert result["message"] == "Drained: jobs (4.0 s)."


def test_every_queue_must_have_drained_in_the_same_look(run: Made) -> None:
    looks = [
        (depth(0), depth(1, name="mails")),
        (depth(1), depth(0, name="mails")),
        (depth(0), depth(0, name="mails")),
    ]
    result = run(looks, queues=["jobs", "mails"])
    assert result["drained"]
    assert len(result["samples"]) == 3


def test_a_timeout_fails_with_the_same_keys(run: Made, clock: Any) -> None:
    keys = set(run([depth(0)]))
    with pytest.raises(TimedOut) as timed_out:
        run([depth(9, 3, consumers=0)] * 4, timeout=5)
    assert slept(clock) == [2.0, 2.0, 1.0]
    details = timed_out.value.details
    assert set(details) == keys
    assert (details["drained"], details["elapsed"]) == (False, 5.0)
    assert timed_out.value.message == details["message"]
    assert "jobs: 12 left (ready 9, unacked 3), 0 consumers, +0.0/s" in timed_out.value.message


def test_the_last_look_may_only_take_what_is_left(run: Made) -> None:
    seconds: list[float] = []
    with pytest.raises(TimedOut):
        run([failed("timed_out")] * 2, timeout=6, takes=4.9, seconds=seconds)
    assert seconds == [6.0, 1.0]


def test_check_mode_looks_once(run: Made, clock: Any) -> None:
    result = run([depth(5)], check_mode=True)
    assert (result["drained"], result["changed"], result["queues"][0]["messages"]) == (False, False, 5)
    assert slept(clock) == []
    assert run([depth(0)], check_mode=True)["drained"]


@pytest.mark.parametrize(
    ("outcome", "named"),
    [("not_found", "no queue jobs in virtual host '/veza'"), ("not_permitted", "jobs"), ("login_refused", "jobs")],
)
def test_what_waiting_does_not_change_fails_at_once(run: Made, outcome: str, named: str) -> None:
    with pytest.raises(VezaError, match=named) as refused:
        run([failed(outcome)])
    assert not isinstance(refused.value, TimedOut)
    assert "drained" not in refused.value.details


def test_a_queue_that_vanishes_while_we_wait_fails(run: Made) -> None:
    with pytest.raises(VezaError, match="no queue jobs"):
        run([depth(5), failed("not_found")])


def test_one_missing_queue_of_two_fails(run: Made) -> None:
    with pytest.raises(VezaError, match=r"no queue mails in virtual host '/veza'\.$"):
        run([(depth(0), failed("not_found", "mails"))], queues=["jobs", "mails"])


def test_a_queue_that_is_missing_just_after_a_boot_may_yet_come(run: Made) -> None:
    assert run([failed("not_found", settled=False), depth(0)])["drained"]


@pytest.mark.parametrize("outcome", ["refused", "timed_out", "reset", "server_error", "name_not_resolved", "not_asked"])
def test_a_broker_that_does_not_answer_is_waited_for(run: Made, outcome: str) -> None:
    result = run([failed(outcome), depth(3), failed(outcome), depth(0)])
    assert result["drained"]
    assert result["samples"][2]["queues"]["jobs"] == {"ready": None, "unacked": None, "consumers": None}


@pytest.mark.parametrize("outcome", ["tls_failed", "not_management", "not_http"])
def test_a_wrong_address_fails_at_once_but_not_once_the_broker_has_answered(run: Made, outcome: str) -> None:
    with pytest.raises(VezaError, match=outcome):
        run([failed(outcome)])
    assert run([depth(3), failed(outcome), depth(0)])["drained"]


def test_a_timeout_without_any_answer_says_why(run: Made) -> None:
    with pytest.raises(TimedOut, match=r"jobs: unknown \(GET http://mq:15672/.*refused\)") as timed_out:
        run([failed("refused")] * 2, timeout=2)
    assert timed_out.value.details["queues"][0]["messages"] is None


def test_a_missing_dead_letter_queue_is_unknown_not_a_failure(run: Made) -> None:
    result = run([(depth(0), failed("not_found", "jobs.dlq"))], dead_letter_queues={"jobs": "jobs.dlq"})
    assert (result["drained"], result["dead_lettered"]) == (True, None)


def test_what_was_dead_lettered_is_summed(run: Made) -> None:
    looks = [(depth(9), depth(1, name="jobs.dlq")), (depth(0), depth(10, name="jobs.dlq"))]
    result = run(looks, dead_letter_queues={"jobs": "jobs.dlq"}, max_dead_lettered=9)
    assert (result["drained"], result["dead_lettered"], result["queues"][0]["dead_lettered"]) == (True, 9, 9)
    assert result["queues"][0]["dead_letters"] == 10
    documented = yaml.safe_load(queue_drain_wait.RETURN)["queues"]["contains"]
    assert set(result["queues"][0]) == set(documented)


def test_what_emptied_into_its_dead_letter_queue_fails_at_once_with_the_same_keys(run: Made) -> None:
    looks = [(depth(9), depth(1, name="jobs.dlq")), (depth(0), depth(10, name="jobs.dlq"))]
    keys = set(run(looks, dead_letter_queues={"jobs": "jobs.dlq"}, max_dead_lettered=9))
    with pytest.raises(Stuck, match="emptied into its dead letter queue") as failed_:
        run(looks, dead_letter_queues={"jobs": "jobs.dlq"})
    assert (set(failed_.value.details), failed_.value.details["drained"]) == (keys, False)


def test_on_stuck_fail_ends_with_the_first_that_is_stuck(run: Made) -> None:
    looks = [(depth(9, consumers=0), depth(5, name="mails"))] * 40
    with pytest.raises(Stuck, match=r"jobs: .*no_consumer \(stuck\): nobody has consumed it for 30 s") as stuck:
        run(looks[:16], queues=["jobs", "mails"], on_stuck="fail", timeout=900)
    details = stuck.value.details
    assert (details["stuck"], details["elapsed"]) == (["jobs"], 30.0)
    assert (details["queues"][0]["case"], details["queues"][0]["restart_may_help"]) == ("no_consumer", True)
    with pytest.raises(TimedOut):
        run(looks[:31], queues=["jobs", "mails"], on_stuck="wait", timeout=60)


def test_what_was_given_up_is_watched_and_not_waited_for(run: Made) -> None:
    none, given = depth(9, consumers=0), {"queues": ["jobs", "mails"], "on_stuck": "fail", "given_up": ["jobs"]}
    with pytest.raises(Stuck) as stuck:
        run([(none, depth(5, name="mails"))] * 20 + [(none, depth(0, name="mails"))], timeout=900, **given)
    assert (stuck.value.details["stuck"], stuck.value.details["elapsed"]) == (["jobs"], 40.0)
    assert run([(depth(0), depth(0, name="mails"))], **given)["drained"]


def test_a_wait_goes_on_from_another_one(run: Made, clock: Any) -> None:
    dead, given = {"jobs": "jobs.dlq"}, {"queues": ["jobs"], "timeout": 900, "on_stuck": "fail"}
    looks = [(depth(9, consumers=0), depth(3 + at, name="jobs.dlq")) for at in range(16)]
    with pytest.raises(Stuck) as stuck:
        run(looks, dead_letter_queues=dead, max_dead_lettered=99, **given)
    progress = stuck.value.details["progress"]
    assert (progress["elapsed"], progress["first"]) == (30.0, {"jobs.dlq": 3})
    # The fixture's instants begin with each run: this one begins 10 s after the other has ended.
    progress = {**progress, "at": (START - timedelta(seconds=10)).isoformat()}
    again = [(depth(5, consumers=1), depth(20, name="jobs.dlq")), (depth(0), depth(20, name="jobs.dlq"))]
    result = run(again, dead_letter_queues=dead, max_dead_lettered=99, resume=progress, **given)
    assert (result["drained"], result["elapsed"], result["dead_lettered"]) == (True, 42.0, 17)
    assert [entry["elapsed"] for entry in result["samples"]] == [40.0, 42.0]
    with pytest.raises(TimedOut):
        run([depth(5)], resume={**progress, "elapsed": 890.0}, timeout=900)


def test_until_it_is_worked_on(run: Made) -> None:
    def acked(at: int, consumers: int) -> Depth:
        document = {"name": "jobs", "messages": 90, "message_stats": {"ack": max(0, at - 4)}}
        return depth(90, consumers=consumers, document=document)

    result = run([acked(at, int(at > 2)) for at in range(0, 11, 2)], until="worked_on", timeout=60)
    assert (result["reached"], result["drained"], result["elapsed"]) == (True, False, 10.0)
    assert result["queues"][0]["case"] == "slow"
    for on_stuck in ("wait", "fail"):
        depths = [depth(0, consumers=0), depth(0, consumers=1)]
        empty = run(depths, until="worked_on", timeout=60, on_stuck=on_stuck)
        assert (empty["reached"], empty["elapsed"]) == (True, 2.0)
    with pytest.raises(TimedOut) as timed_out:
        run([depth(0, consumers=0)] * 6, until="worked_on", timeout=10)
    assert not timed_out.value.details["reached"]


def test_stuck_is_judged_through_slices(run: Made) -> None:
    continued = run([depth(9, consumers=0)], timeout=900, slice=0.0)["continued"]
    for _call in range(7):
        looks = [depth(9, consumers=0)] * 2
        continued = run(looks, timeout=900, on_stuck="fail", slice=4.0, continued=continued)["continued"]
    with pytest.raises(Stuck) as stuck:
        run([depth(9, consumers=0)], timeout=900, on_stuck="fail", slice=4.0, continued=continued)
    assert stuck.value.details["elapsed"] == 30.0


def test_not_before_is_an_instant_of_the_clock(run: Made, clock: Any) -> None:
    result = run([depth(0)] * 3, not_before="2026-01-31T03:03:07+01:00")
    assert (result["drained"], result["elapsed"]) == (True, 4.0)


def test_slices_give_the_same_as_one_wait(run: Made, clock: Any) -> None:
    looks = [depth(20, confirm=True), depth(10, confirm=True), *[depth(0, confirm=True)] * 6]
    whole = run(looks, timeout=60)
    samples, continued, calls = [], None, 0
    left = list(looks)
    while True:
        per_call = 1 if calls == 0 else 2
        now, left = left[:per_call], left[per_call:]
        result = run(now, timeout=60, slice=0.0 if calls == 0 else 5.0, continued=continued)
        samples += result["samples"]
        continued, calls = result.pop("continued", None), calls + 1
        if continued is None:
            break
    assert {**result, "samples": 0, "progress": 0} == {**whole, "samples": 0, "progress": 0}
    assert [entry["elapsed"] for entry in samples] == [entry["elapsed"] for entry in whole["samples"]]


def test_a_slice_that_starts_after_the_end_looks_once_more_and_fails(run: Made, clock: Any) -> None:
    first = run([depth(5)], slice=0.0, timeout=10)
    continued = {**first["continued"], "elapsed": 10.4}
    with pytest.raises(TimedOut):
        run([depth(5)], slice=5.0, continued=continued)
    assert slept(clock) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"queues": []},
        {"interval": 0},
        {"request_timeout": 0},
        {"timeout": -1},
        {"threshold": -1},
        {"not_before": "2026-01-31T02:03:04"},
        {"not_before": "yesterday"},
        {"dead_letter_queues": {"mails": "mails.dlq"}},
        {"given_up": ["mails"]},
        {"resume": {"elapsed": 5}},
        {"resume": {"elapsed": 5, "at": "yesterday", "first": {}}},
        *({"resume": {"elapsed": 5, "at": START.isoformat(), "first": {}, **odd}} for odd in ODD_PROGRESS),
        {"task_seconds": {"mails": 5}},
        {"task_seconds": {"jobs": 10**400}},
        {"task_seconds": {"jobs": float("inf")}},
        {"task_seconds": {"jobs": float("nan")}},
        {"task_seconds": {"jobs": -1}},
        {"task_seconds": {"jobs": "long"}},
        {"stuck_after": -1},
        {"max_dead_lettered": -1},
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(run: Made, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        run([], **wrong)


def test_main_fails_with_the_same_keys_and_without_the_password(run_main: Made, served: Made) -> None:
    def fail(connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    port = int(served(fail).rsplit(":", 1)[1])
    outcome = run_main(
        queue_drain_wait, queues=["jobs"], login_port=port, login_host="127.0.0.1", login_password="s3cret", timeout=0
    )
    assert outcome.failed
    assert "500 with an empty body" in outcome.result["msg"]
    assert outcome.result["drained"] is False
    assert "s3cret" not in repr(outcome.result)


def test_the_documentation_has_exactly_the_parameters_and_keys(run: Made) -> None:
    options = set(yaml.safe_load(queue_drain_wait.DOCUMENTATION)["options"])
    login = {"login_user", "login_password", "login_host", "login_port", "login_protocol", "vhost"}
    tls = {"ca_cert", "client_cert", "client_key", "validate_certs"}
    assert options | login | tls == set(queue_drain_wait.argument_spec())
    documented = yaml.safe_load(queue_drain_wait.RETURN)
    result = run([depth(0)])
    assert set(documented) - {"refused"} | {"changed"} == set(result)
    assert set(documented["queues"]["contains"]) == set(result["queues"][0])
