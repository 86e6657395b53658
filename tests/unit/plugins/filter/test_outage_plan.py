# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.filter.outage_plan import outage_plan
from ansible_collections.veza.rabbitmq.plugins.filter.outage_verdict import outage_verdict
from ansible_collections.veza.rabbitmq.plugins.filter.shift_instant import shift_instant
from tests.unit.plugins.filter.evidence import SITUATIONS, causes
from tests.unit.plugins.filter.test_outage_verdict import REMEDIES

CLOSED = {"open": False, "id": None, "served_at": None}
OPEN = {"open": True, "id": "20260131T020310Z-paris-3f9a"}


def plan(situation: str, incident: dict | None = None, **settings: object) -> dict:
    known = {"start_stopped": False, "apis": ["backend-1", "backend-2"], "database": True, **settings}
    return outage_plan(outage_verdict(SITUATIONS[situation][0], causes()), REMEDIES, incident or CLOSED, known)


@pytest.mark.parametrize(
    ("situation", "incident", "settings", "decision"),
    [
        ("healthy", CLOSED, {}, "nothing"),
        ("healthy", OPEN, {}, "finish"),
        ("killed", CLOSED, {}, "act"),
        ("killed", OPEN, {}, "act"),
        ("stopped", CLOSED, {}, "ask"),
        ("stopped", OPEN, {}, "ask"),
        ("stopped", CLOSED, {"start_stopped": True}, "act"),
        ("gone, log unreadable", CLOSED, {}, "ask"),
        ("booting", CLOSED, {}, "act"),
        ("crashed, back", CLOSED, {}, "act"),
        ("crashed, back", {**CLOSED, "id": "x", "served_at": "2026-01-31T02:00:00.000Z"}, {}, "act"),
        ("crashed, back", {**CLOSED, "id": "x", "served_at": "2026-01-31T02:04:00.000Z"}, {}, "nothing"),
        ("segfault, back", {**CLOSED, "id": "x", "served_at": "2026-01-31T02:04:00.000Z"}, {}, "nothing"),
        ("killed", {**CLOSED, "id": "x", "served_at": "2026-01-31T02:04:00.000Z"}, {}, "act"),
        ("disk alarm", CLOSED, {"start_stopped": True}, "ask"),
        ("silent", CLOSED, {"start_stopped": True}, "ask"),
        ("nothing seen", OPEN, {"start_stopped": True}, "ask"),
    ],
)
def test_the_decision(situation: str, incident: dict, settings: dict, decision: str) -> None:
    decided = plan(situation, incident, **settings)
    assert decided["decision"] == decision
    assert bool(decided["actions"]) is (decision in ("act", "finish"))
    assert decided["reason"]


def test_the_actions_in_their_order() -> None:
    steps = [(action["name"], action["target"]) for action in plan("killed")["actions"]]
    assert steps == [
        ("start_broker", "rabbitmq"),
        ("dmca_flush", "backend-1"),
        ("dmca_flush", "backend-2"),
        ("transcode_requeue", "database"),
        ("dmca_flush_again", "backend-1"),
        ("dmca_flush_again", "backend-2"),
    ]


def test_a_booting_broker_is_never_started_again() -> None:
    assert "start_broker" not in [action["name"] for action in plan("booting")["actions"]]


def test_without_a_database_nothing_is_queued_again() -> None:
    assert "transcode_requeue" not in [action["name"] for action in plan("killed", database=False)["actions"]]


@pytest.mark.parametrize(
    ("instant", "seconds", "shifted"),
    [
        ("2026-01-31T02:03:04Z", 0, "2026-01-31T02:03:04.000Z"),
        ("2026-01-31T02:03:04+01:00", -3600, "2026-01-31T00:03:04.000Z"),
        ("2026-01-31T02:03:04.250Z", 0.5, "2026-01-31T02:03:04.750Z"),
    ],
)
def test_shift_instant(instant: str, seconds: float, shifted: str) -> None:
    assert shift_instant(instant, seconds) == shifted


@pytest.mark.parametrize("instant", ["2026-01-31T02:03:04", "yesterday", ""])
def test_shift_instant_refuses_what_is_no_instant(instant: str) -> None:
    with pytest.raises(AnsibleFilterError):
        shift_instant(instant)
