# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What RabbitMQ's log files tell: pure functions over the ends of the files, standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ._host import Tail
from ._log_signatures import FAILED_BOOT, HINTS, LIFECYCLE, SIGNATURES, Signature, Step
from ._mask import masked
from ._record import stamp

# 2026-11-23 17:56:31.564945+00:00 [warning] <0.289.0> text; the records of several lines repeat the prefix.
_LINE = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[ T](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?"
    r"(?P<zone>Z|[+-]\d\d:\d\d) \[\w+\] <[\d.]+>(?: (?P<text>.*))?"
)

_LENGTH = 400
"""Characters of a line that the result quotes."""


@dataclass(frozen=True)
class Line:
    """A line: ``text`` without the prefix, ``at`` None where the line has no prefix.

    ``near`` is when it was written as far as that is known: at, else that of the line before it.
    """

    at: datetime | None
    text: str
    raw: str
    path: str
    near: datetime | None


@dataclass(frozen=True)
class Event:
    """A step of the node's life."""

    step: Step
    line: Line
    at: datetime


# Erlang ends this line with "done"; where it can't write the dump, not at all: the next run's first words follow.
_GLUED = re.compile(r"(?m)^(Crash dump is being written to: .*?\.\.\.)(?!done$)(?=\S)")


def parse(tail: Tail) -> list[Line]:
    """Return the lines of a file's end, without the empty ones; what two runs have written on one line is two."""
    lines: list[Line] = []
    for raw in _GLUED.sub(r"\1\n", tail.text).splitlines():
        if raw.strip():
            lines.append(line_of(raw.rstrip(), tail.path, lines[-1].near if lines else None))
    return lines


def line_of(raw: str, path: str, near: datetime | None = None) -> Line:
    """Return one line; ``near`` is about when it was written, for the case that it does not say so itself."""
    match = _LINE.match(raw)
    if not match:
        return Line(None, raw, raw, path, near)
    fraction = (match["fraction"] or "0")[:6].ljust(6, "0")
    zone = "+00:00" if match["zone"] == "Z" else match["zone"]
    try:
        at = datetime.fromisoformat(f"{match['day']}T{match['time']}.{fraction}{zone}")
    except ValueError:
        return Line(None, raw, raw, path, near)
    return Line(at, match["text"] or "", raw, path, at)


def quote(line: Line) -> str:
    """Return a line as the result shows it."""
    return masked(line.raw.strip(), _LENGTH)


def family(path: str) -> str:
    """Return the name that a log file has before it is rotated."""
    return re.sub(r"\.\d+$", "", path)


@dataclass(frozen=True)
class Log:
    """All that was read: the lines of all files, and of the node's main log those with a time, oldest first."""

    lines: list[Line]
    main: list[Line]
    run: list[Event]
    """The steps of the last run, as far as the log reaches back."""
    written: dict[str, float]
    """When each file was last written, in seconds since 1970."""


def read(tails: Iterable[Tail], besides: Sequence[Line] = ()) -> Log:
    """Return what the files say, and lines that stand ``besides`` in the journal.

    A directory may hold the logs of several names that the node has had: the main log is the one with the last step
    of a node's life or, where no log has any, with the last line.
    """
    tails = sorted(tails, key=lambda tail: tail.modified)
    lines = [*besides, *(line for tail in tails for line in parse(tail))]
    families: dict[str, list[Line]] = {}
    for line in lines:
        if line.at is not None:
            families.setdefault(family(line.path), []).append(line)
    main: list[Line] = []
    best: tuple[bool, datetime] | None = None
    for timed in families.values():
        steps = [event.at for event in events(timed)]
        rank = (bool(steps), max(steps or [line.at for line in timed if line.at]))
        if best is None or rank > best:
            main, best = timed, rank
    run = last_run(events(main))
    # A node that fails before it has a log of its own says so on its standard output only: a run of one step.
    failed = [Event(FAILED_BOOT, line, line.at) for line in lines if line.at and FAILED_BOOT.pattern.search(line.text)]
    last = max(failed, key=lambda event: event.at, default=None)
    if last and last.line not in main and (not run or last.at > run[-1].at):
        run = [replace(last, at=_begun(last, families[family(last.line.path)]))]
    return Log(lines, main, run, {tail.path: tail.modified for tail in tails})


_PAUSE = timedelta(seconds=3)
"""Between two boots that fail there is more: the service manager's pause, and the start of the Erlang VM."""


def _begun(failed: Event, lines: list[Line]) -> datetime:
    """Return when the boot began that failed: its first lines say why, and stand before the one that says so."""
    begun = failed.at
    for line in reversed(lines[: lines.index(failed.line)]):
        if line.at is None or begun - line.at > _PAUSE:
            break
        begun = line.at
    return begun


