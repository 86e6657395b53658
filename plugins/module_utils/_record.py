# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The incident's record on disk: one directory a site, one append-only file of JSON lines an incident.

Standard library only: it runs on any host that is chosen to keep the record.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ._errors import BadInput, TimedOut, VezaError

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
INCIDENT = re.compile(r"[0-9]{8}T[0-9]{6}Z-(?P<site>.+)-[0-9a-f]{4}")
LOCK_TIMEOUT = 10.0  # a lock is held for milliseconds; longer means a stopped process or a dead file server


def stamp(moment: datetime) -> str:
    """Return an instant as the record writes it: UTC, ISO 8601, milliseconds, ``Z``."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def instant(text: Any, what: str = "instant") -> datetime:
    """Return the UTC instant that ``text`` says; BadInput when it is no ISO 8601 instant with an offset."""
    try:
        # Python 3.9 and 3.10 know no "Z" and only 3 or 6 digits of a second's fraction.
        iso = re.sub(r"[Zz]$", "+00:00", str(text).strip())
        iso = re.sub(r"\.(\d+)", lambda found: "." + found.group(1)[:6].ljust(6, "0"), iso)
        moment = datetime.fromisoformat(iso)
        if moment.tzinfo is not None:
            return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):  # at either end of the calendar its offset may lead beyond
        raise BadInput(f"{what} is {text!r}; it must be like 2026-01-31T02:03:04Z.") from None
    raise BadInput(f"{what} is {text!r}, which could be any time zone's; add an offset, or Z for UTC.")


def encode(event: dict[str, Any]) -> bytes:
    """Return an event as one line; the same event always gives the same bytes."""
    try:
        return json.dumps(event, sort_keys=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"The event's data can't be written as JSON: {error}.") from None


def decode(raw: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return a file's events and how many of its complete lines are damaged.

    A last line without its line feed is a write that a crash cut short: it counts when it is whole, and is passed
    over in silence when it isn't, because whoever wrote it was never told that it had been kept.
    """
    *lines, tail = raw.split(b"\n")
    parsed = [_event(line) for line in lines if line.strip()]
    events = [event for event in [*parsed, _event(tail)] if event is not None]
    return events, parsed.count(None)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
        instant(event["at"])
        sound = (
            isinstance(event["seq"], int)
            and all(isinstance(event[name], str) for name in ("at", "type", "key"))
            and isinstance(event["data"], dict)
        )
    except (BadInput, KeyError, TypeError, ValueError, RecursionError):
        return None
    return event if sound else None


def _is_lease(lease: Any) -> bool:
    """Whether this has the shape that ``_lease`` relies on; KeyError, TypeError or BadInput say no as well."""
    holder, abort = lease["holder"], lease.get("abort")
    if not isinstance(lease["token"], int) or not isinstance(holder, (dict, type(None))):
        return False
    if holder is not None:
        instant(lease["acquired_at"])
        instant(lease["expires_at"])
        if not all(isinstance(lease[name], (str, type(None))) for name in ("phase", "eta_at")):
            return False
    return not abort or (isinstance(abort["by"], dict) and "at" in abort)


def sound_part(raw: bytes) -> tuple[int, bytes]:
    """Return how much of a file to keep before the next line, and what must be written in front of that line."""
    tail = raw[raw.rfind(b"\n") + 1 :]
    if not tail:
        return len(raw), b""
    return (len(raw), b"\n") if _event(tail) is not None else (len(raw) - len(tail), b"")


