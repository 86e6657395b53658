# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A log's lines, from a file with its rotated predecessors or from a command; nothing is ever held as a whole."""

from __future__ import annotations

import contextlib
import glob
import gzip
import io
import os
import re
import select
import signal
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO, Any

from ._dropped import Gap, LogReader, moved, parse_line, unseen
from ._files import regular

MAX_LINE = 1024 * 1024
"""Bytes of a line; a longer one counts as several that can't be read."""

PEEK_LINES = 1000
"""Lines that are searched for a file's first instant."""

PEEK_BYTES = 4 * MAX_LINE
"""Bytes that are searched for it."""

PIECE = 64 * 1024
"""Bytes that are read of a command's output at once."""

REAP = 1.0
"""Seconds that a command may take to end once it was killed."""

LINES_BETWEEN_LOOKS = 500
"""How often the deadline is looked at."""

UNREADABLE = (OSError, EOFError, zlib.error)
"""A file that vanished, may not be read, or is no whole gzip file."""

# logrotate's two ways (api.log.1, api.log-20261123) and lumberjack's (api-2026-11-23T20-15-01.000.log), compressed or
# not.
_ROTATED = (
    r"{name}\.(?P<number>\d+)(\.({endings}))?",
    r"{name}-(?P<day>\d{{8}}(-\d+)?)(\.({endings}))?",
    r"{stem}-(?P<instant>\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{{3}}){extension}(\.({endings}))?",
)

COMPRESSED = "gz|bz2|xz|zst|lz4|zip|Z"
"""How the names of compressed files end, of which gz can be read."""


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Return a file's lines, as they are read."""
    return iter(lambda: file.readline(MAX_LINE), b"")


def lines_until(deadline: float, pipe: IO[bytes]) -> Iterator[bytes]:
    """Return the lines that come from a pipe; TimeoutError at the deadline, of the monotonic clock.

    Who holds the other end may never close it, nor be a child that can be ended.
    """
    rest = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            raise TimeoutError
        piece = os.read(pipe.fileno(), PIECE)
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if rest and (not piece or len(rest) >= MAX_LINE):
            yield rest
            rest = b""
        if not piece:
            return


def rotated(path: str, endings: str = "gz") -> list[str]:
    """Return the files that ``path`` was before it was rotated, the newest first.

    Their names tell the order, where they are of one kind: a copy has another time. ``endings``: of compressed ones.
    """
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    parts = {"name": re.escape(name), "stem": re.escape(stem), "extension": re.escape(extension), "endings": endings}
    patterns = [re.compile(form.format(**parts)) for form in _ROTATED]
    found: dict[str, list[tuple[Any, float, str]]] = {}
    for candidate in glob.glob(os.path.join(glob.escape(folder), glob.escape(stem) + "*")):
        matches = [pattern.fullmatch(os.path.basename(candidate)) for pattern in patterns]
        for kind, place in next((match.groupdict() for match in matches if match), {}).items():
            with contextlib.suppress(OSError):  # rotated away in between
                order = -int(place) if kind == "number" else place
                found.setdefault(kind, []).append((order, os.stat(candidate).st_mtime, candidate))
    if len(found) == 1:
        return [candidate for _order, _at, candidate in sorted(*found.values(), reverse=True)]
    every = [(at, candidate) for kind in found.values() for _order, at, candidate in kind]
    return [candidate for _at, candidate in sorted(every, reverse=True)]


def unreadable(path: str, candidate: str, before: str) -> str:
    """Say what keeps a log from being read as far back as one of its predecessors; empty if nothing does.

    ``before``: the predecessor that is the next younger one, or the log itself.
    """
    ending = candidate.rpartition(".")[2]
    if ending in COMPRESSED.split("|") and ending != "gz":
        return f"{candidate} is compressed in a form that is not read here"
    number, last = _number(path, candidate), _number(path, before) or 0
    # logrotate begins with 1, or with 0 where it is told to.
    if number is not None and number > last + 1:
        return f"{path}.{last + 1} is missing"
    return ""


def _number(path: str, candidate: str) -> int | None:
    digits = candidate[len(path) + 1 :].partition(".")[0]
    return int(digits) if candidate.startswith(f"{path}.") and digits.isdigit() else None


def _open(path: str, stack: contextlib.ExitStack) -> IO[bytes]:
    """Open a regular file to read, until ``stack`` is closed."""
    file = stack.enter_context(io.BufferedReader(io.FileIO(path, opener=regular)))
    return stack.enter_context(gzip.open(file)) if path.endswith(".gz") else file  # type: ignore[arg-type]


def _first_instant(file: IO[bytes]) -> datetime | None:
    """Return the first instant in a file, and leave the file at its beginning."""
    at, size = None, 0
    for _unused, line in zip(range(PEEK_LINES), lines_of(file)):
        at = parse_line(line)[1]
        size += len(line)
        if at is not None or size > PEEK_BYTES:
            break
    file.seek(0)
    return at