def events(lines: Iterable[Line]) -> list[Event]:
    """Return the steps of the node's life, in order."""
    found: list[Event] = []
    for line in lines:
        if line.at is None:
            continue
        step = next((step for step in LIFECYCLE if step.pattern.search(line.text)), None)
        # A boot has two lines that say so, of which the first counts; two boots in a row have two first ones.
        second = step is LIFECYCLE[1] and found and found[-1].step is LIFECYCLE[0]
        if step is not None and not second:
            found.append(Event(step, line, line.at))
    return found


def last_run(found: list[Event]) -> list[Event]:
    """Return the steps of the last run: from the last start on, as far as the log reaches back."""
    for index in range(len(found) - 1, -1, -1):
        if found[index].step.state == "starting":
            return found[index:]
    return found


def _first(run: list[Event], state: str) -> Event | None:
    return next((event for event in run if event.step.state == state), None)


def judge_end(run: list[Event], lines: list[Line], running: bool | None) -> tuple[str, bool | None, str]:
    """Return the state in which the log leaves the node, whether its last stop was in order, and what is unclear.

    ``running`` says whether the process lives, None if that is not known. A stop is in order when the log shows it;
    not in order when no process lives and the log of its last run shows none; else None.
    """
    last = run[-1].step if run else None
    if last is None:
        return "none", (False if lines and running is False else None), ""
    if last.state in ("starting", "started"):
        return last.state, (False if running is False else None), ""
    if last.state == "stopped":
        return "stopped", True, ""
    if running is not False:
        return "stopping", None, ""
    if last.by == "SIGTERM":  # the last thing that a node says about it
        return "stopped", True, ""
    return "stopping", None, "The broker's log shows that a stop was asked for, but not that it was completed."


def lifecycle(
    log: Log, running: bool | None, process_started: datetime | None = None, ready: bool = False
) -> tuple[dict[str, Any], str]:
    """Return what the main log says about the node's life, and what is unclear, as a sentence or empty.

    ``process_started`` is when the process that lives was started: for the first seconds it has written nothing, and
    the log's last word is about the run before. ``ready`` tells that the process itself has said that it has booted:
    then its log is elsewhere, or it keeps none.
    """
    if process_started and (not log.run or log.run[-1].at < process_started + _YOUNG):
        end = log.main[-1].at if log.main else None
        before = {"previous_end": stamp(end) if end else None, "previous_stop": _stop(log.run)}
        if ready:
            unclear = f"What the broker says since its start at {stamp(process_started)}: {_ELSEWHERE}."
            return {**_NOTHING, **before, "last": "none"}, unclear
        return {**_NOTHING, **before, "last": "starting", "at": stamp(process_started), "line": _SILENT}, ""
    last, clean_stop, unclear = judge_end(log.run, log.main, running)
    started, stopping = _first(log.run, "started"), _first(log.run, "stopping") or _first(log.run, "stopped")
    line = log.run[-1].line if log.run else log.main[-1] if log.main else None
    result = {
        "last": last,
        "at": stamp(line.at) if line and line.at else None,
        "line": quote(line) if line else None,
        "file": line.path if line else None,
        "clean_stop": clean_stop,
        "started_at": stamp(started.at) if started else None,
        "stopped_at": stamp(stopping.at) if stopping and last == "stopped" else None,
        "by": _who(log.main, stopping) if stopping else None,
        **_previous(log),
    }
    return result, unclear


def _previous(log: Log) -> dict[str, str | None]:
    """Return the last sign of life of the run before the last one, and its orderly stop, as far as the log goes."""
    known = bool(log.run) and log.run[0].step.state == "starting" and log.run[0].line in log.main
    before = log.main[: log.main.index(log.run[0].line)] if known else []
    return {
        "previous_end": stamp(before[-1].at) if before and before[-1].at else None,
        "previous_stop": _stop(events(before)),
    }


def _stop(run: list[Event]) -> str | None:
    """Return when the last of these steps was a stop in order."""
    return stamp(run[-1].at) if run and run[-1].step.state == "stopped" else None


_YOUNG = timedelta(seconds=0.5)
"""A node's first line comes later than this, and a clock may have been corrected by as much."""

_SILENT = "(the process was started after the log's last line)"

_ELSEWHERE = "it is in none of the log files that were read"

_NOTHING = dict.fromkeys(("last", "at", "line", "file", "clean_stop", "started_at", "stopped_at", "by", "previous_end",
                          "previous_stop"))  # fmt: skip

_MINORITY = "Cluster minority/secondary status detected"


def _who(lines: list[Line], stopping: Event) -> str | None:
    """Return who asked for a stop; a node of a cluster may do so itself."""
    before = lines[: lines.index(stopping.line)][-20:]
    if any(_MINORITY in line.text for line in before):
        return "the node itself, in a minority of the cluster"
    return stopping.step.by


_OF_A_VHOST = re.compile(r"\bvhost '")


