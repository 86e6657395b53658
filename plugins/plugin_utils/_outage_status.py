# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is recovering what, in which phase, with which ETA: a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_record import outage_record

WIDTH = 10


def outage_status(read: Mapping[str, Any]) -> list[str]:
    """Return the lines for what M(veza.rabbitmq.incident) read."""
    rows = [
        ("SITE", read["site"]),
        ("INCIDENT", _incident(read)),
        ("RUN", at_work(read) or "nobody is recovering it now"),
        ("PHASE", _phase(read["lease"]) if at_work(read) else ""),
        ("RECORD", read.get("file") or ""),
    ]
    return [f"{label:<{WIDTH}}{text}" for label, text in rows if text]


def at_work(read: Mapping[str, Any]) -> str:
    """Return who is recovering it now; empty when nobody is."""
    lease = read.get("lease") or {}
    return _holder(lease) if lease.get("held") and not lease.get("expired") else ""


def _incident(read: Mapping[str, Any]) -> str:
    if not read.get("found"):
        return "there has been none"
    record = outage_record(read["events"])
    state = "open" if record["open"] else "closed"
    return f"{record['id']} ({state}): {record['summary']}"


def _holder(lease: Mapping[str, Any]) -> str:
    holder = lease.get("holder") or {}
    job = f", job {holder['job']}" if holder.get("job") else ""
    return (
        f"{holder.get('user')}@{holder.get('host')}: {holder.get('playbook')}{job} (process {holder.get('pid')}), "
        f"since {lease.get('acquired_at')}; its lease lasts until {lease.get('expires_at')} unless it is renewed"
    )


def _phase(lease: Mapping[str, Any]) -> str:
    eta = f", expected to end by {lease['eta_at']}" if lease.get("eta_at") else ""
    abort = lease.get("abort")
    stops = f"; asked to stop at {abort['at']}: it does so before its next action" if abort else ""
    return f"{lease.get('phase')}{eta}{stops}"
