# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._workers import guilty_workers

TABLE = [
    {"name": "jobs", "worker": "worker-jobs"},
    {"name": "mails", "worker": "worker-mails"},
    {"name": "letters", "worker": "worker-mails"},
    {"name": "nobody"},
]


def stuck(name: str = "jobs", case: str = "no_consumer", may_help: bool = True) -> dict[str, Any]:
    return {"name": name, "case": case, "case_reason": "nobody consumes it", "restart_may_help": may_help}


def container(state: str = "running", service: str = "worker-jobs", suspended: bool = False) -> dict[str, Any]:
    return {"name": f"veza-{service}-1", "service": service, "state": state, "suspended": suspended}


def on(**hosts: list[dict[str, Any]]) -> dict[str, Any]:
    return {host: {"containers": containers} for host, containers in hosts.items()}


def brought(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["target"], one["state"]) for one in result["workers"]]


def whys(result: dict[str, Any]) -> dict[str, str]:
    return {one["queue"]: one["why"] for one in result["left"]}


@pytest.mark.parametrize(
    ("state", "needs"),
    [("running", "restarted"), ("exited", "started"), ("created", "started"), ("dead", "started"),
     ("paused", "started")],
)  # fmt: skip
def test_what_a_worker_needs_is_told_by_its_container(state: str, needs: str) -> None:
    result = guilty_workers([stuck()], TABLE, on(one=[container(state), container(service="worker-mails")]), [])
    assert (brought(result), result["left"]) == ([("worker-jobs@one", needs)], [])
    assert result["workers"][0]["queues"] == ["jobs"]


@pytest.mark.parametrize("case", ["poison", "crash_loop", "alarm", "worker_blocked", "no_leader"])
def test_what_no_restart_helps_has_no_guilty_worker(case: str) -> None:
    result = guilty_workers([stuck(case=case, may_help=False)], TABLE, on(one=[container()]), [])
    assert (result["workers"], whys(result)) == ([], {"jobs": f"{case}: nobody consumes it"})


def test_a_crash_loop_of_the_engine_is_left_alone() -> None:
    result = guilty_workers([stuck()], TABLE, on(one=[container("restarting")]), [])
    assert result["workers"] == []
    assert "log" in whys(result)["jobs"]


def test_it_is_restarted_once() -> None:
    recent = [{"name": "restart_worker", "target": "worker-jobs@one", "at": "2026-01-31T02:03:04.000Z"}]
    result = guilty_workers([stuck()], TABLE, on(one=[container()]), recent)
    assert result["workers"] == []
    assert "did not help" in whys(result)["jobs"]
    others = [{**recent[0], "target": "worker-jobs@two"}, {**recent[0], "name": "start_broker"}]
    assert brought(guilty_workers([stuck()], TABLE, on(one=[container()]), others))


def test_one_worker_of_two_queues_is_restarted_for_both() -> None:
    seen = on(one=[container(service="worker-mails")])
    result = guilty_workers([stuck("mails"), stuck("letters")], TABLE, seen, [])
    assert brought(result) == [("worker-mails@one", "restarted")]
    assert result["workers"][0]["queues"] == ["mails", "letters"]


def test_of_several_those_that_plainly_do_nothing_are_guilty() -> None:
    seen = on(one=[container()], two=[container(suspended=True)], three=[container("missing")])
    assert brought(guilty_workers([stuck()], TABLE, seen, [])) == [("worker-jobs@two", "restarted")]
    both = on(one=[container()], two=[container()])
    assert len(guilty_workers([stuck()], TABLE, both, [])["workers"]) == 2


def test_whose_worker_is_not_known_is_said() -> None:
    result = guilty_workers([stuck("nobody"), stuck()], TABLE, on(one=[container("missing")], two=[]), [])
    assert result["workers"] == []
    assert "names no worker" in whys(result)["nobody"]
    assert "no host of veza_workers" in whys(result)["jobs"]


UNSEEN = {
    "unreachable": {"unreachable": True, "msg": "timed out"},
    "failed": {"failed": True, "msg": "no python"},
    "nothing": None,
    "engine silent": {"containers": [], "docker": {"ok": False, "detail": "no answer"}},
}


@pytest.mark.parametrize("unseen", UNSEEN.values(), ids=UNSEEN)
def test_where_a_host_was_not_seen_only_those_that_are_seen_to_hang_are_guilty(unseen: Any) -> None:
    result = guilty_workers([stuck()], TABLE, {"w1": unseen, **on(w2=[container()])}, [])
    assert result["workers"] == []
    assert "w1, which may have one, could not be looked at" in whys(result)["jobs"]
    alone = guilty_workers([stuck()], TABLE, {"w1": unseen}, [])
    assert alone["workers"] == []
    assert whys(alone) == whys(result)
    hangs = guilty_workers([stuck()], TABLE, {"w1": unseen, **on(w2=[container(suspended=True)])}, [])
    assert brought(hangs) == [("worker-jobs@w2", "restarted")]


def test_a_host_without_an_engine_has_no_container() -> None:
    nothing = {"containers": [], "docker": {"ok": None, "detail": "there is no docker"}}
    assert brought(guilty_workers([stuck()], TABLE, {"w1": nothing, **on(w2=[container()])}, []))


def test_two_containers_of_one_service_on_one_host_are_one_worker() -> None:
    assert brought(guilty_workers([stuck()], TABLE, on(one=[container(), container()]), [])) == [
        ("worker-jobs@one", "restarted")
    ]
    several = on(one=[container("exited"), container(suspended=True), container("paused")])
    assert brought(guilty_workers([stuck()], TABLE, several, [])) == [("worker-jobs@one", "restarted")]