def signatures(log: Log, vhost: str | None = None) -> list[dict[str, Any]]:
    """Return which signatures the logs show, in the table's order; not what other vhosts than ``vhost`` are told of.

    ``count`` is for the time since the last start, ``total`` for all that was read. Lines without a time of their own
    (what a failing boot prints) have that of the line before. In a file where no line has one, those of the last run
    count if the file was written after the last start.
    """
    start = log.run[0].at if log.run and log.run[0].step.state == "starting" else None
    # A run that began before the main log did: what other files say of a time before that is about earlier runs.
    horizon = log.main[0].at.timestamp() if start is None and log.main and log.main[0].at else None
    seen: dict[str, str] = {}
    hits: dict[str, list[tuple[Line, bool]]] = {}
    ends = _of_last_runs(log.lines)
    for index, line in enumerate(log.lines):
        if not HINTS.search(line.text):
            continue
        # How a name that is not plain ASCII is written depends on the version.
        if vhost and vhost.isascii() and _OF_A_VHOST.search(line.text) and f"vhost '{vhost}'" not in line.text:
            continue
        # The same line in two logs (say, file and console) is one line.
        if line.at is not None and seen.setdefault(line.raw, family(line.path)) != family(line.path):
            continue
        if start is None:
            recent = horizon is None or _written(line, log) >= horizon
        else:
            recent = (
                line.near >= start if line.near else id(line) in ends and log.written[line.path] >= start.timestamp()
            )
        # What a boot that fails says first tells nothing.
        told = _reason(log.lines, index) if FAILED_BOOT.pattern.search(line.text) else line
        for signature in SIGNATURES:
            if signature.pattern.search(line.text):
                hits.setdefault(signature.name, []).append((told, recent))
    return [_counted(signature, hits[signature.name]) for signature in SIGNATURES if signature.name in hits]


_RULED = re.compile(r"^ *=+$")
_HEADING = re.compile(r"^ *(?:(?:Exception|Error) during startup: *)?$")


def _reason(lines: Sequence[Line], index: int) -> Line:
    """Return the line that tells why a boot failed: the first that says something below its ruled heading."""
    failed, *below = [line for line in lines[index : index + 8] if line.path == lines[index].path]
    if not below or not _RULED.match(below[0].text):
        return failed
    return next((line for line in below[1:] if not _HEADING.match(line.text)), failed)


def _written(line: Line, log: Log) -> float:
    """Return the latest time at which a line can have been written, in seconds since 1970."""
    if line.at is None and line.path in log.written:
        return log.written[line.path]
    return line.near.timestamp() if line.near else float("inf")


_STOPPED = re.compile(r"^Gracefully halting Erlang VM")
_DIED = re.compile(r"^Crash dump is being written to:")


def _of_last_runs(lines: Iterable[Line]) -> set[int]:
    """Return the ids of the lines without any time that belong to the last run of their file, as standard error has."""
    runs: dict[str, list[Line]] = {}
    for line in lines:
        if line.near is None:
            run = runs.setdefault(line.path, [])
            if _STOPPED.search(line.text) or FAILED_BOOT.pattern.search(line.text) or (run and _ended(run[-1])):
                run.clear()
            run.append(line)
    return {id(line) for run in runs.values() for line in run}


def _ended(line: Line) -> bool:
    return bool(_STOPPED.search(line.text) or _DIED.search(line.text))


def _counted(signature: Signature, hits: list[tuple[Line, bool]]) -> dict[str, Any]:
    counted = [line for line, recent in hits if recent]
    among = counted or [line for line, _recent in hits]
    times = [line.near for line in among if line.near]
    telling = [line for line in among if signature.telling.search(line.text)] or among
    timed = sorted(((line.near, line) for line in telling if line.near), key=lambda pair: pair[0])
    # Lines without any time are in the order of the files, the one written last at the end.
    quoted = timed[-1][1] if timed else telling[-1]
    return {
        "name": signature.name,
        "count": len(counted),
        "total": len(hits),
        "first_at": stamp(min(times)) if times else None,
        "last_at": stamp(max(times)) if times else None,
        "line": quote(quoted),
        "file": quoted.path,
    }


_DROPPED = re.compile(
    r"Queue (?P<queue>.+) in vhost (?P<vhost>.+) dropped (?P<persistent>\d+(?:/\d+)*) persistent messages and "
    r"(?P<transient>\d+) transient messages after unclean shutdown"
)


def dropped(log: Log) -> list[dict[str, Any]]:
    """Return which classic queues say that they lost messages when the node booted last, ``{queue, vhost, persistent,
    transient}``. RabbitMQ counts the persistent ones by where they lay, in three figures.
    """
    start = log.run[0].at if log.run and log.run[0].step.state == "starting" else None
    found = [
        match
        for line in log.main
        if line.at and (start is None or line.at >= start) and (match := _DROPPED.search(line.text))
    ]
    return [
        {
            "queue": match["queue"],
            "vhost": match["vhost"],
            "persistent": sum(int(part) for part in match["persistent"].split("/")),
            "transient": int(match["transient"]),
        }
        for match in found
    ]


def last_at(log: Log) -> str | None:
    """Return the time of the last line of the main log, or of the boot that failed before it had one."""
    times = [line.at for line in [*log.main, *(event.line for event in log.run)] if line.at]
    return stamp(max(times)) if times else None
