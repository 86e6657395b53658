# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a broker: the management API, else Prometheus' endpoint, the command line on its host, its greeting."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import _checks, _command
from ._amqp import Probe, Target
from ._arguments import segment
from ._checks import FAIL, PASS, UNKNOWN, Check, Expected, Seen
from ._deadline import Later
from ._jmespath import Search
from ._management import Answer, Management
from ._metrics import Metrics

CLI_TIMEOUT = 15.0
"""Seconds for all commands: each starts an Erlang VM, and one against a hung node ends after some 8 s."""

PATIENCE = 0.3
"""Share of a look's time after which a management API that has not answered is no longer waited for alone."""

METRICS_TIMEOUT = 1.0
"""Seconds for the Prometheus endpoint where the management API answers: what it adds is not worth more."""

ALARM_METRICS = {
    "rabbitmq_alarms_memory_used_watermark": "memory",
    "rabbitmq_alarms_free_disk_space_watermark": "disk space",
    "rabbitmq_alarms_file_descriptor_limit": "file descriptors",
}


@dataclass(frozen=True)
class Command:
    """What a command printed; ``code`` is None when it could not be run or did not end in time."""

    code: int | None
    text: str


def run_command(argv: Sequence[str], timeout: float) -> Command:
    """Run a command without a shell; nothing is raised."""
    ended = _command.run(argv, timeout)
    if ended.code is None:
        return Command(None, f"{argv[0]} {ended.err}")
    return Command(ended.code, ended.out if ended.out.strip() else ended.err)


@dataclass(frozen=True)
class Rungs:
    """The ways to look, the best first.

    ``metrics`` asks the Prometheus endpoint within so many seconds, None where there is none to ask; ``cli`` is the
    prefix of the commands, empty where there is none.
    """

    management: Management
    probe: Callable[[Target], Probe]
    target: Target
    run: Callable[[Sequence[str], float], Command] = run_command
    cli: tuple[str, ...] = ()
    metrics: Callable[[float], Metrics] | None = None


@dataclass(frozen=True)
class Query:
    """A user's check: ``search`` takes the documents, ``expect`` is what it must return."""

    name: str
    search: Search
    expect: Any


Sampler = Callable[[Seen, "Later[Metrics] | None"], dict[str, Any]]
"""Takes what the checks have read, and what the Prometheus endpoint says: returns what the queues do."""


def look(
    rungs: Rungs, expected: Expected, queries: Sequence[Query], seconds: float, traffic: Sampler | None = None
) -> dict[str, Any]:
    """Look once, and return the module's result but for ``elapsed``; nothing is raised for what is found.

    ``seconds`` bounds it as a whole, but for ``traffic`` and for the command line, which bound themselves.
    """
    management = rungs.management
    management.begin(seconds)
    asked = Later(lambda: management.ask("/api/whoami"))
    # While nothing comes the others are asked already: a broker that hangs must not cost the time of two.
    others = None if asked.done(PATIENCE * seconds) else Others(rungs)
    whoami = asked.result()
    if whoami.ok and not isinstance(whoami.document, dict):
        whoami = Answer("not_management", f"{whoami.detail}: the answer is not RabbitMQ's.")
    if whoami.ok:
        metrics = rungs.metrics
        counters = Later(lambda: metrics(METRICS_TIMEOUT)) if traffic and metrics else None
        seen = collect(management, whoami, expected)
        checks = _checks.judge(seen, expected)
        documents = seen.as_documents()
        checks += [_checks.user_check(query.name, query.search, query.expect, documents) for query in queries]
        seen_traffic = traffic(seen, counters) if traffic else None
        return _result("management", whoami, checks, broker_of(seen), seen_traffic)
    rung, known, broker = (others or Others(rungs)).judge(whoami, expected)
    why = f"not known without the management API ({whoami.outcome})"
    names = [*_checks.NAMES, *(query.name for query in queries)]
    return _result(rung, whoami, [known.get(name, Check(name, UNKNOWN, why, rung)) for name in names], broker, None)


