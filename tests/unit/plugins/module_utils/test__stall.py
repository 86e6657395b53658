# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._queues import Depth, Look
from ansible_collections.veza.rabbitmq.plugins.module_utils._stall import CASES, NAMES, ROWS, Facts, Track, classify
from ansible_collections.veza.rabbitmq.plugins.modules import queue_drain_wait

CONNECTION = "10.0.0.5:40000 -> 10.0.0.2:5672"
LIVE = {"state": "running", "timeout": 10}


def depth(
    ready: int,
    unacked: int = 0,
    consumers: int = 1,
    by: Sequence[str] | None = None,
    name: str = "jobs",
    more: dict[str, Any] | None = None,
    **stats: int,
) -> Depth:
    """Return a queue's figures; ``stats`` are counters as RabbitMQ names them."""
    connections = [CONNECTION] * consumers if by is None else by
    document = {
        "name": name,
        "messages": ready + unacked,
        "message_stats": stats,
        "consumer_details": [{"channel_details": {"connection_name": one}} for one in connections],
    }
    sure = {"known": True, "fresh": True, "settled": True, "confirm": False, "state": "running", "type": "classic"}
    return Depth(name, ready, unacked, consumers, document=document, **{**sure, **(more or {})})


class Watched:
    """A queue whose samples are given one after the other; a wait's slices are JSON between them."""

    def __init__(self, task: float = 60.0) -> None:
        self.track, self.task = Track(), task

    def take(self, elapsed: float, seen: Depth, dead: int | None = None, **look: Any) -> Facts:
        self.track = Track(**json.loads(json.dumps(self.track.as_dict())))
        dead_letters = None if dead is None else depth(dead, name="jobs.dlq")
        return self.track.take(seen, dead_letters, Look({"jobs": seen}, **look), elapsed, self.task)

    def cases(self, until: int, seen: Callable[[int], Depth], step: int = 5, **more: Callable[[int], Any]) -> list[str]:
        """Return the case after each sample."""
        found = []
        for at in range(0, until + 1, step):
            facts = self.take(float(at), seen(at), **{name: value(at) for name, value in more.items()})
            case = classify(facts)
            assert case.says(facts)
            found.append(case.name)
        return found


def alive(at: int) -> dict[str, Any]:
    """Return the connections of a look: the client's heartbeats arrive."""
    return {CONNECTION: {**LIVE, "recv_oct": 1000 + at}}


def dead(_at: int) -> dict[str, Any]:
    return {CONNECTION: {**LIVE, "recv_oct": 1000}}


def test_one_that_drains() -> None:
    cases = Watched().cases(30, lambda at: depth(1000 - 10 * at, 5, ack=10 * at, deliver=10 * at + 5))
    assert cases[:2] == ["undecided", "undecided"]
    assert set(cases[2:]) == {"draining"}


