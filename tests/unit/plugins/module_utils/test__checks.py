# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _checks
from ansible_collections.veza.rabbitmq.plugins.module_utils._checks import Check, Expected, Seen
from ansible_collections.veza.rabbitmq.plugins.module_utils._jmespath import compiled
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Answer

EXPECTED = Expected(vhost="/veza", queues=("transcode_jobs",), user="monitor")
NODE = {
    "name": "rabbit@mq", "running": True, "partitions": [], "fd_used": 40, "fd_total": 1000, "uptime": 600_000,
}  # fmt: skip
QUEUE = {"name": "transcode_jobs", "state": "running", "messages": 0}


def ok(document: Any) -> Answer:
    return Answer("ok", "GET x", document)


def no(outcome: str) -> Answer:
    return Answer(outcome, f"GET x: {outcome}.")


def seen(**changes: Answer) -> Seen:
    """What a healthy single node shows; a change names a document, a health check or q (the queue)."""
    documents = {
        "whoami": ok({"name": "monitor", "tags": ["monitoring"]}),
        "overview": ok({"node": "rabbit@mq", "rabbitmq_version": "3.10.8", "object_totals": {"queues": 8}}),
        "nodes": ok([NODE]),
        "vhosts": ok([{"name": "/"}, {"name": "/veza", "cluster_state": {"rabbit@mq": "running"}}]),
    }
    health = {
        name: ok({"status": "ok"})
        for name in ("alarms", "local_alarms", "virtual_hosts", "listeners", "quorum_critical")
    }
    queue = changes.pop("q", ok(QUEUE))
    for name, answer in changes.items():
        (documents if name in documents else health)[name] = answer
    return Seen(documents, health, {"transcode_jobs": queue})


def judged(expected: Expected = EXPECTED, **changes: Answer) -> dict[str, Check]:
    return {check.name: check for check in _checks.judge(seen(**changes), expected)}


def verdict(expected: Expected = EXPECTED, **changes: Answer) -> tuple[str, str]:
    return _checks.verdict(_checks.judge(seen(**changes), expected), "RabbitMQ 3.10.8, rabbit@mq")


def test_a_healthy_broker() -> None:
    checks = judged()
    assert tuple(checks) == _checks.NAMES
    assert {name for name, check in checks.items() if check.result != "pass"} == {
        "certificate",
        "leaders",
        "in_service",
    }
    assert verdict() == ("healthy", "All 13 checks passed: RabbitMQ 3.10.8, rabbit@mq.")


ALARM = Answer(
    "check_failed",
    "GET x: There are alarms in effect in the cluster.",
    {"status": "failed", "reason": "There are alarms in effect in the cluster",
     "alarms": [{"node": "rabbit@mq", "resource": "disk space"}]},
)  # fmt: skip

