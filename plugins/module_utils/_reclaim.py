# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may safely be removed from a broker's disk: crash dumps, closed rotated logs, journal above its limit."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ._logfiles import rotated

JOURNALS = "/var/log/journal"

KINDS = ("crash_dump", "rotated_log", "journal")

Identity = tuple[int, int]
"""Device and inode."""

IDENTITY = ("device", "inode", "size", "modified_ns")
"""By which a file is known to be the one that was listed, unchanged."""


@dataclass(frozen=True)
class Open:
    """The files that are open on this host, with who has them; ``seen`` tells whether all processes could be seen."""

    holders: dict[Identity, str]
    seen: bool


def open_files(proc: str = "/proc") -> Open:
    """Return what is open."""
    holders: dict[Identity, str] = {}
    seen = os.geteuid() == 0
    for pid in filter(str.isdigit, os.listdir(proc)):
        try:
            handles = os.listdir(f"{proc}/{pid}/fd")
        except FileNotFoundError:
            continue  # it has just ended
        except OSError:
            seen = False
            continue
        for handle in handles:
            with suppress(OSError):
                status = os.stat(f"{proc}/{pid}/fd/{handle}")
                if stat.S_ISREG(status.st_mode):
                    holders.setdefault((status.st_dev, status.st_ino), f"{_name(proc, pid)} ({pid})")
    return Open(holders, seen)


def _name(proc: str, pid: str) -> str:
    with suppress(OSError), open(f"{proc}/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return "a process"


def listed(
    data_path: str, data_dir: str, log_files: Iterable[str], journal_keep: int, opened: Open, journals: str = JOURNALS
) -> dict[str, list[dict[str, Any]]]:
    """Return ``files`` that may go, and ``kept`` ones with why not.

    Only what is on the file system of ``data_path`` counts: the rest would free nothing. ``journal_keep`` are the
    bytes of the journal that stay.
    """
    files: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    try:
        device = os.stat(data_path).st_dev
    except OSError:
        return {"files": [], "kept": []}
    for kind, path in _candidates(data_dir, list(log_files), journal_keep, journals):
        entry = _entry(kind, path)
        if entry is None or entry["device"] != device or not entry["bytes"]:
            continue
        why = _why_not(entry, opened)
        if why is None:
            files.append(entry)
        else:
            kept.append({"path": path, "kind": kind, "bytes": entry["bytes"], "why": why})
    return {"files": files, "kept": kept}


def _why_not(entry: dict[str, Any], opened: Open) -> str | None:
    holder = opened.holders.get((entry["device"], entry["inode"]))
    if holder:
        return f"open by {holder}: removing it would free nothing"
    if not opened.seen:
        return "whether it is open can't be seen by this user"
    return f"it has {entry['links']} names: removing one would free nothing" if entry["links"] > 1 else None


def _candidates(data_dir: str, log_files: list[str], journal_keep: int, journals: str) -> Iterator[tuple[str, str]]:
    matched = {path for pattern in log_files for path in glob.glob(pattern)}
    logs = {path for path in matched if path.endswith(".log")}
    folders = sorted({os.path.dirname(path) for path in matched} | {data_dir})
    dumps = [path for folder in folders for path in glob.glob(f"{glob.escape(folder)}/erl_crash.dump*")]
    yield from (("crash_dump", path) for path in dumps)
    yield from (("rotated_log", path) for path in sorted({old for log in logs for old in rotated(log)}))
    yield from (("journal", path) for path in _surplus(journals, journal_keep))


def _surplus(journals: str, keep: int) -> list[str]:
    """Return the archived files of the journal that are above its limit, the oldest first."""
    found = []
    for path in glob.glob(f"{glob.escape(journals)}/*/*.journal*"):
        with suppress(OSError):
            status = os.lstat(path)
            found.append((status.st_mtime_ns, path, status.st_blocks * 512))
    total = sum(size for _modified, _path, size in found)
    surplus = []
    for _modified, path, size in sorted(found):
        if total <= keep:
            break
        if "@" in os.path.basename(path):  # journald writes to the others
            surplus.append(path)
            total -= size
    return surplus


def _entry(kind: str, path: str) -> dict[str, Any] | None:
    try:
        return _entry_of(kind, path, os.lstat(path))
    except OSError:
        return None


def _entry_of(kind: str, path: str, status: os.stat_result) -> dict[str, Any] | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return {
        "path": path,
        "kind": kind,
        "bytes": status.st_blocks * 512,
        "size": status.st_size,
        "device": status.st_dev,
        "inode": status.st_ino,
        "modified_ns": status.st_mtime_ns,
        "links": status.st_nlink,
    }


def remove(entries: Iterable[dict[str, Any]], opened: Open, check_mode: bool) -> dict[str, list[dict[str, Any]]]:
    """Remove the files that are still what was listed; return ``removed`` and ``kept``, with why.

    One that is gone is neither: somebody has removed it before. It is cut to nothing first: a file system whose quota
    is used up can't even note that a name goes.
    """
    removed, kept = [], []
    for entry in entries:
        now = _entry(entry["kind"], entry["path"])
        if now is None:
            continue
        changed = any(now[key] != entry[key] for key in IDENTITY)
        why = "it has changed since it was listed" if changed else _why_not(now, opened)
        shown = {"path": now["path"], "kind": now["kind"], "bytes": now["bytes"]}
        if why is None and not check_mode:
            try:
                why = _freed(entry)
            except OSError as error:
                why = f"it can't be removed: {error.strerror}"
        if why is None:
            removed.append(shown)
        else:
            kept.append({**shown, "why": why})
    return {"removed": removed, "kept": kept}


def _freed(entry: dict[str, Any]) -> str | None:
    """Empty and remove the very file that was listed; return why not.

    By its name alone it could be another by now: logs are rotated, and their directory isn't root's.
    """
    path = entry["path"]
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        now = _entry_of(entry["kind"], path, status)
        if now is None or any(now[key] != entry[key] for key in IDENTITY):
            return "it has changed since it was listed"
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)
    if os.path.samestat(os.lstat(path), status):
        os.unlink(path)
    return None
