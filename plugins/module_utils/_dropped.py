# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dropped events: what they look like in each source, and how complete a list of them is. Pure."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from ._window import EARLIEST, LATEST, Window, as_text, parse_instant

# zap's encoders write the epoch in seconds, milliseconds or nanoseconds; the magnitude tells which.
_EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0))

ENDED = "veza.log"
"""In a line that an audit prints after the kept log of a container that was recreated: its instant is that end."""

SEAM = timedelta(seconds=60)
"""What a recreate may take, from the end of one container's log to the first line of the next one's."""

LONGEST = 1024 * 1024
"""Characters that the parts of one line may have together."""

STATUS = "eventbus.status"

DEGRADED = "degraded"

_VEILED = re.compile(
    rb'"eventbus(?:\.status\\*"\s*:\s*|\\*"\s*:\s*\{[^{}]*"status\\*"\s*:\s*)\[?\s*\\*"\s*degraded', re.IGNORECASE
)
"""A report of a dropped event within a text or an object of another line, however deep."""

INSTANTS = ("ts", "time", "timestamp")
"""Keys of a line's instant; the first that there is counts."""

_ONCE = (STATUS, "eventbus", *INSTANTS)
"""Keys of which a line is judged: twice in one object, nobody knows which of them it means."""
_ONCE_QUOTED = tuple(f'"{key}"'.encode() for key in _ONCE)

NAMES = ("kind", "entity_id", "key", "queue", "instance")


@dataclass(frozen=True)
class Event:
    """One event that an API instance could not publish. Names that its source doesn't give are empty."""

    kind: str
    entity_id: str
    key: str
    queue: str
    instance: str
    at: datetime
    source: str
    id: str = ""
    """The source's own id. Tells events apart that have no entity id."""

    def identity(self) -> tuple[Any, ...]:
        """Return what two reports of one event have in common within a source."""
        anonymous = "" if self.entity_id or self.key else self.id
        return (self.kind, self.entity_id, self.key, self.instance, self.at, anonymous)

    def as_dict(self) -> dict[str, Any]:
        """Return the event as the module returns it."""
        return {
            **{name: getattr(self, name) for name in NAMES},
            "at": as_text(self.at),
            "source": self.source,
        }


def event_of(row: dict[str, Any], at: datetime, source: str, *, ident: str = "", **fallback: str | None) -> Event:
    """Return the event that a row describes; ``fallback`` names what the row doesn't."""
    names = {name: _text(row.get(name)) or fallback.get(name) or "" for name in NAMES}
    return Event(**names, at=at, source=source, id=ident)


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:  # as Sentry writes what an event may have several of
        (value,) = value
    return "" if value is None else str(value)


