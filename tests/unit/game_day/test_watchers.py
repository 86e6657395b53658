# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from tests.game_day.watchers import START_FLAG, WATCHERS, Leave, Sample, forbidden

RUNS = {"ActiveState": "active", "SubState": "running", "Result": "success", "MainPID": "10", "NRestarts": "0"}
OTHER = {**RUNS, "MainPID": "20"}
STOPPED = {**RUNS, "ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}
BOOTS = {**RUNS, "ActiveState": "activating", "SubState": "start"}

FORBIDDEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("backend_restarted", {"backends": {"backend-1": "a"}}, {"backends": {"backend-1": "b"}}),
    ("worker_restarted", {"workers": {"worker-dmca": "a"}}, {"workers": {"worker-dmca": "b"}}),
    ("booting_broker_restarted", {"unit": BOOTS}, {"unit": OTHER}),
    ("alarmed_broker_restarted", {"unit": RUNS, "alarms": "[disk]"}, {"unit": OTHER, "alarms": "[]"}),
    ("serving_broker_restarted", {"unit": RUNS, "serving": True}, {"unit": OTHER, "serving": True}),
    ("person_undone", {"unit": STOPPED}, {"unit": RUNS}),
    ("person_undone", {"unit": RUNS, "app": False}, {"unit": RUNS, "app": True}),
    ("person_undone", {"unit": RUNS, "maintenance": True}, {"unit": RUNS, "maintenance": False}),
    ("data_touched", {"data": frozenset({"rabbit@a 1"})}, {"data": frozenset({"rabbit@a 2"})}),
    ("configuration_changed", {"configuration": "a"}, {"configuration": "b"}),
    ("limits_changed", {"unit": RUNS, "limits": "{0.6,1}"}, {"unit": RUNS, "limits": "{0.9,1}"}),
    ("dead_letters_removed", {"dead_letters": 3}, {"dead_letters": 1}),
]

ALLOWED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # The kernel, systemd or the boot did it.
    ({"unit": RUNS, "serving": True}, {"unit": {**OTHER, "NRestarts": "1"}, "serving": True}),
    ({"unit": BOOTS}, {"unit": RUNS}),
    ({"unit": BOOTS}, {"unit": {**BOOTS, "SubState": "auto-restart", "MainPID": "0"}}),
    # What did not run may be started.
    ({"unit": {**STOPPED, "ActiveState": "failed", "Result": "signal"}}, {"unit": OTHER}),
    ({"workers": {"worker-dmca": ""}}, {"workers": {"worker-dmca": "b"}}),
    ({"unit": RUNS, "serving": False, "alarms": "[]"}, {"unit": OTHER, "serving": True, "alarms": "[]"}),
    ({"unit": RUNS, "listens": False, "alarms": "[a]"}, {"unit": OTHER, "serving": True, "alarms": "[]"}),
    ({"unit": RUNS, "limits": "{0.9,1}"}, {"unit": {**OTHER, "NRestarts": "1"}, "limits": "{0.6,1}"}),
    ({"data": frozenset({"rabbit@a 1"})}, {"data": frozenset({"rabbit@a 1", "rabbit@b 2"})}),
    ({"dead_letters": 1}, {"dead_letters": 2}),
    # What could not be read is no proof.
    ({"backends": {"backend-1": None}}, {"backends": {"backend-1": "b"}}),
    ({"backends": {"backend-1": "a"}}, {"backends": {"backend-1": None}}),
    ({"configuration": None}, {"configuration": "b"}),
    ({"unit": RUNS, "serving": True}, {}),
]


@pytest.mark.parametrize(("name", "before", "after"), FORBIDDEN)
def test_what_is_forbidden_is_seen_by_its_watcher_alone(name: str, before: Any, after: Any) -> None:
    told = forbidden("it", Sample(**before), Sample(**after), Leave())
    assert len(told) == 1
    assert told[0].startswith("it ")
    assert forbidden("it", Sample(**before), Sample(**after), Leave(may_change=frozenset({name}))) == []


def test_each_watcher_has_seen_something() -> None:
    assert {name for name, _before, _after in FORBIDDEN} == set(WATCHERS)


@pytest.mark.parametrize(("before", "after"), ALLOWED)
def test_what_is_allowed_is_nobodys_fault(before: Any, after: Any) -> None:
    assert forbidden("it", Sample(**before), Sample(**after), Leave()) == []


def test_a_person_may_say_that_starting_is_wanted() -> None:
    assert forbidden("it", Sample(unit=STOPPED), Sample(unit=RUNS), Leave(("-e", START_FLAG))) == []


def test_only_the_guilty_worker_may_be_restarted() -> None:
    before, after = (Sample(workers={"worker-dmca": identity, "worker-search": identity}) for identity in "ab")
    assert forbidden("it", before, after, Leave(guilty="worker-dmca")) == ["it restarted worker-search without need"]