def collect(management: Management, whoami: Answer, expected: Expected) -> Seen:
    """Ask for all that the checks need: first what answers even where the rest would hang."""
    seen = Seen({"whoami": whoami})

    def ask(checks: Sequence[_checks.HealthCheck], version: str | None) -> None:
        for check in checks:
            if _checks.is_asked(check, version, expected):
                path = check.path.format(**{**asdict(expected), "vhost": segment(expected.vhost)})
                seen.health[check.name] = management.ask(f"/api/health/checks/{path}")

    ask(_checks.PROMPT_CHECKS, None)
    for name, path in (("overview", "/api/overview"), ("nodes", "/api/nodes"), ("vhosts", "/api/vhosts")):
        seen.documents[name] = _of_kind(management.ask(path), dict if name == "overview" else list)
    overview = seen.document("overview") or {}
    for name in expected.queues:
        seen.queues[name] = management.ask(f"/api/queues/{segment(expected.vhost)}/{segment(name)}")
    ask(_checks.OTHER_CHECKS, overview.get("rabbitmq_version"))
    return seen


def _of_kind(answer: Answer, kind: type) -> Answer:
    if answer.ok and not isinstance(answer.document, kind):
        return Answer("not_management", f"{answer.detail}: the answer is not RabbitMQ's.")
    return answer


def broker_of(seen: Seen) -> dict[str, Any]:
    """Return which broker it is."""
    overview = seen.document("overview") or {}
    keys = {"version": "rabbitmq_version", "erlang": "erlang_version", "cluster_name": "cluster_name", "node": "node"}
    return {**{key: overview.get(name) for key, name in keys.items()}, "uptime": _checks.uptime(seen)}


# What each command asks, under the name of the check that it answers. check_running alone is not enough: a node in
# maintenance mode runs, with its ports closed.
_COMMANDS = {
    "reachable": "check_running",
    "alarms": "check_alarms",
    "local_alarms": "check_local_alarms",
    "listeners": "check_port_connectivity",
}
_CHECK_FAILED = 69


def _by_command(rungs: Rungs) -> dict[str, Check]:
    """Ask the command line tool on this host; empty where there is none, or it can't reach the node."""
    checks: dict[str, Check] = {}
    left = CLI_TIMEOUT
    for name, command in _COMMANDS.items() if rungs.cli else ():
        began = time.monotonic()
        ran = rungs.run([*rungs.cli, "--formatter", "json", command], left)
        left -= time.monotonic() - began
        if ran.code not in (0, _CHECK_FAILED):
            break  # the tool, the node or the time is gone; what was answered before stays
        checks[name] = Check(name, PASS if ran.code == 0 else FAIL, _line(ran), command, 0.0)
        if (name == "reachable" and ran.code != 0) or left <= 0:
            break  # nothing else can be asked of a node that does not run
    return checks


def _line(ran: Command) -> str:
    """Return what a command said, as one line."""
    try:
        document = json.loads(ran.text)
        said = document.get("message") or document.get("reason") or document.get("result")
        alarms = document.get("local") or document.get("alarms") or []
        text = f"{said}: {json.dumps(alarms)}" if alarms else str(said)
    except (ValueError, AttributeError):
        text = " ".join(ran.text.split())
    code = "" if ran.code in (0, None) else f" (exit code {ran.code})"
    return text[:300] + code


class Others:
    """The rungs below the management API, asked from now on, side by side."""

    def __init__(self, rungs: Rungs) -> None:
        self._rungs = rungs
        # What is left of the look is theirs, with enough to be worth something.
        seconds = min(rungs.target.timeout, max(rungs.management.left(), 1.0))
        self._probe = Later(lambda: rungs.probe(replace(rungs.target, timeout=seconds)))
        metrics = rungs.metrics
        self._metrics = Later(lambda: metrics(seconds)) if metrics else None

    def judge(self, whoami: Answer, expected: Expected) -> tuple[str, dict[str, Check], dict[str, Any]]:
        """Return the best rung that answered, the checks that are known, and which broker it is.

        What the command line says comes before the Prometheus endpoint's, and that before the AMQP greeting's.
        """
        metrics = self._metrics.result() if self._metrics else None
        commands = _by_command(self._rungs)
        found = self._probe.result()
        by_metrics = _by_metrics(metrics, expected) if metrics and metrics.ok else {}
        known = {**_by_amqp(found, whoami), **by_metrics, **commands, "authorised": _authorised(whoami)}
        answered = {"prometheus": bool(by_metrics), "cli": bool(commands), "amqp": found.ok}
        rung = next((name for name, did in answered.items() if did), "none")
        return rung, known, _named(found, metrics)


