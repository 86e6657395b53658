# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an outage has begun anew since it was seen to be over. Pure: no clock, no network, no files.

A broker that was just brought back may go away again; what is lost then lies behind the end that the record knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._record import instant, stamp
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._findings import Evidence, infos
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

LAG = 10.0
"""Seconds by which the uptime that the management API tells may lag; a start that is no later tells nothing."""


def outage_began_again(
    verdict: Mapping[str, Any], record: Mapping[str, Any], evidence: Evidence, restarted_at: str = ""
) -> bool:
    """Return what outage_began_again.yml describes."""
    verdict, record, evidence = plain(verdict), plain(record), plain(evidence)
    served = record["milestones"]["serving"]
    if not served:
        return True
    signs = [record["last_began"], verdict["outage"]["start"], restarted_at, *_starts(evidence)]
    if any(sign and sign > served for sign in signs):
        return True
    # Two outages shortly after one another look as one that began with the first of them.
    return not verdict["serves"] and verdict["affects"] in ("all", "targets")


def _starts(evidence: Evidence) -> list[str]:
    """Return when each broker's process was started, by the controller's clock as far as the difference is known."""
    found = []
    for _host, info in infos(evidence, "brokers"):
        started = ((info or {}).get("process") or {}).get("started_at")
        if started:
            ahead = ((info or {}).get("clock") or {}).get("offset") or 0.0
            found.append(stamp(instant(started) - timedelta(seconds=ahead)))
    return found


def outage_interruptions(
    health: Mapping[str, Any], logs: Sequence[Mapping[str, Any]], proved_at: str, now: str
) -> list[str]:
    """Return what outage_interruptions.yml describes."""
    health, logs = plain(health), plain(logs)
    told = []
    for node in (health.get("traffic") or {}).get("nodes") or []:
        if isinstance(node.get("uptime"), int):
            started = instant(now) - timedelta(milliseconds=node["uptime"])
            if (started - instant(proved_at)).total_seconds() > LAG:
                told.append(f"{node['name']} was started again at about {stamp(started)}")
    for log in logs:
        if log.get("count"):
            told.append(f"{log['count']} events more were dropped on {log.get('item')}")
    return told