def instant_of(value: Any) -> datetime | None:
    """Return the instant that a log writes, in UTC: ISO 8601 with an offset, or the epoch; None if it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        divisor = next((unit for least, unit in _EPOCH_UNITS if value >= least), None)
        try:
            return None if divisor is None else datetime.fromtimestamp(value / divisor, timezone.utc)
        except (ValueError, OverflowError, OSError):
            return None
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Gap:
    """A stretch of the window in which events may have been dropped unseen."""

    start: datetime
    end: datetime
    reason: str
    instance: str = ""
    """Empty: all instances."""


@dataclass
class Findings:
    """What one source gave: events, each once, at most ``max_events``; and what may be missing."""

    window: Window
    max_events: int
    events: dict[tuple[Any, ...], Event] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    beyond: int = 0
    """Events that were seen after ``max_events`` were kept."""
    notices: int = 0
    """Reports of degraded mode that name no event: what the bus is about to do, or a loss that nobody can look up."""
    pages: int = 0

    def take(self, row: dict[str, Any], event: Event) -> bool:
        """Add the event that a report describes, unless it names none; return False when there is no room for it."""
        if any(_text(row.get(name)) for name in ("kind", "entity_id", "key")):
            return self.add(event)
        self.notices += 1
        return True

    def add(self, event: Event) -> bool:
        """Keep an event, unless it is known; return False when there is no room for it."""
        identity = event.identity()
        if identity in self.events:
            return True
        if len(self.events) >= self.max_events:
            self.beyond += 1
            return False
        self.events[identity] = event
        return True

    def sorted_events(self) -> list[Event]:
        """Return the events by instant; those of one instant by kind and entity."""
        return sorted(self.events.values(), key=lambda event: (event.at, event.kind, event.entity_id, event.key))

    def anonymous(self) -> int:
        """Return how many events name no kind or no entity."""
        return sum(1 for event in self.events.values() if not event.kind or not event.entity_id)


def completeness(findings: Findings, instances: Iterable[str] = ()) -> dict[str, Any]:
    """Judge how complete the events of a source are.

    ``exact``: nothing can be missing. ``unknown``: nothing could be seen in any part of the window. ``at_least``:
    anything between. ``instances`` are all that there are, if known: when each was blind, the source was blind.
    """
    window = findings.window
    gaps = [gap for gap in (_clipped(gap, window) for gap in findings.gaps) if gap is not None]
    reasons = list(findings.reasons)
    if findings.beyond:
        reasons.append(f"more than max_events={findings.max_events}: {findings.beyond} or more were seen and not kept")
    if findings.anonymous():
        reasons.append(f"{findings.anonymous()} events name no kind or no entity")
    if findings.notices:  # each may be all that an API says of a loss, whatever else it names
        reasons.append(f"{findings.notices} reports of degraded mode name no event")
    reasons += [_sentence(gap) for gap in gaps]
    blind = bool(gaps) and all(
        _covers([gap for gap in gaps if gap.instance in ("", instance)], window)
        for instance in (tuple(instances) or ("",))
    )
    state = "exact" if not reasons else "unknown" if blind and not findings.events else "at_least"
    return {
        "state": state,
        "reasons": list(dict.fromkeys(reasons)),
        "from": as_text(min(gap.start for gap in gaps)) if gaps else None,
        "to": as_text(max(gap.end for gap in gaps)) if gaps else None,
        "gaps": [
            {"from": as_text(gap.start), "to": as_text(gap.end), "reason": gap.reason, "instance": gap.instance or None}
            for gap in gaps
        ],
    }


def _clipped(gap: Gap, window: Window) -> Gap | None:
    start, end = max(gap.start, window.start), min(gap.end, window.end)
    return Gap(start, end, gap.reason, gap.instance) if start < end else None


def _sentence(gap: Gap) -> str:
    where = f" on {gap.instance}" if gap.instance else ""
    return f"{gap.reason}{where} from {as_text(gap.start)} to {as_text(gap.end)}"


def _covers(gaps: list[Gap], window: Window) -> bool:
    reached = window.start
    for gap in sorted(gaps, key=lambda gap: gap.start):
        if gap.start > reached:
            return False
        reached = max(reached, gap.end)
    return reached >= window.end


def unseen(findings: Findings, reason: str, instance: str = "") -> None:
    """Note that the source could not be read at all."""
    findings.gaps.append(Gap(findings.window.start, findings.window.end, reason, instance))


def note_unfinished_window(findings: Findings, now: datetime, source: str) -> None:
    """Note that the window had not ended when the source was read."""
    if findings.window.end > now:
        start = max(findings.window.start, now)
        findings.gaps.append(Gap(start, findings.window.end, f"the window was not over when the {source} was read"))


class LogReader:
    """Reads JSON lines of an API instance one by one, in the order in which they were written.

    Memory is bounded by ``findings.max_events``, whatever the log's length.
    """

    def __init__(self, findings: Findings, instance: str, *, live: bool = False) -> None:
        self.findings = findings
        self.instance = instance
        self.live = live
        """Whether who gives the lines would give those up to now, as Docker does of a container."""
        self.ahead = timedelta(0)
        """By how much the clock that the log is written by is ahead."""
        self.lines = 0
        self.malformed = 0
        """Lines that can't be read, where an event of the window may have stood."""
        self.unreadable = b""
        """The last line that can't be read."""
        self.veiled = 0
        """Lines of the window that tell of dropped events somewhere within, where they can't be read."""
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._pending = 0
        self._parts: dict[str, str] = {}
        """By stream: what Docker has written of a line that it cut."""
        self._ended: datetime | None = None
        """Where the kept log before ended, until the next one's first instant."""

    def correct(self, seconds: float) -> None:
        """Take the log's instants for so many seconds too late, as its host's clock is ahead by that; say so."""
        self.ahead = timedelta(seconds=seconds)
        self.findings.reasons.append(
            f"the clock{self._of()} is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}: the log's instants "
            "were moved by that, and it may have been another in the outage"
        )

    def feed(self, line: bytes) -> None:
        """Take the next line."""
        if not line.strip():
            return
        row, at = parse_line(line)
        if row is not None and _by_docker(row):
            text = self._parts.pop(row["stream"], "") + row["log"]
            if not text.endswith("\n") and len(text) <= LONGEST:  # a part: Docker cuts lines of 16 KiB
                self._parts[row["stream"]] = text
                return
            self._unwrapped(text, at)
            return
        self._take(line, row, at)

    def _unwrapped(self, text: str, noted: datetime | None) -> None:
        """Take what a container wrote; where it gives no instant, Docker's own stands."""
        line = text.encode("utf-8", "surrogatepass")
        if line.strip():
            row, at = parse_line(line)
            self._take(line, row, at or noted)

    def _take(self, line: bytes, row: dict[str, Any] | None, at: datetime | None) -> None:
        self.lines += 1
        with contextlib.suppress(OverflowError):  # at the calendar's ends, which are in no window
            at = at and at - self.ahead
        if row is None or at is None:
            # Whether it stood in the window is known once the next instant is.
            self._pending += 1
            self.unreadable = line
            return
        self._settle(at)
        if row.get(ENDED) == "ended":
            self._ended = at
            return
        self._join(at)
        self.first = self.first or at
        self.last = at
        if not self.findings.window.start <= at < self.findings.window.end:
            return
        status = row.get(STATUS)
        if isinstance(status, str) and status.strip().lower() == DEGRADED:
            self.findings.take(row, event_of(row, at, "log", ident=str(self.lines), instance=self.instance))
        elif isinstance(status, str):  # what lies within is history, such as the status before
            self.veiled += _says_degraded(status)
        elif DEGRADED.encode() in line.lower() and (_VEILED.search(line) or is_veiled(row)):
            self.veiled += 1

    def _join(self, following: datetime) -> None:
        """Note what lies between a kept log and what follows: a container in between has left no log."""
        if self._ended is not None and following - self._ended > SEAM:
            self.findings.gaps.append(Gap(self._ended, following, "a container's log is gone", self.instance))
        self._ended = None

    def _settle(self, following: datetime | None) -> None:
        window = self.findings.window
        begun = following is None or following >= window.start
        over = self.last is not None and self.last >= window.end
        if begun and not over:
            self.malformed += self._pending
        self._pending = 0

    def close(self, *, whole: bool = True) -> None:
        """Note what the log can't tell; ``whole`` says whether it was read to its end."""
        last = self.last
        for text in self._parts.values():
            self._unwrapped(text, None)
        self._parts = {}
        if last is not None and self.last is not None:  # what was begun on one stream may be older than the other's
            self.last = max(last, self.last)
        self._settle(None)
        window = self.findings.window
        self._join(window.end)
        if self.malformed:
            self.findings.reasons.append(f"{self.malformed} lines of the log can't be read{self._of()}")
        if self.first is None or self.last is None:
            unseen(self.findings, "the log has no line with an instant", self.instance)
        else:
            if self.first >= window.start:
                # A first line at the very start proves nothing about what stood before it.
                end = max(self.first, window.start + timedelta(microseconds=1))
                self.findings.gaps.append(Gap(window.start, end, "the log begins later", self.instance))
            if whole and not self.live:
                self._silent_since(self.last)
        if self.veiled:
            reason = f"{self.veiled} lines of the log tell of dropped events in a form that can't be read"
            unseen(self.findings, reason, self.instance)

    def _silent_since(self, last: datetime) -> None:
        """Note the silence after the last line of a log that nobody is seen to write."""
        # It may have been cut, be a container's that is gone, or what is logged may go elsewhere by now.
        reason = "the log ends earlier, and no process is seen to write it,"
        if last < self.findings.window.start:
            reason = f"the log ends before that, at {as_text(last)},"
        self.findings.gaps.append(Gap(last, self.findings.window.end, reason, self.instance))

    def _of(self) -> str:
        return f" on {self.instance}" if self.instance else ""


