# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a broker: the management API, else the command line on its host, else its AMQP greeting."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import _checks
from ._amqp import Probe, Target
from ._arguments import segment
from ._checks import FAIL, PASS, UNKNOWN, Check, Expected, Seen
from ._management import Answer, Management

CLI_TIMEOUT = 15.0
"""Seconds for one command: each starts an Erlang VM, and one against a hung node ends after some 8 s."""


@dataclass(frozen=True)
class Command:
    """What a command printed; ``code`` is None when it could not be run or did not end in time."""

    code: int | None
    text: str


def run_command(argv: Sequence[str], timeout: float) -> Command:
    """Run a command without a shell; nothing is raised."""
    try:
        done = subprocess.run(argv, capture_output=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Command(None, f"{argv[0]} did not end within {timeout:g} s")
    except OSError as error:
        return Command(None, f"{argv[0]} can't be run: {error.strerror}")
    return Command(done.returncode, (done.stdout if done.stdout.strip() else done.stderr).decode("utf-8", "replace"))


@dataclass(frozen=True)
class Rungs:
    """The ways to look, the best first; ``cli`` is the prefix of the commands, empty where there is none."""

    management: Management
    probe: Callable[[Target], Probe]
    target: Target
    run: Callable[[Sequence[str], float], Command] = run_command
    cli: tuple[str, ...] = ()


@dataclass(frozen=True)
class Query:
    """A user's check: ``search`` takes the documents, ``expect`` is what it must return."""

    name: str
    search: Callable[[Any], Any]
    expect: Any


def look(rungs: Rungs, expected: Expected, queries: Sequence[Query], seconds: float) -> dict[str, Any]:
    """Look once, and return the module's result but for ``elapsed``; nothing is raised for what is found.

    ``seconds`` bounds the requests to the management API as a whole.
    """
    rungs.management.begin(seconds)
    whoami = rungs.management.ask("/api/whoami")
    if whoami.ok and not isinstance(whoami.document, dict):
        whoami = Answer("not_management", f"{whoami.detail}: the answer is not RabbitMQ's.")
    if whoami.ok:
        seen = collect(rungs.management, whoami, expected)
        checks = _checks.judge(seen, expected)
        documents = seen.as_documents()
        checks += [_checks.user_check(query.name, query.search, query.expect, documents) for query in queries]
        return _result("management", whoami, checks, broker_of(seen))
    found = _by_command(rungs, whoami)
    rung, checks, broker = found if found else _by_amqp(rungs, whoami)
    known = {check.name: check for check in checks}
    why = f"not known without the management API ({whoami.outcome})"
    names = [*_checks.NAMES, *(query.name for query in queries)]
    return _result(rung, whoami, [known.get(name, Check(name, UNKNOWN, why, rung)) for name in names], broker)


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


def _by_command(rungs: Rungs, whoami: Answer) -> tuple[str, list[Check], dict[str, Any]] | None:
    """Ask the command line tool on this host; None where there is none, or it can't reach the node."""
    checks = [_authorised(whoami)]
    for name, command in _COMMANDS.items() if rungs.cli else ():
        ran = rungs.run([*rungs.cli, "--formatter", "json", command], CLI_TIMEOUT)
        if ran.code not in (0, _CHECK_FAILED):
            checks.append(Check(name, UNKNOWN, _line(ran), command))
            break
        checks.append(Check(name, PASS if ran.code == 0 else FAIL, _line(ran), command, 0.0))
        if name == "reachable" and ran.code != 0:
            break  # nothing else can be asked of a node that does not run
    return ("cli", checks, _nobody()) if any(check.age == 0.0 for check in checks[1:]) else None


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


def _by_amqp(rungs: Rungs, whoami: Answer) -> tuple[str, list[Check], dict[str, Any]]:
    """Read the broker's AMQP greeting: that it serves is all that this can tell."""
    timeout = min(rungs.target.timeout, max(rungs.management.left(), 1.0))
    found = rungs.probe(replace(rungs.target, timeout=timeout))
    hung = found.outcome == "timed_out" and any(stage.name == "header" for stage in found.stages)
    # Where no packet came back, or another server answers, nothing can be said about the broker from here.
    result = PASS if found.ok else FAIL if hung or found.outcome in ("refused", "reset") else UNKNOWN
    listeners = Check("listeners", result, found.message.rstrip("."), "amqp", 0.0)
    if whoami.outcome in ("login_refused", "not_permitted"):
        reachable = Check("reachable", PASS, "the management API answers", "/api/whoami", 0.0)
    else:
        both = f"{listeners.detail}; {whoami.detail.rstrip('.')}"
        reachable = Check("reachable", result, both, "amqp", 0.0)
    broker = {**_nobody(), "version": found.server.get("version"), "cluster_name": found.server.get("cluster_name")}
    return "amqp" if found.ok else "none", [reachable, _authorised(whoami), listeners], broker


def _authorised(whoami: Answer) -> Check:
    result = FAIL if whoami.outcome in ("login_refused", "not_permitted") else UNKNOWN
    hint = " A broker that lost its data knows only guest" if whoami.outcome == "login_refused" else ""
    return Check("authorised", result, f"{whoami.detail}{hint}", "/api/whoami", 0.0 if result == FAIL else None)


def _nobody() -> dict[str, Any]:
    return {"version": None, "erlang": None, "cluster_name": None, "node": None, "uptime": None}


def _result(rung: str, whoami: Answer, checks: list[Check], broker: dict[str, Any]) -> dict[str, Any]:
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
    }