def test_a_worker_that_acks_every_20_seconds_drains() -> None:
    cases = Watched().cases(120, lambda at: depth(100 - at // 20, 5, ack=at // 20), connections=alive)
    assert "consumers_not_acking" not in cases
    assert cases[-1] == "draining"


def test_nobody_consumes() -> None:
    assert Watched().cases(15, lambda at: depth(100, consumers=0)) == ["undecided"] * 2 + ["no_consumer"] * 2


@pytest.mark.parametrize(("ready", "unacked"), [(95, 5), (0, 100)])
def test_consumers_that_do_not_ack(ready: int, unacked: int) -> None:
    cases = Watched().cases(70, lambda at: depth(ready, unacked, deliver=unacked), connections=alive)
    assert cases[2:12] == ["quiet"] * 10
    assert cases[12:] == ["consumers_not_acking"] * 3


def test_a_long_heartbeat_gives_a_consumer_longer() -> None:
    def slow(at: int) -> dict[str, Any]:
        return {CONNECTION: {"state": "running", "timeout": 60, "recv_oct": at // 30}}

    cases = Watched().cases(190, lambda at: depth(95, 5), connections=slow)
    assert cases[35:37] == ["quiet", "consumers_not_acking"]


def test_a_task_may_take_longer_than_usual() -> None:
    cases = Watched(task=600.0).cases(590, lambda at: depth(95, 5), connections=alive)
    assert set(cases[2:]) == {"quiet"}


def test_a_consumer_whose_host_has_vanished() -> None:
    cases = Watched().cases(25, lambda at: depth(95, 5), connections=dead)
    assert cases[2:] == ["quiet", "consumer_vanished", "consumer_vanished", "consumer_vanished"]


def test_a_poison_message() -> None:
    cases = Watched().cases(15, lambda at: depth(99, 1, deliver=50 * at, redeliver=50 * at), connections=alive)
    assert cases[2:] == ["poison", "poison"]


def test_a_poison_message_beside_others_that_are_done() -> None:
    cases = Watched().cases(15, lambda at: depth(99 - at, 1, ack=at, redeliver=50 * at), connections=alive)
    assert cases[2:] == ["poison", "poison"]


def test_a_restarted_worker_is_no_poison() -> None:
    cases = Watched().cases(
        40, lambda at: depth(100 - max(at - 10, 0), 5, ack=max(at - 10, 0), redeliver=5 if at > 5 else 0)
    )
    assert {"poison", "crash_loop"}.isdisjoint(cases)
    assert cases[-1] == "draining"


def test_a_crash_loop_by_what_it_takes() -> None:
    cases = Watched().cases(20, lambda at: depth(100, consumers=0, deliver=at, redeliver=at))
    assert cases[2:] == ["crash_loop"] * 3


def test_a_crash_loop_by_who_comes_and_goes() -> None:
    cases = Watched().cases(20, lambda at: depth(100, by=[f"connection {at}"]))
    assert cases[-1] == "crash_loop"


def test_a_crash_loop_that_docker_slows_down() -> None:
    # Docker waits for up to a minute before it starts a container again.
    cases = Watched().cases(240, lambda at: depth(100, consumers=0, deliver=at // 60, redeliver=at // 60))
    assert cases[20] == "no_consumer"
    assert cases[-1] == "crash_loop"


def test_alarms() -> None:
    def still(_at: int) -> Any:
        return depth(95, 5, deliver=5)

    def told(_at: int) -> str:
        return "disk space on rabbit@a"

    assert Watched().cases(15, still, alarms=told, connections=alive)[2:] == ["alarm", "alarm"]

    def blocked(at: int) -> dict[str, Any]:
        return {CONNECTION: {**LIVE, "state": "blocked", "recv_oct": at}}

    assert Watched().cases(15, still, alarms=told, connections=blocked)[2:] == ["worker_blocked", "worker_blocked"]
    # Who only consumes goes on under an alarm.
    assert Watched().cases(15, lambda at: depth(100 - at, 5, ack=at), alarms=told)[2:] == ["draining", "draining"]


def test_more_comes_in_than_is_done() -> None:
    cases = Watched().cases(15, lambda at: depth(100 + 5 * at, 5, ack=5 * at, publish=10 * at))
    assert cases[2:] == ["inflow", "inflow"]


def test_what_leaves_is_given_up() -> None:
    watched = Watched()
    cases = watched.cases(15, lambda at: depth(100 - 5 * at, 5, deliver=5 * at), dead=lambda at: 3 + 5 * at)
    assert cases[2:] == ["dead_lettering", "dead_lettering"]
    some = Watched().cases(15, lambda at: depth(100 - 5 * at, 5, ack=4 * at), dead=lambda at: at)
    assert some[2:] == ["draining", "draining"]


def test_a_quorum_queue_without_a_leader() -> None:
    def seen(_at: int) -> Depth:
        return Depth("jobs", type="quorum", state="running", settled=True, reason="its count is missing")

    assert Watched().cases(15, seen) == ["unknown", "unknown", "no_leader", "no_leader"]


def test_a_queue_whose_node_is_down() -> None:
    assert Watched().cases(0, lambda _at: Depth("jobs", state="down", settled=True)) == ["queue_down"]


def test_a_broker_that_is_away_is_unknown_and_then_its_clients_have_time_to_come_back() -> None:
    def seen(at: int) -> Depth:
        if at < 30:
            return Depth("jobs", reason="connection refused", outcome="refused")
        return depth(100, consumers=0 if at < 50 else 1, more={"settled": at > 35}, ack=max(0, at - 55))

    cases = Watched().cases(80, seen)
    assert cases[:6] == ["unknown"] * 6
    assert cases[6:9] == ["undecided"] * 3
    assert cases[-1] == "draining"


def test_a_broker_that_stays_away_is_waited_for_no_longer() -> None:
    watched = Watched()
    cases = watched.cases(130, lambda _at: Depth("jobs", reason="connection refused", outcome="refused"))
    assert set(cases[:-3]) == {"unknown"}
    assert cases[-3:] == ["broker_away"] * 3


def test_a_message_that_comes_into_an_idle_queue_is_not_late() -> None:
    cases = Watched().cases(200, lambda at: depth(0, 0 if at < 190 else 1, ack=50), connections=alive)
    assert "consumers_not_acking" not in cases


def test_counters_that_began_anew_are_no_growth() -> None:
    facts = None
    watched = Watched()
    for at, acked in ((0, 500), (5, 510), (10, 3), (15, 13)):
        facts = watched.take(float(at), depth(100, ack=acked))
    assert facts is not None
    assert (facts.acked, facts.seconds) == (10, 5.0)


def test_the_samples_behind_a_case_are_the_ends_of_its_window() -> None:
    watched = Watched()
    watched.cases(60, lambda at: depth(100, 5, ack=at, publish=2 * at), dead=lambda _at: 7)
    first, last = watched.track.behind()
    assert (first["elapsed"], last["elapsed"], last["acked"] - first["acked"]) == (30.0, 60.0, 30)
    assert set(first) == {
        "elapsed", "ready", "unacked", "consumers", "published", "delivered", "acked", "redelivered_count",
        "dead_letters", "connections",
    }  # fmt: skip


def test_a_short_interval_keeps_no_more() -> None:
    watched = Watched()
    for at in range(2000):
        watched.take(at / 20, depth(100))
    assert len(watched.track.rows) <= 1.2 * ROWS


def test_every_case_is_named_and_documented() -> None:
    assert len(set(NAMES)) == len(NAMES)
    text = json.dumps(yaml.safe_load(queue_drain_wait.RETURN)["queues"]["contains"]["case"]["description"])
    assert [name for name in NAMES if f"V({name})" not in text] == []
    # What a restart may end is never what one makes worse.
    assert {case.name for case in CASES if case.restart} == {"no_consumer", "consumers_not_acking"}
