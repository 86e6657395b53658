# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is a broker fit to serve? Judged over what the management API answered; nothing is asked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._errors import VezaError
from ._jmespath import Search
from ._management import SEES_ALL, Answer, by_name, mapping, records, version_of

PASS, FAIL, UNKNOWN, UNAVAILABLE = "pass", "fail", "unknown", "unavailable"

STATISTICS_AGE = 10.0
"""Seconds by which statistics lag: sampled every 5 s, seen up to 9 s late."""

BOOT_GRACE = 30.0
"""Seconds of a node's uptime in which counts may be missing: 17 s were seen."""

FILE_DESCRIPTORS = 0.9
"""Share of the file descriptors in use above which connections are about to be refused."""

DEAD_STATES = frozenset({"down", "minority", "stopped", "terminated", "crashed", "nodedown"})
"""States of a queue in which nobody can use it."""


@dataclass(frozen=True)
class Expected:
    """What a fit broker has."""

    vhost: str = "/"
    queues: tuple[str, ...] = ()
    node: str | None = None
    amqp_port: int = 5672
    certificate_days: int | None = None
    settled: bool = False
    user: str = "guest"


@dataclass(frozen=True)
class Check:
    """One check's answer. ``age`` says by how many seconds its figures may lag; None where nothing was read."""

    name: str
    result: str
    detail: str
    source: str
    age: float | None = None


@dataclass
class Seen:
    """What one look brought: answers by name of the document, of the health check, and of the queue."""

    documents: dict[str, Answer] = field(default_factory=dict)
    health: dict[str, Answer] = field(default_factory=dict)
    queues: dict[str, Answer] = field(default_factory=dict)

    def document(self, name: str) -> Any:
        """Return a document, or None if it was not got."""
        answer = self.documents.get(name)
        return answer.document if answer and answer.ok else None

    def as_documents(self) -> dict[str, Any]:
        """Return all that was got; what was not got is missing, so that an expression finds nothing there."""
        had = {name: answer.document for name, answer in self.documents.items() if answer.ok}
        health = {name: answer.document for name, answer in self.health.items() if answer.document is not None}
        return {**had, "health": health, "queues": {name: a.document for name, a in self.queues.items() if a.ok}}


@dataclass(frozen=True)
class HealthCheck:
    """One of RabbitMQ's own health checks; ``since`` is the version that brought it, empty if older than 3.8.10."""

    name: str
    path: str
    since: tuple[int, ...] = ()


NAMES = (
    "reachable", "authorised", "identity", "alarms", "local_alarms", "vhost", "queues", "nodes_running", "partitions",
    "file_descriptors", "virtual_hosts", "listeners", "quorum_critical", "certificate", "leaders", "in_service",
)  # fmt: skip
"""Every check, the graver first."""

ADVISORY = frozenset({"file_descriptors", "quorum_critical", "certificate", "leaders", "in_service"})
"""Unknown here does not keep a broker from being called healthy: these warn of the future, or are unmeasured."""

ALARMS = ("alarms", "local_alarms")
"""Without an answer to these nobody is called healthy: every version that is supported has them."""

# Asked first: these answer at once, even while a cluster is being partitioned and everything else hangs.
PROMPT_CHECKS = (
    HealthCheck("alarms", "alarms"),
    HealthCheck("local_alarms", "local-alarms"),
    HealthCheck("virtual_hosts", "virtual-hosts"),
)
OTHER_CHECKS = (
    HealthCheck("listeners", "port-listener/{amqp_port}"),
    HealthCheck("quorum_critical", "node-is-quorum-critical"),
    HealthCheck("certificate", "certificate-expiration/{certificate_days}/days"),
    HealthCheck("leaders", "quorum-queues-without-elected-leaders/vhost/{vhost}/", (4, 1, 0)),
    HealthCheck("in_service", "is-in-service", (4, 1, 1)),
)

