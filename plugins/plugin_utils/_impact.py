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
    evidence: Evidence, causes: Sequence[Mapping[str, Any]], queues: Sequence[Mapping[str, Any]], since: str | None
) -> list[dict[str, Any]]:
    """Return each subsystem, the graver first: ``{queue, subsystem, severity, effect, affected, why, waiting, since}``.

    ``causes`` are the named ones: what each ``affects``, with its ``queues`` and ``targets``. ``affected`` is True,
    False, or None where the cause is not known. ``waiting`` is None where nobody could count.
    """
    seen = {queue["name"]: queue for queue in (traffic(evidence) or {"queues": []})["queues"]}
    rows = []
    for queue in sorted(queues, key=lambda entry: SEVERITIES.index(entry["severity"])):
        affected, why = _affected(queue["name"], causes)
        rows.append(
            {
                "queue": queue["name"],
                "subsystem": queue["subsystem"],
                "severity": queue["severity"],
                "effect": queue["effect"],
                "affected": affected,
                "why": why,
                "waiting": waiting(seen.get(queue["name"], {})),
                "since": since if affected else None,
            }
        )
    return rows


def _affected(queue: str, causes: Sequence[Mapping[str, Any]]) -> tuple[bool | None, str]:
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
