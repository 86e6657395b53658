# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence as the hosts give it, to be changed by a test in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[4]
CAUSES_DIR = ROOT / "roles/outage_diagnose/causes"


def causes() -> dict[str, Any]:
    """Return the collection's causes by name."""
    merged: dict[str, Any] = {}
    for path in sorted(CAUSES_DIR.glob("*.yml")):
        merged.update(yaml.safe_load(path.read_text(encoding="utf-8")))
    return merged


def check(name: str, result: str, detail: str = "") -> dict[str, Any]:
    """Return one check of rabbitmq_health."""
    return {"name": name, "result": result, "detail": detail or f"{name} {result}", "source": "management", "age": 0.0}


def health(verdict: str = "healthy", outcome: str = "ok", checks: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a result of rabbitmq_health."""
    return {
        "verdict": verdict,
        "reason": f"It is {verdict}.",
        "rung": "management" if outcome == "ok" else "none",
        "management": {"outcome": outcome, "detail": f"the management API: {outcome}"},
        "checks": checks if checks is not None else [check("alarms", "pass"), check("queues", "pass")],
        "unknown": [],
    }


def probe(outcome: str = "ok") -> dict[str, Any]:
    """Return a result of amqp_probe."""
    return {"outcome": outcome, "ok": outcome in ("ok", "slow"), "message": f"AMQP: {outcome}", "stages": []}


def info(
    state: str = "running", *, last: str = "started", clean_stop: bool | None = None, **changes: Any
) -> dict[str, Any]:
    """Return a result of rabbitmq_host_info."""
    at = "2026-01-31T02:03:04.000Z"
    return {
        "service": {"manager": "systemd", "state": state, "since": None, "exit_signal": None, "detail": ""},
        "process": {"running": state in ("running", "starting"), "pid": 1 if state == "running" else None},
        "lifecycle": {
            "last": last,
            "at": at,
            "line": f"the log says {last}",
            "file": "/var/log/rabbitmq/rabbit@a.log",
            "clean_stop": clean_stop,
            "stopped_at": at if clean_stop else None,
            "by": None,
        },
        "last_log_at": at,
        "disk": {},
        "unknown": [],
        **changes,
    }


def evidence(
    health_seen: dict[str, Any] | None,
    info_seen: dict[str, Any] | None,
    broker_probe: dict[str, Any] | None,
    backend_probe: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the evidence of one broker and two backends that see the same."""
    return {
        "health": health_seen,
        "brokers": {"rabbitmq": {"info": info_seen, "probe": broker_probe}},
        "backends": {"backend-1": {"probe": backend_probe}, "backend-2": {"probe": backend_probe}},
    }


DOWN = health("unhealthy", "refused", [check("reachable", "fail"), check("alarms", "unknown")])

# Each situation, and the cause that it must be taken for.
SITUATIONS = {
    "healthy": (evidence(health(), info(), probe(), probe()), "healthy"),
    "killed": (evidence(DOWN, info("stopped", clean_stop=False), probe("refused"), probe("refused")), "broker_crashed"),
    "stopped": (
        evidence(DOWN, info("stopped", last="stopped", clean_stop=True), probe("refused"), probe("refused")),
        "broker_stopped_on_purpose",
    ),
    "gone, log unreadable": (
        evidence(DOWN, info("stopped", last="none", clean_stop=None), probe("refused"), probe("refused")),
        "broker_down",
    ),
    "booting": (
        evidence(DOWN, info("starting", last="starting"), probe("refused"), probe("refused")),
        "broker_booting",
    ),
    "silent": (
        evidence(health("unknown", "timed_out", []), info(), probe("timed_out"), probe("timed_out")),
        "broker_unreachable",
    ),
    "plugin missing": (evidence(health("unknown", "refused", []), info(), probe(), probe()), "management_unavailable"),
    "alarm": (
        evidence(health("unhealthy", checks=[check("alarms", "fail")]), info(), probe(), probe("blocked")),
        "resource_alarm",
    ),
    "wrong management password": (
        evidence(health("unknown", "login_refused", []), info(), probe(), probe()),
        "management_login_refused",
    ),
    "management user without rights": (
        evidence(health("unknown", "not_permitted", []), info(), probe(), probe()),
        "management_not_permitted",
    ),
    "vhost missing": (
        evidence(
            health("unhealthy", checks=[check("vhost", "fail"), check("queues", "fail"), check("identity", "pass")]),
            info(),
            probe("vhost_missing"),
            probe("vhost_missing"),
        ),
        "vhost_missing",
    ),
    "queue missing": (
        evidence(
            health("unhealthy", checks=[check("vhost", "pass"), check("queues", "fail"), check("identity", "pass")]),
            info(),
            probe(),
            probe(),
        ),
        "queues_missing",
    ),
    "empty broker": (
        evidence(
            health("unhealthy", checks=[check("identity", "fail"), check("vhost", "fail"), check("queues", "fail")]),
            info(),
            probe("login_refused"),
            probe("login_refused"),
        ),
        "data_lost",
    ),
    "backends cut off": (evidence(health(), info(), probe(), probe("timed_out")), "backend_cannot_reach"),
    "nothing seen": (evidence(None, None, None, None), "unknown"),
    "broker's host silent": (evidence(DOWN, None, None, probe("refused")), "unknown"),
}