# What a failed health check adds to its reason, by key of its answer.
_CULPRITS: dict[str, Callable[[Any], str]] = {
    "alarms": lambda found: ", ".join(
        f"{alarm.get('resource', 'unknown')} on {alarm.get('node', 'unknown')}" for alarm in records(found)
    ),
    "queues": lambda found: ", ".join(str(q.get("readable_name") or q.get("name")) for q in records(found)),
    "virtual-hosts": lambda found: ", ".join(map(str, found)) if isinstance(found, list) else str(found),
    "missing": str,
}


def health_check(check: HealthCheck, answer: Answer | None) -> Check:
    """Judge the answer of a health check; None means that it was not asked, because this version has none."""
    source = f"/api/health/checks/{check.path.split('/')[0]}"
    if answer is not None and answer.outcome == "not_found" and check.name in ALARMS:
        return Check(check.name, UNKNOWN, f"{answer.detail}: whether an alarm is in effect is not known", source)
    if answer is None or answer.outcome == "not_found":
        since = f" (since {'.'.join(map(str, check.since))})" if check.since else ""
        return Check(check.name, UNAVAILABLE, f"this version of RabbitMQ has no such check{since}", source)
    document = answer.document if isinstance(answer.document, dict) else {}
    if answer.ok and document.get("status") == "ok":
        return Check(check.name, PASS, str(document.get("reason", "ok")), source, 0.0)
    if answer.outcome == "check_failed":
        culprits = "; ".join(tell(document[key]) for key, tell in _CULPRITS.items() if document.get(key))
        reason = str(document.get("reason", "failed"))
        return Check(check.name, FAIL, f"{reason}: {culprits}" if culprits else reason, source, 0.0)
    said = f"{answer.detail}: unexpected answer" if answer.ok else answer.detail
    return Check(check.name, UNKNOWN, said, source)


def whole(value: Any) -> int | None:
    """Return a figure of the broker's if it is a count: a whole number, not negative, and not beyond what it counts."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def sees_all(seen: Seen) -> bool:
    """Whether the user is shown every vhost and node."""
    tags = mapping(seen.document("whoami")).get("tags")
    words = tags.replace(" ", "").split(",") if isinstance(tags, str) else tags
    return isinstance(words, list) and any(tag in words for tag in SEES_ALL)


def vhost(seen: Seen, expected: Expected) -> Check:
    """Judge whether the expected virtual host is there and runs on every node."""
    source, answer = "/api/vhosts", seen.documents["vhosts"]
    if not answer.ok:
        return Check("vhost", UNKNOWN, answer.detail, source)
    known = by_name(answer.document)
    if expected.vhost not in known:
        if not sees_all(seen):
            why = f"the management user '{expected.user}' is not shown it: it needs the tag monitoring"
            return Check("vhost", UNKNOWN, f"virtual host '{expected.vhost}': {why}", source)
        there = ", ".join(f"'{name}'" for name in known)
        return Check("vhost", FAIL, f"virtual host '{expected.vhost}' does not exist (there are {there})", source, 0.0)
    states = mapping(known[expected.vhost].get("cluster_state"))
    if not states and "cluster_state" in known[expected.vhost]:
        return Check("vhost", UNKNOWN, f"'{expected.vhost}': no node tells whether it runs", source)
    stopped = [f"{node}: {state}" for node, state in sorted(states.items()) if state != "running"]
    if stopped:
        return Check(
            "vhost", FAIL, f"virtual host '{expected.vhost}' is not running ({', '.join(stopped)})", source, 0.0
        )
    return Check("vhost", PASS, f"'{expected.vhost}' runs", source, 0.0)


def queue(name: str, answer: Answer, expected: Expected, uptime: float | None) -> tuple[str, str]:
    """Judge one expected queue: result and detail. ``uptime`` is the youngest node's, in seconds."""
    if answer.outcome == "not_found":
        return FAIL, f"queue '{name}' does not exist in virtual host '{expected.vhost}'"
    document = answer.document if isinstance(answer.document, dict) else {}
    if not answer.ok or document.get("name") != name:
        return UNKNOWN, f"queue '{name}': {answer.detail}"
    if str(document.get("state")) in DEAD_STATES:
        return FAIL, f"queue '{name}' is {document['state']}"
    if whole(document.get("messages")) is not None:
        return PASS, f"'{name}' has {document['messages']} messages"
    if not expected.settled and (uptime is None or uptime < BOOT_GRACE):
        return PASS, f"'{name}' is there, its count not yet"
    return UNKNOWN, f"queue '{name}' has no count: not settled after a boot, or without a leader"


