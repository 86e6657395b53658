# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sites that look wrong to whoever takes one sign for all: what is named there, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils import _containers
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_verdict import outage_verdict
from tests.unit.plugins.filter.evidence import (
    ALARM,
    AT,
    DOWN,
    NO_WAY,
    OLDER,
    app,
    at_work,
    causes,
    container,
    evidence,
    fail,
    health,
    info,
    line,
    probe,
    queue,
    traffic,
)

DEFAULTS = Path(__file__).parents[4] / "roles" / "veza" / "defaults" / "main.yml"
TABLE = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["veza_queues"]
SERVICES = [entry["worker"] for entry in TABLE]
TRANSCODE, DMCA, SEARCH = "transcode_jobs", "dmca_propagation", "search_index_updates"
LATER = "2026-01-31T03:00:00.000Z"
NO_CONSUMER = {"consumers": 0, "messages": 40, "acked": 0}
POISON = {"acked": 0, "redelivered_count": 9, "in_vain": 4}


def queues(**changes: Any) -> list[dict[str, Any]]:
    """Return the queues of the runbook's table, at work but for what is said."""
    return [queue(entry["name"], **changes.get(entry["name"], {})) for entry in TABLE]


def named(seen: dict[str, Any]) -> list[str]:
    """Return the cause, and what is named beside it."""
    verdict = outage_verdict(seen, causes(), TABLE)
    return [verdict["cause"], *(other["cause"] for other in verdict["also"])]


def idle(**node: Any) -> dict[str, Any]:
    return evidence(health(traffic=traffic(queues())), info(node={"name": "rabbit@a", **node}), probe())


def other(began: str) -> list[dict[str, Any]]:
    return [{"name": "rabbit@b", "modified_at": AT, "began_at": began}]


@pytest.mark.parametrize(
    ("began", "beside"),
    [(OLDER, OLDER), ("2025-02-01T00:00:00.000Z", "2024-12-01T00:00:00.000Z")],
    ids=["a copy that keeps its times", "an image's node of a year ago"],
)
def test_another_nodes_data_beside_are_no_change_of_name(began: str, beside: str) -> None:
    assert named(idle(began_at=began, others=other(beside))) == ["healthy"]


def missing(service: str) -> dict[str, Any]:
    return {**container(service, service, seen=None), **_containers.missing(service, service), "probe": None}


def test_a_worker_that_runs_on_another_host_has_not_crashed() -> None:
    hosts = {
        name: {"info": app(*[container(one, one) if one in own else missing(one) for one in SERVICES])}
        for name, own in (("w1", SERVICES[:2]), ("w2", SERVICES[2:]))
    }
    seen = evidence(health(traffic=traffic(queues())), info(), probe(), apps=hosts)
    assert named(seen) == ["healthy"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"acked": 0, "unacked": 1, "unacked_for": 400, "acked_total": 120}, "healthy"),
        ({"acked": 0, "unacked": 1, "unacked_for": 70, "acked_total": 0}, "healthy"),
        ({"acked": 0, "unacked": 1, "unacked_for": 560, "acked_total": 120}, "consumers_not_acking"),
        ({"acked": 0, "unacked": 4, "redelivered_count": 4, "in_vain": 0}, "healthy"),
        ({"acked": 0, "unacked": 4, "redelivered_count": 5, "in_vain": 0}, "poison_message"),
        ({"acked": 0, "unacked": 0, "redelivered_count": 1, "in_vain": 0}, "poison_message"),
    ],
    ids=["a long task", "the first since the start", "longer than any", "came back", "comes back", "is away again"],
)
def test_a_worker_at_a_long_task(changes: dict[str, Any], expected: str) -> None:
    assert named(at_work(queues(**{TRANSCODE: changes})))[0] == expected