def _by_metrics(metrics: Metrics, expected: Expected) -> dict[str, Check]:
    """Judge what the Prometheus endpoint says of its node; of others' alarms it knows nothing."""
    source = "prometheus"
    checks = [Check("reachable", PASS, "the Prometheus endpoint answers", source, 0.0)]
    node = metrics.label("rabbitmq_identity_info", "rabbitmq_node")
    if expected.node is not None and node:
        same, text = node == expected.node, f"it calls itself {node}, not {expected.node}"
        checks.append(Check("identity", PASS if same else FAIL, f"it is {node}" if same else text, source, 0.0))
    alarms = {resource: metrics.total(name) for name, resource in ALARM_METRICS.items()}
    raised = [resource for resource, figure in alarms.items() if figure]
    if raised:
        text = f"{', '.join(raised)} on {node}"
        checks += [Check(name, FAIL, text, source, 0.0) for name in ("alarms", "local_alarms")]
    elif None not in alarms.values():
        checks.append(Check("local_alarms", PASS, "no alarm on this node", source, 0.0))
    used, total = (metrics.total(f"rabbitmq_process_{which}_fds") for which in ("open", "max"))
    descriptors = _checks.file_descriptors([{"name": node, "fd_used": used, "fd_total": total}])
    checks.append(Check("file_descriptors", *descriptors, source, 0.0))
    return {check.name: check for check in checks}


def _by_amqp(found: Probe, whoami: Answer) -> dict[str, Check]:
    """Judge the broker's AMQP greeting: that it serves is all that this can tell."""
    hung = found.outcome == "timed_out" and any(stage.name == "header" for stage in found.stages)
    # Where no packet came back, or another server answers, nothing can be said about the broker from here.
    result = PASS if found.ok else FAIL if hung or found.outcome in ("refused", "reset") else UNKNOWN
    listeners = Check("listeners", result, found.message.rstrip("."), "amqp", 0.0)
    if whoami.outcome in ("login_refused", "not_permitted"):
        reachable = Check("reachable", PASS, "the management API answers", "/api/whoami", 0.0)
    else:
        both = f"{listeners.detail}; {whoami.detail.rstrip('.')}"
        reachable = Check("reachable", result, both, "amqp", 0.0)
    return {check.name: check for check in (reachable, listeners)}


def _named(found: Probe, metrics: Metrics | None) -> dict[str, Any]:
    """Return which broker it is, by its AMQP greeting and its Prometheus endpoint."""
    broker = {**_nobody(), "version": found.server.get("version"), "cluster_name": found.server.get("cluster_name")}
    labels = {
        "version": ("rabbitmq_build_info", "rabbitmq_version"),
        "erlang": ("rabbitmq_build_info", "erlang_version"),
        "cluster_name": ("rabbitmq_identity_info", "rabbitmq_cluster"),
        "node": ("rabbitmq_identity_info", "rabbitmq_node"),
    }
    said = {key: metrics.label(*where) for key, where in labels.items()} if metrics else {}
    return {**broker, **{key: text for key, text in said.items() if text}}


def _authorised(whoami: Answer) -> Check:
    result = FAIL if whoami.outcome in ("login_refused", "not_permitted") else UNKNOWN
    hint = " A broker that lost its data knows only guest" if whoami.outcome == "login_refused" else ""
    return Check("authorised", result, f"{whoami.detail}{hint}", "/api/whoami", 0.0 if result == FAIL else None)


def _nobody() -> dict[str, Any]:
    return {"version": None, "erlang": None, "cluster_name": None, "node": None, "uptime": None}


def _result(
    rung: str, whoami: Answer, checks: list[Check], broker: dict[str, Any], traffic: dict[str, Any] | None
) -> dict[str, Any]:
    name = broker["node"] or broker["cluster_name"]
    about = f"RabbitMQ {broker['version']}, {name}" if broker["version"] else "the broker"
    verdict, reason = _checks.verdict(checks, about)
    return {
        "changed": False,
        "verdict": verdict,
        "reason": reason,
        "rung": rung,
        "management": {"outcome": whoami.outcome, "detail": whoami.detail},
        "checks": [asdict(check) for check in checks],
        "unknown": [check.name for check in checks if check.result == UNKNOWN],
        "broker": broker,
        "traffic": traffic,
    }
