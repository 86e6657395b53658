# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from tests.lab.veza.events import Event, log_of_drop


def test_the_key_does_not_depend_on_the_message() -> None:
    first, second = Event("transcode", 12), Event("transcode", 12)
    assert first.key == second.key == "transcode:12:1"
    assert first.message_id != second.message_id


def test_an_event_survives_its_message() -> None:
    event = Event("dmca", 3, {"track_id": 9})
    assert Event.parse(event.body(), event.message_id, {"x-attempt": 1}) == event


def test_the_next_attempt_is_the_same_message() -> None:
    event = Event("search", 5, {"poison": True})
    again = event.again()
    assert (again.attempt, again.message_id, again.key, again.extra) == (2, event.message_id, event.key, event.extra)
    assert Event.parse(again.body(), again.message_id, {"x-attempt": again.attempt}) == again


def test_a_message_without_the_header_is_a_first_attempt() -> None:
    assert Event.parse(Event("search", 5).body(), "m", None).attempt == 1


@pytest.mark.parametrize("body", [b"", b"[]", b'{"kind": "search"}', b'{"kind": "search", "entity_id": "x"}'])
def test_a_message_that_carries_no_event_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        Event.parse(body, "m", None)


def test_the_log_line_of_a_drop_names_all_that_a_replay_needs() -> None:
    line = log_of_drop(Event("distribution", 7), level="error", instance="backend-2", ts="2026-11-23T20:15:01.123Z")
    assert line == {
        "level": "error",
        "ts": "2026-11-23T20:15:01.123Z",
        "logger": "eventbus",
        "msg": "publish dropped",
        "eventbus.status": "degraded",
        "kind": "distribution",
        "entity_id": "7",
        "key": "distribution:7:1",
        "queue": "distribution_outbox",
        "instance": "backend-2",
    }
