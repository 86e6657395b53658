# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from tests.game_day.probe import Look, Progress

SERVES = Look(True, True, {"a": 0, "b": 3}, {"a": 1, "b": 1})
DRAINED = Look(True, True, {"a": 0, "b": 0}, {"a": 1, "b": 1})
DOWN = Look()


def progress() -> Progress:
    return Progress(lambda: DOWN, lambda: True)


def test_what_serving_is() -> None:
    assert SERVES.serving
    assert not Look(True, False, {"a": 0}, {"a": 1}).serving
    assert not Look(False, True, {"a": 0}, {"a": 1}).serving
    assert not Look(True, True, {"a": 0, "b": 0}, {"a": 1, "b": 0}).serving
    assert not Look(True, True).serving
    assert DRAINED.drained
    assert not SERVES.drained


def test_the_first_look_that_sees_it_serve_counts() -> None:
    seen = progress()
    seen.note(DOWN, 1.0, False)
    assert not seen.await_served(0)
    seen.note(SERVES, 2.0, True)
    seen.note(DRAINED, 3.0, True)
    seen.note(DRAINED, 4.0, True)
    assert (seen.served_at, seen.drained_at) == (2.0, 3.0)
    assert seen.await_served(0)
    assert seen.await_drained(0)


def test_one_look_that_fails_is_a_blip_and_two_are_an_outage() -> None:
    seen = progress()
    seen.note(SERVES, 1.0, True)
    seen.note(DOWN, 2.0, False)
    assert seen.served_at == 1.0
    assert not seen.await_served(0), "it must serve at this moment"
    seen.note(DOWN, 3.0, False)
    assert seen.served_at is None
    seen.note(SERVES, 4.0, True)
    assert seen.served_at == 4.0


def test_it_serves_only_when_the_fault_is_over() -> None:
    seen = progress()
    seen.note(DRAINED, 1.0, False)
    assert seen.served_at is None
    assert seen.drained_at is None
