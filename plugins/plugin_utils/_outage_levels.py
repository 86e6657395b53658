# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which API instance logged dropped events at which level from when on, and so when Sentry was blind. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

REPORTED = ("error", "dpanic", "panic", "fatal")
"""The levels that reach Sentry."""

RAISES = ("raise_level", "raise_level_by_restart")
REVERTS = ("revert_level", "revert_level_by_restart")

Event = Mapping[str, Any]


def outage_levels(events: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """Return by instance the level recorded last, since when, and what its environment file held before any change."""
    found: dict[str, dict[str, Any]] = {}
    for event in plain(events):
        data = event["data"]
        if event["type"] == "level":
            found.setdefault(data["instance"], {}).update(level=data["level"], since=data["from"])
        elif event["type"] == "action" and data.get("name") in RAISES:
            found.setdefault(data["target"], {}).setdefault("file_before", data.get("file_before"))
        elif event["type"] == "action" and data.get("name") in REVERTS:
            found.setdefault(data["target"], {}).pop("file_before", None)
    return found


def outage_blind(
    events: Sequence[Event], window: Mapping[str, str], instances: Sequence[str], normal: str = ""
) -> list[dict[str, Any]]:
    """Return the stretches of a window in which instances did not report to Sentry, for eventbus_dropped_info.

    ``normal`` is the level where nothing else is recorded; empty if it is not known, which says nothing. What is the
    same for every instance is said once.
    """
    told = [event["data"] for event in plain(events) if event["type"] == "level"]
    by_instance = {
        instance: _stretches([data for data in told if data["instance"] == instance], plain(window), str(normal))
        for instance in plain(instances)
    }
    different = list(by_instance.values())
    if different and all(stretches == different[0] for stretches in different):
        return different[0]
    return [{"instance": name, **stretch} for name, stretches in by_instance.items() for stretch in stretches]


def _stretches(told: list[dict[str, Any]], window: Mapping[str, str], normal: str) -> list[dict[str, Any]]:
    """Instants are in UTC, all in the form that the record has, so they compare as text."""
    changes = sorted((data["from"], data["level"]) for data in told)
    before = [level for at, level in changes if at <= window["start"]]
    steps = [(window["start"], before[-1] if before else normal)]
    steps += [(at, level) for at, level in changes if window["start"] < at < window["end"]]
    ends = [at for at, _level in steps[1:]] + [window["end"]]
    return [
        {"from": start, "to": end, "reason": f"the log level was {level}"}
        for (start, level), end in zip(steps, ends)
        if level and level not in REPORTED
    ]
