# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings: what the evidence says, one small question each, answered true, false or unknown.

The evidence is plain data, gathered by the role ``outage_diagnose``::

    health    result of rabbitmq_health from the controller
    brokers   {host: {info: result of rabbitmq_host_info, probe: result of amqp_probe on the broker's own host}}
    backends  {host: {probe: result of amqp_probe from the backend}}

A result that is missing (host unreachable, module failed) is None, and what depends on it is unknown: missing
evidence is never "no".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Optional

Evidence = dict[str, Any]
Truth = Optional[bool]


@dataclass(frozen=True)
class Finding:
    """The answer to one question."""

    holds: Truth
    proof: list[dict[str, Any]] = field(default_factory=list)
    """``{host, source, at, text}`` each; at is an instant or None."""
    targets: list[str] = field(default_factory=list)
    """The inventory hosts on which it holds."""


def _proof(host: str, source: str, text: str, at: str | None = None) -> dict[str, Any]:
    return {"host": host, "source": source, "at": at, "text": text}


def _each(
    hosts: dict[str, Any],
    key: str,
    holds: Callable[[dict[str, Any]], Truth],
    tell: Callable[[str, Any], dict[str, Any]],
) -> Finding:
    """Ask every host; one yes is yes, all no is no, otherwise unknown."""
    answers = {
        host: None if not (views or {}).get(key) else holds(views[key]) for host, views in sorted((hosts or {}).items())
    }
    targets = [host for host, answer in answers.items() if answer]
    if targets:
        return Finding(True, [tell(host, hosts[host][key]) for host in targets], targets)
    if answers and all(answer is False for answer in answers.values()):
        return Finding(False)
    return Finding(None)


def _check(evidence: Evidence, *names: str) -> Finding:
    """Whether one of these checks of rabbitmq_health failed."""
    checks = [check for check in (evidence.get("health") or {}).get("checks", []) if check["name"] in names]
    failed = [check for check in checks if check["result"] == "fail"]
    if failed:
        return Finding(True, [_proof("controller", check["source"], check["detail"]) for check in failed])
    if checks and all(check["result"] in ("pass", "unavailable") for check in checks):
        return Finding(False)
    return Finding(None)


def _management(evidence: Evidence, *outcomes: str) -> Finding:
    """Whether the management API ended in one of these outcomes."""
    management = (evidence.get("health") or {}).get("management")
    if not management:
        return Finding(None)
    holds = management["outcome"] in outcomes
    told = "it answers" if management["outcome"] == "ok" else management["detail"]
    return Finding(holds, [_proof("controller", "management API", told)] if holds else [])


# The states of a service in which no broker process can be alive.
_DEAD = ("stopped", "failed", "restarting")


def _process_gone(info: dict[str, Any]) -> Truth:
    """Ask the process table first: a manager's word may be older than the process."""
    if info["process"]["running"] is not None:
        return not info["process"]["running"]
    state = info["service"]["state"]
    return None if state == "unknown" else state in _DEAD


def _tell_service(host: str, info: dict[str, Any]) -> dict[str, Any]:
    service = info["service"]
    detail = f" ({service['detail']})" if service.get("detail") else ""
    return _proof(host, service["manager"], f"the service is {service['state']}{detail}", service.get("since"))


def _ended(clean: bool) -> Callable[[dict[str, Any]], Truth]:
    """Answer whether the last run of a broker that is gone ended in an orderly stop (or not)."""

    def holds(info: dict[str, Any]) -> Truth:
        gone = _process_gone(info)
        stopped = info["lifecycle"]["clean_stop"]
        if gone is False:
            return False
        return None if gone is None or stopped is None else stopped is clean

    return holds


def _tell_stop(host: str, info: dict[str, Any]) -> dict[str, Any]:
    lifecycle = info["lifecycle"]
    by = f" by {lifecycle['by']}" if lifecycle.get("by") else ""
    return _proof(
        host,
        str(lifecycle.get("file") or "broker log"),
        f"stopped in order{by}: {lifecycle.get('line')}",
        lifecycle.get("stopped_at") or lifecycle.get("at"),
    )


def _tell_death(host: str, info: dict[str, Any]) -> dict[str, Any]:
    lifecycle, service = info["lifecycle"], info["service"]
    signal = f", killed by signal {service['exit_signal']}" if service.get("exit_signal") else ""
    text = f"no process{signal}, and the log of its last run ends without a stop (last entry: {lifecycle.get('line')})"
    return _proof(host, str(lifecycle.get("file") or "broker log"), text, died_at(info))


def _booting(info: dict[str, Any]) -> Truth:
    if _process_gone(info):
        return False
    if info["service"]["state"] == "starting":
        return True
    return None if info["lifecycle"]["last"] == "none" else info["lifecycle"]["last"] == "starting"


def _tell_boot(host: str, info: dict[str, Any]) -> dict[str, Any]:
    lifecycle = info["lifecycle"]
    return _proof(
        host, str(lifecycle.get("file") or "broker log"), f"booting: {lifecycle.get('line')}", lifecycle["at"]
    )


def _probe_failed(probe: dict[str, Any]) -> Truth:
    return not probe["ok"]


def _tell_probe(host: str, probe: dict[str, Any]) -> dict[str, Any]:
    return _proof(host, "amqp_probe", probe["message"])


def _healthy(evidence: Evidence) -> Finding:
    health = evidence.get("health") or {}
    failed = _each(evidence.get("backends") or {}, "probe", _probe_failed, _tell_probe).holds
    if health.get("verdict") == "unhealthy" or failed:
        return Finding(False)
    if health.get("verdict") != "healthy":
        return Finding(None)
    proof = [_proof("controller", f"rabbitmq_health ({health['rung']})", health["reason"])]
    # A backend that could not be asked doesn't make the broker ill; it is listed among the unknowns.
    return Finding(True, proof)


def _broker_runs(info: dict[str, Any]) -> Truth:
    gone = _process_gone(info)
    return None if gone is None else (not gone and not _booting(info))


_BROKER = "brokers"

FINDINGS: dict[str, Callable[[Evidence], Finding]] = {
    "healthy": _healthy,
    "process_gone": lambda e: _each(e.get(_BROKER) or {}, "info", _process_gone, _tell_service),
    "stopped_in_order": lambda e: _each(e.get(_BROKER) or {}, "info", _ended(True), _tell_stop),
    "ended_without_stop": lambda e: _each(e.get(_BROKER) or {}, "info", _ended(False), _tell_death),
    "booting": lambda e: _each(e.get(_BROKER) or {}, "info", _booting, _tell_boot),
    "process_runs": lambda e: _each(e.get(_BROKER) or {}, "info", _broker_runs, _tell_service),
    "broker_refuses_itself": lambda e: _each(e.get(_BROKER) or {}, "probe", _probe_failed, _tell_probe),
    "backend_refused": lambda e: _each(e.get("backends") or {}, "probe", _probe_failed, _tell_probe),
    "management_answers": lambda e: _management(e, "ok"),
    "management_login_refused": lambda e: _management(e, "login_refused"),
    "management_not_permitted": lambda e: _management(e, "not_permitted"),
    "management_silent": lambda e: _management(
        e, "name_not_resolved", "refused", "timed_out", "reset", "tls_failed", "unreachable", "not_http",
        "not_management", "server_error",
    ),
    "alarm": lambda e: _check(e, "alarms", "local_alarms"),
    "vhost_missing": lambda e: _check(e, "vhost"),
    "queues_missing": lambda e: _check(e, "queues"),
    "identity_changed": lambda e: _check(e, "identity"),
    "check_failed": lambda e: _check(
        e, "listeners", "nodes_running", "partitions", "quorum_critical", "virtual_hosts", "certificate",
        "file_descriptors",
    ),
}  # fmt: skip


def down_since(info: dict[str, Any]) -> str | None:
    """Return since when a broker that boots has not served: the last sign of life of its run before, else its start."""
    lifecycle = info["lifecycle"]
    return lifecycle.get("previous_end") or lifecycle.get("at")


def died_at(info: dict[str, Any]) -> str | None:
    """Return the last sign of life of a broker that is gone: it died at that instant or later."""
    since = info["service"].get("since")
    if info["service"]["state"] in _DEAD and since:
        return str(since)
    signs = [sign for sign in (info.get("last_log_at"), (info.get("disk") or {}).get("last_write_at")) if sign]
    return max(signs, default=None)
