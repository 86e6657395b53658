# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time between two instants: read with its offset, judged, widened. Pure: the clock's reading is passed in."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

EARLIEST = datetime.min.replace(tzinfo=timezone.utc)
LATEST = datetime.max.replace(tzinfo=timezone.utc)

CLOCK_TOLERANCE = timedelta(seconds=5)
"""How far an instant may lie ahead of our clock before it counts as the future: another host noted it."""

_INSTANT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d{1,9}))?"
    r" ?(?P<offset>[Zz]|[+-]\d\d(?::?\d\d)?)?"
)


@dataclass(frozen=True)
class Window:
    """The instants from ``start`` up to, but not including, ``end``; both in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Skew:
    """How far another clock differs from ours."""

    offset: timedelta
    """The other clock's reading less ours."""
    uncertainty: timedelta
    """``offset`` is right within this: half the round trip of the measurement."""

    @property
    def bound(self) -> timedelta:
        """Return the largest difference between the clocks that fits the measurement."""
        return abs(self.offset) + self.uncertainty


def parse_instant(text: str) -> datetime:
    """Return the instant that an ISO 8601 text with an offset names, in UTC; ValueError says what is wrong with it."""
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is no instant such as 2026-11-23T20:15:00+01:00")
    if match["offset"] is None:
        raise ValueError(f"'{text}' has no offset from UTC: write 'Z' or an offset such as '+01:00' after it")
    fraction = (match["fraction"] or "0")[:6].ljust(6, "0")
    clock = match["time"] if len(match["time"]) == 8 else match["time"] + ":00"
    try:
        naive = datetime.fromisoformat(f"{match['date']}T{clock}.{fraction}")
        return naive.replace(tzinfo=_zone(match["offset"])).astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"'{text}' names no instant: {error}") from None


def _zone(offset: str) -> timezone:
    if offset in "Zz":
        return timezone.utc
    digits = offset[1:].replace(":", "").ljust(4, "0")
    if int(digits[2:]) > 59:
        raise ValueError("an offset has at most 59 minutes")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(ahead if offset[0] == "+" else -ahead)


def asked_window(
    start: str,
    end: str,
    *,
    now: datetime,
    longest: timedelta,
    names: tuple[str, str] = ("outage_start", "outage_end"),
    limit: str = "max_window",
) -> tuple[Window | None, list[str]]:
    """Return the window between two texts, and all that is wrong with it; the window is None if anything is.

    ``now`` is our clock's reading, ``longest`` the longest window that is believed. ``names`` and ``limit`` are what
    the two texts and ``longest`` are called in the sentences.
    """
    instants: list[datetime] = []
    problems: list[str] = []
    for name, text in zip(names, (start, end)):
        problems += instant_problems(name, text, now=now)
        with contextlib.suppress(ValueError):
            instants.append(parse_instant(text))
    if len(instants) == 2:
        problems += _problems_of_pair(instants[0], instants[1], longest, names, limit)
    return (None if problems else Window(instants[0], instants[1])), problems


def instant_problems(name: str, text: str, *, now: datetime) -> list[str]:
    """Return what is wrong with a text as an instant of the past; ``name`` is what it is called."""
    try:
        instant = parse_instant(text)
    except ValueError as error:
        return [f"{name}: {error}."]
    if instant > now + CLOCK_TOLERANCE:
        return [f"{name}: {text} lies in the future; it is now {as_text(now)}."]
    return []


def _problems_of_pair(
    start: datetime, end: datetime, longest: timedelta, names: tuple[str, str], limit: str
) -> list[str]:
    if end <= start:
        return [f"{names[1]}: {as_text(end)} does not come after {names[0]}, {as_text(start)}."]
    if end - start > longest:
        return [
            f"{names[1]}: the window is {(end - start).total_seconds():.0f} s long, and {limit} allows "
            f"{longest.total_seconds():.0f} s: is a date mistyped?"
        ]
    return []


def measured_skew(readings: Iterable[tuple[datetime, datetime, datetime]]) -> Skew:
    """Return how far another clock differs from ours.

    Each reading is our clock before asking, the other clock's answer, our clock afterwards. The quickest round trip is
    the most exact. A clock of ours that was set back in between counts by the size of the step.
    """
    before, answer, after = min(readings, key=lambda reading: abs(reading[2] - reading[0]))
    return Skew(answer - (before + (after - before) / 2), abs(after - before) / 2)


def widened(window: Window, by: timedelta) -> Window:
    """Return the window with ``by`` more at both ends, as far as the calendar goes."""
    return Window(window.start - min(by, window.start - EARLIEST), window.end + min(by, LATEST - window.end))


def as_text(instant: datetime) -> str:
    """Return an instant in UTC as ISO 8601, to the microsecond where it has any."""
    return instant.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