def queues(seen: Seen, expected: Expected) -> Check:
    """Judge the expected queues together: the worst is the answer."""
    if not expected.queues:
        return Check("queues", UNAVAILABLE, "no queue was named", "/api/queues")
    judged = [queue(name, seen.queues[name], expected, uptime(seen)) for name in expected.queues]
    worst = next(result for result in (FAIL, UNKNOWN, PASS) if any(found == result for found, _text in judged))
    detail = "; ".join(text for result, text in judged if result == worst)
    return Check("queues", worst, detail, "/api/queues", STATISTICS_AGE)


def uptime(seen: Seen) -> float | None:
    """Return the uptime of the youngest node in seconds; None while any is unknown."""
    nodes = [node for node in records(seen.document("nodes")) if node.get("running") is not False]
    times = [node.get("uptime") for node in nodes]
    known = [time for time in map(whole, times) if time is not None]
    return min(known) / 1000 if known and len(known) == len(times) else None


def _running(nodes: list[dict[str, Any]]) -> tuple[str, str]:
    down = [str(node.get("name")) for node in nodes if node.get("running") is False]
    if down:
        return FAIL, f"not running: {', '.join(down)}"
    if not nodes or any(node.get("running") is not True for node in nodes):
        return UNKNOWN, "not every node has reported yet"
    return PASS, f"{len(nodes)} of {len(nodes)} nodes run"


def _partitions(nodes: list[dict[str, Any]]) -> tuple[str, str]:
    split = [
        f"{node.get('name')} is cut off from {', '.join(map(str, node['partitions']))}"
        for node in nodes
        if isinstance(node.get("partitions"), list) and node["partitions"]
    ]
    if split:
        return FAIL, "; ".join(split)
    if len(nodes) == 1:
        return PASS, "single node"  # also in its first seconds, when it says nothing of partitions yet
    if not nodes or any(
        not isinstance(node.get("partitions"), list) for node in nodes if node.get("running") is not False
    ):
        return UNKNOWN, "not every node has reported yet"
    return PASS, "none reported (a partition is reported after some 90 s)"


def file_descriptors(nodes: list[dict[str, Any]]) -> tuple[str, str]:
    """Judge whether each node has file descriptors left: result and detail."""
    figures = [
        (node.get("name"), whole(node.get("fd_used")), whole(node.get("fd_total")))
        for node in nodes
        if node.get("running") is not False
    ]
    known = [(name, used, total) for name, used, total in figures if used is not None and total is not None]
    short = [f"{name}: {used} of {total} in use" for name, used, total in known if used > FILE_DESCRIPTORS * total > 0]
    if short:
        return FAIL, "; ".join(short)
    if not figures or len(known) < len(figures):
        return UNKNOWN, "not every node has reported yet"
    return PASS, "; ".join(f"{used} of {total}" for _name, used, total in known)


_NODE_CHECKS: dict[str, Callable[[list[dict[str, Any]]], tuple[str, str]]] = {
    "nodes_running": _running,
    "partitions": _partitions,
    "file_descriptors": file_descriptors,
}


def nodes(seen: Seen) -> list[Check]:
    """Judge the nodes as this node sees them."""
    source, answer = "/api/nodes", seen.documents["nodes"]
    if not answer.ok:
        return [Check(name, UNKNOWN, answer.detail, source) for name in _NODE_CHECKS]
    entries = records(answer.document)
    return [Check(name, *judge(entries), source, STATISTICS_AGE) for name, judge in _NODE_CHECKS.items()]