@contextlib.contextmanager
def opened_back_to(path: str, start: datetime) -> Iterator[tuple[list[IO[bytes]], list[str]]]:
    """Open a log and as many of its predecessors as it takes to reach back before ``start``.

    Yields the files, the oldest first, and a sentence for each predecessor that can't be read. OSError if the log
    itself can't be. They are opened from the newest on: a rotation in the middle of it shows as a file seen twice.
    """
    with contextlib.ExitStack() as stack:
        files: list[IO[bytes]] = []
        problems: list[str] = []
        seen: set[tuple[int, int]] = set()
        newest = _open(path, stack)
        before = path
        for number, candidate in enumerate([path, *rotated(path, COMPRESSED)]):
            wrong = unreadable(path, candidate, before) if number else ""
            if wrong:
                problems.append(wrong)
                break
            before = candidate
            try:
                file = newest if number == 0 else _open(candidate, stack)
                status = os.fstat(file.fileno())
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                first = _first_instant(file)
            except UNREADABLE as error:
                problems.append(f"{candidate} can't be read ({type(error).__name__})")
                break
            files.insert(0, file)
            if first is not None and first < start:
                break
        yield files, problems


def is_written(file: IO[bytes]) -> bool:
    """Tell whether a process of this host is seen to have a file open to write, all of whose text is still there.

    False where that can't be seen: as another user than that process's, or elsewhere than on Linux.
    """
    status = os.fstat(file.fileno())
    name = os.path.basename(os.path.realpath(file.name))
    for handle in glob.iglob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # it has just ended, or is another user's
            # By its name first: to ask for the status of whatever is open may hang, where a file server is gone.
            if os.path.basename(os.readlink(handle)) != name:
                continue
            opened = os.stat(handle)
            if (opened.st_dev, opened.st_ino) != (status.st_dev, status.st_ino):
                continue
            with open(handle.replace("/fd/", "/fdinfo/"), encoding="ascii") as told:
                facts = dict(line.split(":", 1) for line in told if ":" in line)
            # Who stands behind the end has seen the file shortened under it.
            if int(facts["flags"], 8) & os.O_ACCMODE and int(facts["pos"]) <= opened.st_size:
                return True
    return False


def read_file(path: str, reader: LogReader, timeout: float, clock: Callable[[], float]) -> None:
    """Feed ``reader`` a log file, from before the window on. A log that can't be read is a gap, not an error."""
    findings = reader.findings
    deadline = clock() + timeout
    try:
        with opened_back_to(path, moved(findings.window.start, reader.ahead)) as (files, problems):
            findings.reasons += problems
            for file in files:
                for number, line in enumerate(lines_of(file)):
                    if number % LINES_BETWEEN_LOOKS == 0 and clock() > deadline:
                        _cut(reader, f"the log was not read to its end within {timeout:.3g} s")
                        return
                    reader.feed(line)
            if reader.last is not None and reader.last < findings.window.end:
                reader.live = is_written(files[-1])
    except UNREADABLE as error:
        reason = "there is no such log file" if isinstance(error, FileNotFoundError) else "the log can't be read"
        _cut(reader, f"{reason}: {path} ({type(error).__name__})")
        return
    reader.close()


def _cut(reader: LogReader, reason: str) -> None:
    """Note that the log was not read beyond what the reader has."""
    window = reader.findings.window
    if reader.last is None:
        unseen(reader.findings, reason, reader.instance)
        return
    reader.close(whole=False)
    reader.findings.gaps.append(Gap(max(reader.last, window.start), window.end, reason, reader.instance))
    if reader.last >= window.end:  # lines are not quite in order: what follows may still belong to the window
        reader.findings.reasons.append(reason)


def read_command(argv: list[str], reader: LogReader, timeout: float) -> None:
    """Feed ``reader`` what a command prints, on both streams: a container's log comes on both.

    A command that fails is a gap, not an error. It and its children are ended at the deadline; those of its children
    that have a session of their own go on, but are not waited for.
    """
    findings = reader.findings
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        unseen(findings, f"{argv[0]} can't be run ({type(error).__name__})", reader.instance)
        return
    deadline = time.monotonic() + timeout
    try:
        if process.stdout is None:
            raise AssertionError("the process was started with a pipe")
        with process.stdout:
            for line in lines_until(deadline, process.stdout):
                reader.feed(line)
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        _kill(process)  # also when it has ended by itself: its children hold the pipe
        _cut(reader, f"{argv[0]} was ended after {timeout:.3g} s")
        return
    finally:
        if process.poll() is None:
            _kill(process)
            with contextlib.suppress(subprocess.TimeoutExpired):  # another user's, by sudo: it is not ours to end
                process.wait(REAP)
    if status != 0:
        _failed(reader, argv[0], status)
    else:
        reader.close()


def _kill(process: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself, or is another user's
        os.killpg(process.pid, signal.SIGKILL)


def _failed(reader: LogReader, program: str, status: int) -> None:
    said = ""
    if reader.last is None and reader.unreadable:  # all that it printed is why it failed
        said = ": " + " ".join(reader.unreadable.decode("utf-8", "replace").split())[:200]
    _cut(reader, f"{program} failed with status {status}{said}")