@dataclass
class Incident:
    """One incident as its file tells it."""

    id: str
    events: list[dict[str, Any]]
    damaged: int = 0

    @property
    def open(self) -> bool:
        """True between an ``opened`` event and the ``closed`` event that answers it."""
        return [event["type"] for event in self.events if event["type"] in ("opened", "closed")][-1:] == ["opened"]

    def latest(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return the last event of that type and key: the one that stands."""
        found = [event for event in self.events if event["type"] == kind and event.get("key") == key]
        return found[-1] if found else None

    @property
    def next_seq(self) -> int:
        """The number that the next event gets."""
        return max((event["seq"] for event in self.events), default=0) + 1


class SiteDirectory:
    """The directory of one site. Reading needs no lock and tolerates its absence; writing is done in locked()."""

    def __init__(self, root: str, site: str) -> None:
        if not SITE.fullmatch(site):
            raise BadInput(
                f"site is {site!r}; it names a directory, so it must begin with a letter or digit and hold at most "
                "63 letters, digits, dots, hyphens and underscores."
            )
        if not os.path.isabs(root) or "\0" in root:
            raise BadInput(f"dir is {root!r}; it must be an absolute path.")
        self.site = site
        self.root = root
        self.path = os.path.join(root, site)
        self.lease_path = os.path.join(self.path, "lease.json")

    def exists(self) -> bool:
        """Return whether anything was ever recorded for the site."""
        return os.path.isdir(self.path)

    def free(self) -> int | None:
        """Return the bytes that are free where the records are, or would be; None where that can't be told."""
        there = self.path
        while not os.path.isdir(there) and there != "/":
            there = os.path.dirname(there)
        try:
            system = os.statvfs(there)
        except OSError:
            return None
        return system.f_bavail * system.f_frsize

    def record_path(self, incident: str) -> str:
        """Return the path of an incident's file; BadInput when the id isn't one of this site's."""
        match = INCIDENT.fullmatch(incident)
        if not match or match.group("site") != self.site:
            raise BadInput(
                f"id is {incident!r}; an incident of site {self.site} is called yyyymmddThhmmssZ-{self.site}-xxxx."
            )
        return os.path.join(self.path, f"{incident}.jsonl")

    def read(self, incident: str) -> Incident | None:
        """Return one incident; None when there is none, or when a crash left its file without an event."""
        raw = self._read(self.record_path(incident))
        events, damaged = decode(raw or b"")
        return Incident(incident, events, damaged) if events else None

    def incidents(self) -> Iterator[Incident]:
        """Yield the site's incidents, newest first."""
        with _explained(self.path):
            try:
                names = os.listdir(self.path)
            except FileNotFoundError:
                return
        ids = (name[: -len(".jsonl")] for name in sorted(names, reverse=True) if name.endswith(".jsonl"))
        for name in ids:
            match = INCIDENT.fullmatch(name)
            incident = self.read(name) if match and match.group("site") == self.site else None
            if incident:
                yield incident

    def lease(self) -> dict[str, Any] | None:
        """Return what lease.json says; None when nobody has ever held the lease."""
        raw = self._read(self.lease_path)
        if raw is None:
            return None
        try:
            lease = json.loads(raw)
            if not _is_lease(lease):
                raise TypeError(lease)
        except (BadInput, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise VezaError(
                f"{self.lease_path} is no lease. It is only ever replaced as a whole, so something else wrote to it. "
                "See that no recovery is running, then delete it."
            ) from None
        return dict(lease)

    @contextlib.contextmanager
    def locked(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        timeout: float = LOCK_TIMEOUT,
    ) -> Iterator[None]:
        """Create the directory where it is missing and hold its lock; TimedOut after ``timeout`` seconds."""
        self._create()
        path = os.path.join(self.path, ".lock")
        with _explained(path):
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            deadline = clock() + timeout
            with _explained(path):  # a file server may have no locks
                while not _try_lock(lock):
                    if clock() >= deadline:
                        raise TimedOut(
                            f"{path} stayed locked for {timeout:g} s. Look for a stopped process that holds it."
                        )
                    sleep(0.05)
            yield
        finally:
            os.close(lock)  # this releases the lock too

    def append(self, incident: str, event: dict[str, Any]) -> None:
        """Add one event and return when it is on the disk; on a failure the file is as it was. Call it in locked()."""
        path, line = self.record_path(incident), encode(event)
        with _explained(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            record = os.open(path, flags, 0o600)
            try:
                keep, front = sound_part(_read_all(record))
                os.ftruncate(record, keep)
                try:
                    _write_all(record, front + line)
                    os.fsync(record)
                except OSError:
                    os.ftruncate(record, keep)  # half a line on a full disk must not look like a crash
                    raise
            finally:
                os.close(record)
            _sync_directory(self.path)

    def write_lease(self, lease: dict[str, Any]) -> None:
        """Replace lease.json as a whole. Call it in locked()."""
        temporary = f"{self.lease_path}.new"
        with _explained(self.lease_path):
            target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _write_all(target, encode(lease))
                os.fsync(target)
            finally:
                os.close(target)
            os.replace(temporary, self.lease_path)
            _sync_directory(self.path)

    def _create(self) -> None:
        with _explained(self.path):
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.path, 0o700)
                _sync_directory(self.root)
            # A link would let whoever can write to the parent choose where the record goes.
            if not stat.S_ISDIR(os.lstat(self.path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", self.path)

    def _read(self, path: str) -> bytes | None:
        with _explained(path):
            try:
                source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                return _read_all(source)
            finally:
                os.close(source)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VezaError(
            f"The incident's record {path} can't be used: {error.strerror or error}. "
            "Look at the owner, the mode and the free space of its directory on this host."
        ) from error


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_all(source: int) -> bytes:
    parts = []
    while part := os.read(source, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _write_all(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def _sync_directory(path: str) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