def identity(seen: Seen, expected: Expected, missing: bool) -> Check:
    """Judge whether this is the broker that is meant, with its data; ``missing``: the vhost or a queue is.

    A broker that starts with an empty data directory, or under a new node name, is up and knows only guest.
    """
    source, answer = "/api/overview", seen.documents["overview"]
    if not answer.ok:
        return Check("identity", UNKNOWN, answer.detail, source)
    name = answer.document.get("node")
    if expected.node is not None:
        if name == expected.node:
            return Check("identity", PASS, f"it is {name}", source, 0.0)
        if name is None:
            return Check("identity", UNKNOWN, "the node's name is shown to the tag monitoring only", source)
        return Check(
            "identity", FAIL, f"it calls itself {name}, not {expected.node}: another broker or empty data", source, 0.0
        )
    count = mapping(answer.document.get("object_totals")).get("queues")
    if expected.user != "guest":
        return Check("identity", PASS, f"it knows the user '{expected.user}'", source, 0.0)
    if count:
        return Check("identity", PASS, f"it has {count} queues", source, 0.0)
    if missing and count == 0:
        return Check("identity", FAIL, "it has no queue at all: its data is lost, or it is another broker", source, 0.0)
    return Check(
        "identity", UNKNOWN, "it has no queue, as after the loss of its data: name the node or its queues", source
    )


def judge(seen: Seen, expected: Expected) -> list[Check]:
    """Return every check over the answers of the management API, in the order of NAMES."""
    the_vhost, the_queues = vhost(seen, expected), queues(seen, expected)
    checks = [
        Check("reachable", PASS, "the management API answers", "/api/whoami", 0.0),
        Check("authorised", PASS, f"as '{expected.user}'", "/api/whoami", 0.0),
        identity(seen, expected, FAIL in (the_vhost.result, the_queues.result)),
        the_vhost,
        the_queues,
        *nodes(seen),
        *(health_check(check, seen.health.get(check.name)) for check in PROMPT_CHECKS + OTHER_CHECKS),
    ]
    if expected.certificate_days is None:
        checks.append(Check("certificate", UNAVAILABLE, "certificate_days is not set", "module"))
    by_name = {check.name: check for check in checks}
    return [by_name[name] for name in NAMES]


def verdict(checks: list[Check], about: str) -> tuple[str, str]:
    """Return healthy, unhealthy or unknown, and why in one sentence; ``about`` names the broker.

    A login that is refused says nothing about the broker, so it makes the verdict unknown.
    """
    failed = [check for check in checks if check.result == FAIL]
    grave = [check for check in failed if check.name != "authorised"]
    open_ = [check for check in checks if check.result == UNKNOWN and check.name not in ADVISORY]
    if grave:
        return "unhealthy", f"{_told(grave[0])}{_others(grave)}: {about}."
    if failed:
        return "unknown", f"{_told(failed[0])}: {about}. Unknown therefore: {_names(open_)}."
    if open_:
        return "unknown", f"{_told(open_[0])}: {about}. Nothing failed. Unknown: {_names(open_)}."
    passed = sum(check.result == PASS for check in checks)
    return "healthy", f"All {passed} checks passed: {about}."


def _told(check: Check) -> str:
    return f"{check.name.replace('_', ' ').capitalize()}: {check.detail.rstrip('.')}"


def _names(checks: list[Check]) -> str:
    return ", ".join(check.name for check in checks) or "nothing"


def _others(failed: list[Check]) -> str:
    return f" (failed too: {_names(failed[1:])})" if failed[1:] else ""


def is_asked(check: HealthCheck, version: str | None, expected: Expected) -> bool:
    """Whether this version has the check, as far as known, and the user wants it."""
    if check.name == "certificate" and expected.certificate_days is None:
        return False
    return not check.since or version_of(version) >= check.since


def user_check(name: str, query: Search, expect: Any, documents: Mapping[str, Any]) -> Check:
    """Judge a user's expression over the documents; what is not there is unknown, not a failure."""
    try:
        found = query(documents)
    except VezaError as error:  # a function of the expression got null, or what it can't work on
        return Check(name, UNKNOWN, error.message, "query")
    if found is None and expect is not None:
        return Check(name, UNKNOWN, "the expression finds nothing in the documents", "query")
    # 1 is not true here.
    same = found == expect and isinstance(found, bool) == isinstance(expect, bool)
    return Check(name, PASS if same else FAIL, f"found {found!r}, expected {expect!r}", "query", STATISTICS_AGE)
