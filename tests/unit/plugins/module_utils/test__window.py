# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.veza.rabbitmq.plugins.module_utils._window import (
    CLOCK_TOLERANCE,
    EARLIEST,
    LATEST,
    Window,
    as_text,
    asked_window,
    measured_skew,
    parse_instant,
    widened,
)

NOW = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T20:15:00Z", datetime(2026, 11, 23, 20, 15, tzinfo=UTC)),
        ("2026-11-23t20:15z", datetime(2026, 11, 23, 20, 15, tzinfo=UTC)),
        ("2026-11-23 20:15:00+01:00", datetime(2026, 11, 23, 19, 15, tzinfo=UTC)),
        (" 2026-11-23 20:15:00 +0530 ", datetime(2026, 11, 23, 14, 45, tzinfo=UTC)),
        ("2026-11-23T20:15:00-02", datetime(2026, 11, 23, 22, 15, tzinfo=UTC)),
        ("2026-11-23T20:15:00.5Z", datetime(2026, 11, 23, 20, 15, 0, 500000, tzinfo=UTC)),
        ("2026-11-23T20:15:00,123456789Z", datetime(2026, 11, 23, 20, 15, 0, 123456, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_with_its_offset(text: str, expected: datetime) -> None:
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-11-23T20:15:00", "has no offset"),
        ("2026-11-23 20:15:00 CET", "is no instant"),
        ("2026-11-23", "is no instant"),
        ("now", "is no instant"),
        ("", "is no instant"),
        ("2026-02-30T10:00:00Z", "names no instant"),
        ("2026-11-23T25:00:00Z", "names no instant"),
        ("2026-11-23T20:15:00+24:00", "names no instant"),
        ("2026-11-23T20:15:00+01:75", "at most 59 minutes"),
        ("0001-01-01T00:00:00+01:00", "names no instant"),
    ],
)
def test_what_names_no_instant_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_instant(text)


@given(st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)), st.integers(-1439, 1439))
def test_what_was_written_is_read_back(naive: datetime, minutes: int) -> None:
    instant = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_instant(instant.isoformat()) == instant
    assert parse_instant(as_text(instant)) == instant


def test_a_good_window_has_no_problems() -> None:
    window, problems = asked_window("2026-11-23T20:15:00+01:00", "2026-11-23T19:30:00Z", now=NOW, longest=WEEK)
    assert problems == []
    assert window == Window(datetime(2026, 11, 23, 19, 15, tzinfo=UTC), datetime(2026, 11, 23, 19, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-11-23T20:00:00", "yesterday", ["outage_start: .*no offset", "outage_end: .*no instant"]),
        ("2026-11-23T20:00:00Z", "2026-11-23T20:00:00Z", ["outage_end: .*does not come after"]),
        ("2026-11-23T20:00:00Z", "2026-11-23T20:30:00+01:00", ["outage_end: .*does not come after"]),
        ("2026-11-23T21:00:00Z", "2026-11-23T22:01:00Z", ["outage_end: .*lies in the future"]),
        ("2026-11-24T21:00:00Z", "2026-11-24T20:00:00Z", ["start: .*future", "end: .*future", "does not come after"]),
        ("2026-11-01T20:00:00Z", "2026-11-23T20:00:00Z", ["1900800 s long, and max_window allows 604800 s"]),
    ],
)
def test_all_problems_are_found(start: str, end: str, said: list[str]) -> None:
    window, problems = asked_window(start, end, now=NOW, longest=WEEK)
    assert window is None
    assert len(problems) == len(said)
    for problem, pattern in zip(problems, said, strict=True):
        with pytest.raises(ValueError, match=pattern):
            raise ValueError(problem)


def test_a_clock_a_little_ahead_of_ours_is_believed() -> None:
    end = as_text(NOW + CLOCK_TOLERANCE)
    window, problems = asked_window("2026-11-23T21:00:00Z", end, now=NOW, longest=WEEK)
    assert window is not None, problems
    later = as_text(NOW + CLOCK_TOLERANCE + timedelta(microseconds=1))
    assert asked_window("2026-11-23T21:00:00Z", later, now=NOW, longest=WEEK)[0] is None


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("readings", "offset", "uncertainty"),
    [
        ([(at(0), at(0.5), at(1))], 0.0, 0.5),
        ([(at(0), at(10.1), at(0.2))], 10.0, 0.1),
        ([(at(0), at(-9.9), at(0.2))], -10.0, 0.1),
        ([(at(0), at(3), at(4)), (at(5), at(5.01), at(5.02)), (at(6), at(9), at(9))], 0.0, 0.01),
        ([(at(1), at(0.5), at(0))], 0.0, 0.5),
    ],
)
def test_the_skew_comes_from_the_quickest_answer(
    readings: list[tuple[datetime, datetime, datetime]], offset: float, uncertainty: float
) -> None:
    skew = measured_skew(readings)
    assert skew.offset.total_seconds() == pytest.approx(offset, abs=1e-6)
    assert skew.uncertainty.total_seconds() == pytest.approx(uncertainty, abs=1e-6)
    assert skew.bound.total_seconds() == pytest.approx(abs(offset) + uncertainty, abs=1e-6)


@given(st.floats(-1e6, 1e6), st.floats(0, 60), st.floats(0, 1))
def test_the_bound_holds_whatever_the_way_took(offset: float, trip: float, share: float) -> None:
    skew = measured_skew([(at(0), at(offset + trip * share), at(trip))])
    assert abs(offset) <= skew.bound.total_seconds() + 1e-5


def test_widening_stops_where_the_calendar_does() -> None:
    assert widened(Window(at(0), at(10)), timedelta(seconds=90)) == Window(at(-90), at(100))
    assert widened(Window(EARLIEST, LATEST), WEEK) == Window(EARLIEST, LATEST)