def test_what_a_worker_that_ends_again_and_again_gets_back_is_poison() -> None:
    changes = {"acked": 0, "unacked": 9, "redelivered_count": 9, "in_vain": 0}
    workers = app(container("w", "worker-transcode", restarts=3, started_at=AT))
    assert named(at_work(queues(**{TRANSCODE: changes}), workers=workers)) == ["poison_message"]
    # Docker waits ever longer: nothing need come back between two looks.
    pause = {"acked": 0, "redelivered_count": 0, "in_vain": 1, "messages": 10, "unacked": 0, "came_back": 2}
    assert named(at_work(queues(**{TRANSCODE: pause}), workers=workers)) == ["poison_message"]
    # What it holds has come back once: it may have ended for want of a broker, and be at work.
    once = {**pause, "unacked": 10, "came_back": 10}
    assert named(at_work(queues(**{TRANSCODE: once}), workers=workers)) == ["worker_crash_loop"]


@pytest.mark.parametrize(("acked", "expected"), [(3, "healthy"), (0, "worker_crash_loop")])
def test_a_worker_that_ended_while_there_was_no_broker_is_at_work_again(acked: int, expected: str) -> None:
    back = "2026-01-31T02:01:00.000Z"
    workers = app(*[container(one, one, restarts=6, started_at=back) for one in SERVICES])
    changes = {entry["name"]: {"acked": acked} for entry in TABLE}
    assert named(at_work(queues(**changes), workers=workers))[0] == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (
            at_work(
                queues(**{DMCA: NO_CONSUMER}),
                workers=app(
                    container("s", "worker-search", state="exited", exit_code=0), container("d", "worker-dmca")
                ),
            ),
            ["worker_stopped", "no_consumers"],
        ),
        (at_work(queues(**{DMCA: NO_CONSUMER, SEARCH: POISON})), ["poison_message", "no_consumers"]),
        (at_work(queues(**{DMCA: {**NO_CONSUMER, **POISON}})), ["poison_message"]),
        (
            evidence(
                health(),
                info(),
                probe(),
                apps={
                    "backend-1": {"info": app(docker={"ok": False, "detail": "x"}, containers=[])},
                    "workers": {"info": app(container("w", "worker-dmca", state="exited", exit_code=137))},
                },
            ),
            ["container_engine_down", "worker_crashed"],
        ),
    ],
    ids=["another queue", "poison in another queue", "the same queue", "another host"],
)
def test_a_cause_explains_what_it_is_about_and_no_more(seen: dict[str, Any], expected: list[str]) -> None:
    assert named(seen) == expected


def test_a_worker_that_hangs_is_not_a_task_that_takes_long() -> None:
    told = line(
        "ack_timeout", f"queue '{TRANSCODE}' in vhost '/veza' has timed out waiting for a consumer acknowledgement"
    )
    workers = app(container("t", "worker-transcode", suspended=True))
    hanging = queues(**{TRANSCODE: {"consumers": 0, "acked": 0, "messages": 30}})
    seen = evidence(health(traffic=traffic(hanging)), info(signatures=[told]), probe(), workers=workers)
    assert named(seen) == ["worker_wedged"]


def test_a_broker_that_serves_does_not_boot_whatever_its_log_has_left() -> None:
    lifecycle = {**info()["lifecycle"], "last": "starting"}
    service = {**info()["service"], "manager": "sysvinit", "state": "running"}
    own = info(lifecycle=lifecycle, service=service, probe=probe())
    assert named(evidence(fail("alarms", ALARM.format("disk space")), own, probe()))[0] == "disk_alarm"


@pytest.mark.parametrize(("revived", "expected"), [(LATER, "minority_paused"), (OLDER, "maintenance_mode")])
def test_a_node_that_was_revived_is_in_maintenance_no_more(revived: str, expected: str) -> None:
    lines = [line("minority_paused"), line("maintenance"), line("revived", at=revived)]
    paused = info(signatures=lines, probe=NO_WAY, listeners=[{"port": 5672, "listening": False}])
    assert named(evidence(DOWN, paused, NO_WAY))[0] == expected