# changes, check, result, what the detail must name, verdict
CASES: dict[str, tuple[dict[str, Answer], str, str, str, str]] = {
    "alarm": ({"alarms": ALARM}, "alarms", "fail", "disk space on rabbit@mq", "unhealthy"),
    "alarms hang": ({"alarms": no("timed_out")}, "alarms", "unknown", "timed_out", "unknown"),
    "alarms 500": ({"alarms": no("server_error")}, "alarms", "unknown", "server_error", "unknown"),
    "alarms 200 nonsense": ({"alarms": ok([])}, "alarms", "unknown", "unexpected", "unknown"),
    "old version": ({"quorum_critical": no("not_found")}, "quorum_critical", "unavailable", "no such", "healthy"),
    "listener": (
        {"listeners": Answer("check_failed", "", {"reason": "No active listener", "missing": 5672})},
        "listeners", "fail", "No active listener: 5672", "unhealthy"),
    "critical": (
        {"quorum_critical": Answer("check_failed", "", {"reason": "r", "queues": [{"readable_name": "queue q in /"}]})},
        "quorum_critical", "fail", "queue q in /", "unhealthy"),
    "vhost missing": ({"vhosts": ok([{"name": "/"}])}, "vhost", "fail", "'/veza' does not exist", "unhealthy"),
    "vhost stopped": (
        {"vhosts": ok([{"name": "/veza", "cluster_state": {"rabbit@mq": "stopped"}}])},
        "vhost", "fail", "rabbit@mq: stopped", "unhealthy"),
    "vhost in no state": (
        {"vhosts": ok([{"name": "/veza", "cluster_state": "stopped"}])}, "vhost", "unknown", "no node", "unknown"),
    "no such check of alarms": ({"alarms": no("not_found")}, "alarms", "unknown", "not known", "unknown"),
    "a node in no state": ({"nodes": ok([{**NODE, "running": None}])}, "nodes_running", "unknown", "", "unknown"),
    "a node in another state": ({"nodes": ok([{**NODE, "running": "no"}])}, "nodes_running", "unknown", "", "unknown"),
    "a count that is none": ({"q": ok({**QUEUE, "messages": True})}, "queues", "unknown", "no count", "unknown"),
    "a count below 0": ({"q": ok({**QUEUE, "messages": -5})}, "queues", "unknown", "no count", "unknown"),
    "figures beyond all bounds": (
        {"nodes": ok([{**NODE, "uptime": 10**400, "fd_total": 10**400}])},
        "file_descriptors", "unknown", "every", "healthy"),
    "vhost hidden": (
        {"vhosts": ok([]), "whoami": ok({"name": "monitor", "tags": "management"})},
        "vhost", "unknown", "needs the tag monitoring", "unknown"),
    "queue missing": ({"q": no("not_found")}, "queues", "fail", "'transcode_jobs' does not exist", "unhealthy"),
    "queue not permitted": ({"q": no("not_permitted")}, "queues", "unknown", "not_permitted", "unknown"),
    "queue without data": ({"q": ok([])}, "queues", "unknown", "transcode_jobs", "unknown"),
    "queue down": ({"q": ok({**QUEUE, "state": "minority"})}, "queues", "fail", "minority", "unhealthy"),
    "no count, long up": ({"q": ok({"name": "transcode_jobs"})}, "queues", "unknown", "no count", "unknown"),
    "node down": (
        {"nodes": ok([NODE, {"name": "rabbit@b", "running": False}])},
        "nodes_running", "fail", "rabbit@b", "unhealthy"),
    "partition": (
        {"nodes": ok([{**NODE, "partitions": ["rabbit@b"]}])},
        "partitions", "fail", "cut off from rabbit@b", "unhealthy"),
    "nodes not reported": ({"nodes": ok([[]])}, "nodes_running", "unknown", "not every node", "unknown"),
    "nodes not permitted": ({"nodes": no("not_permitted")}, "partitions", "unknown", "not_permitted", "unknown"),
    "files": ({"nodes": ok([{**NODE, "fd_used": 950}])}, "file_descriptors", "fail", "950 of 1000", "unhealthy"),
    "files unknown": (
        {"nodes": ok([{k: v for k, v in NODE.items() if k != "fd_used"}])},
        "file_descriptors", "unknown", "", "healthy"),
    "overview hangs": ({"overview": no("timed_out")}, "identity", "unknown", "timed_out", "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_as_it_should_be(case: str) -> None:
    changes, name, result, named, said = CASES[case]
    check = judged(EXPECTED, **changes)[name]
    assert (check.result, named in check.detail) == (result, True), check
    assert verdict(EXPECTED, **changes)[0] == said


def test_every_health_check_names_its_alarm_even_when_nodes_say_all_is_well() -> None:
    calm = ok([{**NODE, "mem_alarm": False, "disk_free_alarm": False}])
    assert verdict(alarms=ALARM, nodes=calm)[0] == "unhealthy"


def test_missing_counts_after_a_boot() -> None:
    young, no_count = ok([{**NODE, "uptime": 6_000}]), ok({"name": "transcode_jobs"})
    assert judged(nodes=young, q=no_count)["queues"].result == "pass"
    assert judged(replace(EXPECTED, settled=True), nodes=young, q=no_count)["queues"].result == "unknown"


EMPTY = ok({"node": "rabbit@mq", "object_totals": {"queues": 0}})


@pytest.mark.parametrize(
    ("expected", "changes", "result"),
    [
        (Expected(node="rabbit@mq"), {}, "pass"),
        (Expected(node="rabbit@old"), {}, "fail"),
        (Expected(node="rabbit@mq"), {"overview": ok({"object_totals": {"queues": 8}})}, "unknown"),
        (Expected(), {}, "pass"),
        (Expected(), {"overview": EMPTY}, "unknown"),
        (Expected(vhost="/veza"), {"overview": EMPTY, "vhosts": ok([{"name": "/"}])}, "fail"),
        (Expected(vhost="/veza", user="monitor"), {"overview": EMPTY, "vhosts": ok([{"name": "/"}])}, "pass"),
    ],
)
def test_a_broker_that_lost_its_data_is_known_by_what_it_does_not_have(
    expected: Expected, changes: dict[str, Answer], result: str
) -> None:
    assert judged(expected, **changes)["identity"].result == result
    if result != "pass":
        assert verdict(expected, **changes)[0] != "healthy"


def test_the_graver_comes_first_in_the_reason() -> None:
    said, reason = verdict(alarms=ALARM, q=no("not_found"))
    assert said == "unhealthy"
    assert reason.startswith("Alarms: There are alarms in effect in the cluster: disk space on rabbit@mq")
    assert "failed too: queues" in reason


@pytest.mark.parametrize(
    ("version", "asked"), [("3.10.8", False), ("4.0.5", False), ("4.1.0", True), ("4.2.0", True), (None, False)]
)
def test_only_what_the_version_has_is_asked(version: str | None, asked: bool) -> None:
    leaders = next(check for check in _checks.OTHER_CHECKS if check.name == "leaders")
    assert _checks.is_asked(leaders, version, EXPECTED) is asked


@pytest.mark.parametrize(
    ("query", "expect", "result"),
    [
        ("overview.object_totals.queues", 8, "pass"),
        ("overview.object_totals.queues", 9, "fail"),
        ("overview.object_totals.queues > `5`", True, "pass"),
        ("queues.transcode_jobs.state", "running", "pass"),
        ("health.alarms.status", "ok", "pass"),
        ("overview.nonesuch", True, "unknown"),
        ("overview.nonesuch", None, "pass"),
        ("length(nonesuch)", 1, "unknown"),
        ("overview.cluster_name[::0] || nodes[::0]", 1, "unknown"),
        ("`1`", True, "fail"),
    ],
)
def test_checks_of_the_user(query: str, expect: Any, result: str) -> None:
    check = _checks.user_check("mine", compiled(query, "mine"), expect, seen().as_documents())
    assert check.result == result, check