def _by_docker(row: dict[str, Any]) -> bool:
    """Whether it is a line of Docker's json-file: what a container wrote is the text in it, line by line."""
    return {"stream", "time"} <= set(row) and row["stream"] in ("stdout", "stderr") and isinstance(row.get("log"), str)


def is_veiled(row: dict[str, Any]) -> bool:
    """Tell whether a line's object has a report of a dropped event somewhere within."""
    left: list[tuple[Any, str]] = [(row, "")]  # with the key under which it stands
    while left:
        found, under = left.pop()
        if under == STATUS and (_says_degraded(found) or isinstance(found, dict) and any(map(_says_degraded, found))):
            return True
        if isinstance(found, dict):
            inner = list(found.values())
            left += [(value, _place(under, key)) for key, value in found.items()]
        elif isinstance(found, list):
            inner = found
            left += [(value, under) for value in found]
        else:
            continue
        if STATUS in inner and any(map(_says_degraded, inner)):  # a key beside its value
            return True
    return False


def _place(under: str, key: str) -> str:
    """Return the key that counts for what stands under ``key``: all within a status belongs to it."""
    return STATUS if under == STATUS or (under, key) == ("eventbus", "status") else key


def _says_degraded(value: Any) -> bool:
    return isinstance(value, str) and DEGRADED in value.lower()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; ValueError if it has a key twice of which it is judged."""
    keys = [key for key, _value in pairs]
    if any(keys.count(key) > 1 for key in _ONCE):
        raise ValueError("a key is repeated")
    return dict(pairs)


def moved(instant: datetime, by: timedelta) -> datetime:
    """Return an instant in UTC, moved by so much, as far as the calendar goes."""
    return instant + min(max(by, EARLIEST - instant), LATEST - instant)


def parse_line(line: bytes) -> tuple[dict[str, Any] | None, datetime | None]:
    """Return a log line's object and its instant; None for what it lacks."""
    try:
        repeated = any(line.count(key) > 1 for key in _ONCE_QUOTED)  # perhaps: it may be in two objects
        row = json.loads(line, object_pairs_hook=_once) if repeated else json.loads(line)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(row, dict):
        return None, None
    return row, instant_of(next((row[key] for key in INSTANTS if key in row), None))
