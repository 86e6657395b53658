# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is affected now: the runbook's table, computed from the causes and from what waits in the queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._findings import Evidence
from ._findings_traffic import traffic, waiting

SEVERITIES = ("HIGH", "MEDIUM", "LOW", "NONE")


def impact(
    evidence: Evidence,
    causes: Sequence[Mapping[str, Any]],
    queues: Sequence[Mapping[str, Any]],
    subsystems: Sequence[Mapping[str, Any]],
    since: str | None,
) -> list[dict[str, Any]]:
    """Return each subsystem, the graver first: ``{queue, subsystem, severity, effect, affected, why, waiting, since}``.

    ``causes`` are the named ones: what each ``affects``, with its ``queues`` and ``targets``. ``affected`` is True,
    False, or None where the cause is not known. ``waiting`` is None where nobody could count. ``queue`` is None of
    ``subsystems`` (veza_subsystems), which have none.
    """
    seen = {queue["name"]: queue for queue in (traffic(evidence) or {"queues": []})["queues"]}
    rows = [(queue, queue["name"], *_affected(queue["name"], causes)) for queue in queues]
    rows += [(one, None, *_without_queue(one, causes)) for one in subsystems]
    return [
        {
            "queue": queue,
            "subsystem": about["subsystem"],
            "severity": about["severity"],
            "effect": about["effect"],
            "affected": affected,
            "why": why,
            "waiting": waiting(seen.get(queue, {})) if queue else None,
            "since": since if affected else None,
        }
        for about, queue, affected, why in sorted(rows, key=lambda row: SEVERITIES.index(row[0]["severity"]))
    ]


def _without_queue(subsystem: Mapping[str, Any], causes: Sequence[Mapping[str, Any]]) -> tuple[bool | None, str]:
    """Return whether a subsystem without a queue is affected: what it publishes passes the same way."""
    if subsystem.get("independent"):
        return False, str(subsystem["independent"])
    affected, why = _affected(None, [cause for cause in causes if cause["affects"] != "queues"])
    return affected, ", ".join(filter(None, [why, f"heals {subsystem['heals']}" if affected else ""]))


def _affected(queue: str | None, causes: Sequence[Mapping[str, Any]]) -> tuple[bool | None, str]:
    """Return whether a queue's subsystem is affected, and which part of it."""
    reaches = {cause["affects"] for cause in causes}
    if "all" in reaches:
        return True, "all of it"
    # A finding about clients in the broker's log knows no queue: then all may be.
    about = [cause for cause in causes if cause["affects"] == "queues"]
    if any(queue in cause["queues"] for cause in about):
        return True, "this queue"
    if any(not cause["queues"] for cause in about):
        return None, "the proof does not name the queue"
    hosts = sorted({host for cause in causes if cause["affects"] == "targets" for host in cause["targets"]})
    if hosts:
        return True, f"what passes {', '.join(hosts)}"
    return (None, "the cause is not known") if "unknown" in reaches else (False, "")
