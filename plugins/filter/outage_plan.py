# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decision: what recover_rabbitmq does about a verdict. Pure, so that check mode and the real run share it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import untrusted


def outage_plan(
    verdict: Mapping[str, Any],
    remedies: Mapping[str, Mapping[str, Any]],
    incident: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return ``{decision, reason, remedy, actions}``.

    ``remedies`` is vars/main.yml of the role outage_recover; ``incident`` is what the module incident read, with
    ``served_at``: when the broker of the last incident, if that is closed, was proved to serve;
    ``settings`` holds ``start_stopped`` (bool), ``apis`` (backends whose cache can be flushed) and ``database`` (bool).

    decision is ``nothing`` (it serves, and no incident is open), ``finish`` (it serves, but an incident is open: a run
    was interrupted), ``act``, or ``ask`` (only a human may decide; nothing is done).
    """
    remedy = remedies[verdict["remedy"]]
    decision, reason = _decide(verdict, remedy, incident, settings)
    return {
        "decision": decision,
        "reason": reason,
        "remedy": verdict["remedy"],
        "actions": _actions(verdict, remedy, settings) if decision in ("act", "finish") else [],
    }


def _decide(
    verdict: Mapping[str, Any], remedy: Mapping[str, Any], incident: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[str, str]:
    if remedy["kind"] == "none":
        if incident.get("open"):
            return "finish", f"It serves; the incident {incident['id']} is still open, so the rest of its work is done."
        return "nothing", "It serves, and no incident is open."
    if verdict["serves"] and _accounted(verdict, incident):
        return (
            "nothing",
            f"It serves, and the incident {incident['id']}, which is closed, has accounted for that outage.",
        )
    if remedy["kind"] == "ask" or (remedy["kind"] == "ask_to_start" and not settings["start_stopped"]):
        return "ask", verdict["advice"]
    return "act", remedy["says"]


def _accounted(verdict: Mapping[str, Any], incident: Mapping[str, Any]) -> bool:
    """Whether the last incident has seen the broker serve after this outage had begun; both in UTC, so text will do."""
    began, served = verdict["outage"]["start"], incident.get("served_at")
    return bool(began and served and not incident.get("open") and began < served)


def _actions(
    verdict: Mapping[str, Any], remedy: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the actions in the order in which they are taken."""
    actions = [
        {"name": name, "target": host, "may_lose": remedy["may_lose"]}
        for name in remedy["actions"]
        for host in verdict["targets"]
    ]
    flushes = [{"name": "dmca_flush", "target": host, "may_lose": "nothing"} for host in settings["apis"]]
    requeue = [{"name": "transcode_requeue", "target": "database", "may_lose": "nothing"}]
    again = [{**flush, "name": "dmca_flush_again"} for flush in flushes]
    return [*actions, *flushes, *(requeue if settings["database"] else []), *again]


class FilterModule:
    """The plan."""

    def filters(self) -> dict[str, Any]:
        """Return it by name."""
        return {"outage_plan": untrusted(outage_plan)}
