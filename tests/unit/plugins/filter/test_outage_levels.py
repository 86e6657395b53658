# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_levels import outage_blind, outage_levels

WINDOW = {"start": "2026-01-31T02:00:00.000Z", "end": "2026-01-31T03:00:00.000Z"}
BOTH = ["backend-1", "backend-2"]


def at(minutes: int) -> str:
    return f"2026-01-31T02:{minutes:02d}:00.000Z"


def level(instance: str, name: str, minutes: int) -> dict[str, Any]:
    return {"type": "level", "data": {"instance": instance, "level": name, "from": at(minutes)}}


def action(name: str, instance: str, before: str | None) -> dict[str, Any]:
    return {"type": "action", "data": {"name": name, "target": instance, "file_before": before}}


def test_nothing_recorded_is_blind_all_the_time_at_the_normal_level() -> None:
    assert outage_blind([], WINDOW, BOTH, "warn") == [
        {"from": WINDOW["start"], "to": WINDOW["end"], "reason": "the log level was warn"}
    ]
    assert outage_blind([], WINDOW, BOTH, "error") == []
    assert outage_blind([], WINDOW, BOTH, "") == []
    assert outage_blind([], WINDOW, [], "warn") == []


def test_each_instance_is_blind_until_its_level_was_raised_and_after_it_was_taken_back() -> None:
    events = [level("backend-1", "error", 10), level("backend-2", "error", 20), level("backend-1", "warn", 40)]
    assert outage_blind(events, WINDOW, BOTH, "warn") == [
        {"instance": "backend-1", "from": at(0), "to": at(10), "reason": "the log level was warn"},
        {"instance": "backend-1", "from": at(40), "to": WINDOW["end"], "reason": "the log level was warn"},
        {"instance": "backend-2", "from": at(0), "to": at(20), "reason": "the log level was warn"},
    ]


def test_what_was_raised_before_the_window_saw_all_of_it() -> None:
    events = [{"type": "level", "data": {"instance": name, "level": "error", "from": "2026-01-31T01:00:00.000Z"}}
              for name in BOTH]  # fmt: skip
    assert outage_blind(events, WINDOW, BOTH, "warn") == []


def test_the_last_level_and_what_the_file_held_before() -> None:
    events = [
        action("raise_level", "backend-1", "warn"), level("backend-1", "error", 10),
        action("raise_level", "backend-1", "error"), action("raise_level", "backend-2", None),
    ]  # fmt: skip
    assert outage_levels(events) == {
        "backend-1": {"file_before": "warn", "level": "error", "since": at(10)}, "backend-2": {"file_before": None},
    }  # fmt: skip
    assert outage_levels([*events, action("revert_level", "backend-1", "error")])["backend-1"] == {
        "level": "error", "since": at(10),
    }  # fmt: skip
