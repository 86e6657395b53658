# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A broker's host: who may write where, memory and its limits, open files, who holds a port, the nodes' data.

All of it is read, but for write_error(). What can't be read is None.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import grp
import os
import pwd
import re
import select
import stat
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from ._deadline import Later
from ._mask import masked
from ._record import stamp

COOKIE = ".erlang.cookie"

_V1 = "/sys/fs/cgroup/memory"
_V2 = "/sys/fs/cgroup"

NO_LIMIT = 1 << 60
"""A limit above this is none: cgroup v1 writes the largest number of pages."""

REACHED = 0.98
"""Share of its limit at which a container's memory has been used up."""

_NODE = re.compile(r"^[^@/]+@[^/]+$")
# BTRFS_IOC_GET_SUBVOL_INFO of linux/btrfs.h: _IOR(0x94, 60, struct btrfs_ioctl_get_subvol_info_args).
_SUBVOLUME_BYTES = 504
_GET_SUBVOLUME = 2 << 30 | _SUBVOLUME_BYTES << 16 | 0x94 << 8 | 60
_OTIME = 8 + 256 + 4 * 8 + 3 * 16 + 4 * 8 + 16
"""Where the second of its four times begins."""

WRITE_TIMEOUT = 2.0
"""Seconds in which a disk must take 4 KiB."""

HUNG, LOOK = 1.0, 0.1
"""Seconds in one and the same wait for a disk that are too long; seconds between two looks."""

WATCH, SUSPECT = 0.8, 2.0
"""Seconds for which a disk is watched at least, and where anybody was seen to wait: a disk that lets few writes through
does so between two long waits."""

_UNSYNCHRONISED = 5
"""What adjtimex() returns while nothing keeps the clock right (TIME_ERROR)."""


MOST_FILES = 50_000
"""Entries of a directory that are counted."""


def account(user: str) -> tuple[int, set[int]] | None:
    """Return the id and the groups of a user; None if there is no such user."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    return entry.pw_uid, {entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if user in group.gr_mem)}


_BITS = {"write": 2, "read": 4, "pass through": 1}


def usable(path: str, user: str, verb: str = "write") -> dict[str, Any] | None:
    """Return whether a user may use a directory or file, by owner and mode; None if it is not there.

    ``verb`` is how: write (of a directory: list too), read, or pass through.
    """
    known = account(user)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return {"path": path, "owner": None, "group": None, "mode": None, "ok": None, "detail": str(error.strerror)}
    uid, groups = known if known else (None, set())
    wanted = _BITS[verb] | (5 if verb == "write" and stat.S_ISDIR(status.st_mode) else 0)
    shift = 6 if status.st_uid == uid else 3 if status.st_gid in groups else 0
    held = status.st_mode >> shift & 7
    may = None if known is None else uid == 0 or held & wanted == wanted
    can = "can" if may else "can't"
    detail = f"{user} {can} {verb} it" if known else f"no user {user}"
    if may is False and _has_acl(path):
        may, detail = None, f"{user} may {verb} it only by its access control list"
    return {
        "path": path,
        "owner": _name(pwd.getpwuid, status.st_uid),
        "group": _name(grp.getgrgid, status.st_gid),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "ok": may,
        "detail": detail,
    }


def _has_acl(path: str) -> bool:
    with suppress(OSError):
        return "system.posix_acl_access" in os.listxattr(path)
    return False


def _name(find: Any, number: int) -> str:
    with suppress(KeyError):
        return str(find(number)[0])
    return str(number)


def directories(
    data_dir: str, log_files: Sequence[str], user: str, own: str | None = None, read: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Return what the broker must be able to use, and whether its user may.

    ``own`` is the node's name, whose log counts and not another node's; ``read`` are the files that it only reads.
    """
    places = {os.path.dirname(path) for path in log_files}
    logs = [path for path in log_files if "@" in os.path.basename(path) and path.endswith(".log")]
    logs = [path for path in logs if os.path.basename(path) == f"{own}.log"] or logs
    # Nothing is made in a directory that has all that it needs: there a stranger's directory does no harm.
    whole = all(os.path.exists(f"{data_dir}/{name}") for name in ("mnesia", COOKIE))
    verbs = {data_dir: "pass through" if whole else "write", f"{data_dir}/mnesia": "write"}
    verbs.update(dict.fromkeys(nodes_in(data_dir), "write"))
    verbs.update(dict.fromkeys(sorted(places), "pass through" if logs else "write"))
    verbs.update(dict.fromkeys(logs, "write"))
    verbs.update({path: "pass through" if os.path.isdir(path) else "read" for path in read})
    found = (usable(path, user, verb) for path, verb in verbs.items())
    return [entry for entry in found if entry is not None]


def cookie(data_dir: str, user: str) -> dict[str, Any]:
    """Return whether the Erlang cookie is one that the broker accepts: its user's, nobody else's, and not empty."""
    path = f"{data_dir}/{COOKIE}"
    try:
        status = os.stat(path)
    except FileNotFoundError:
        nothing = {"owner": None, "mode": None, "size": None}
        return {"path": path, **nothing, "ok": None, "detail": "there is none; a node makes one at its first start"}
    except OSError as error:
        return {"path": path, "owner": None, "mode": None, "size": None, "ok": None, "detail": str(error.strerror)}
    known, wrong = account(user), []
    if known and status.st_uid != known[0]:
        wrong.append(f"it must belong to {user}")
    if status.st_mode & 0o077:
        wrong.append("nobody but its owner may read it (mode 0400 or 0600)")
    if not status.st_mode & 0o400:
        wrong.append("its owner must be able to read it")
    if status.st_size < 1:
        wrong.append("it is empty")
    return {
        "path": path,
        "owner": _name(pwd.getpwuid, status.st_uid),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "size": status.st_size,
        "ok": not wrong if known else None,
        "detail": "; ".join(wrong) or "as it should be",
    }


def nodes_in(data_dir: str) -> list[str]:
    """Return the data directories of nodes, the one written last first."""
    found = []
    for path in glob.glob(f"{data_dir}/mnesia/*@*"):
        if _NODE.match(os.path.basename(path)) and not path.endswith("-plugins-expand") and os.path.isdir(path):
            with suppress(OSError):
                found.append((os.stat(path).st_mtime, path))
    return [path for _written, path in sorted(found, reverse=True)]


def node(data_dir: str, name: str | None) -> dict[str, Any]:
    """Return the name of this host's node, and the other nodes whose data lie beside its own.

    ``name`` is that of the running node; without it, the node whose data were written last.
    """
    paths = nodes_in(data_dir)
    own = name or (os.path.basename(paths[0]) if paths else None)
    others = []
    for path in paths:
        if os.path.basename(path) != own:
            with suppress(OSError):
                written = datetime.fromtimestamp(os.stat(path).st_mtime, timezone.utc)
                others.append({"name": os.path.basename(path), "modified_at": stamp(written), "began_at": _began(path)})
    mine = [path for path in paths if os.path.basename(path) == own]
    return {"name": own, "began_at": _began(mine[0]) if mine else None, "others": others}


def _began(path: str) -> str | None:
    """Return when a node's data began: its oldest entries, such as ``quorum``, are not touched by a start."""
    with suppress(OSError), os.scandir(path) as entries:
        written = [entry.stat(follow_symlinks=False).st_mtime for entry in entries] or [os.stat(path).st_mtime]
        return stamp(datetime.fromtimestamp(min(written), timezone.utc))
    return None


def written_to(data_dir: str) -> str:
    """Return the directory on whose file system the broker writes: mnesia may be a disk of its own."""
    for path in (*nodes_in(data_dir)[:1], f"{data_dir}/mnesia"):
        with suppress(OSError):
            return path if os.stat(path).st_dev != os.stat(data_dir).st_dev else data_dir
    return data_dir


UNITS = {
    "": 1, "b": 1,
    "k": 2**10, "kib": 2**10, "ki": 2**10, "kb": 10**3, "m": 2**20, "mib": 2**20, "mi": 2**20, "mb": 10**6,
    "g": 2**30, "gib": 2**30, "gi": 2**30, "gb": 10**9, "t": 2**40, "tib": 2**40, "ti": 2**40, "tb": 10**12,
}  # fmt: skip
"""Bytes by the unit, in lower case, that RabbitMQ's configuration takes and its log prints."""

_LIMIT = re.compile(
    r"^\s*(disk_free_limit|vm_memory_high_watermark)\.(absolute|relative)\s*=\s*['\"]?([\d.]+)\s*([A-Za-z]*)",
    re.MULTILINE,
)


def limits(texts: Iterable[str], total: int | None) -> dict[str, int]:
    """Return the limits, in bytes, that texts of ``rabbitmq.conf`` set; a later one counts more.

    ``total`` is the memory, of which the relative ones are shares.
    """
    found = {}
    for text in texts:
        for name, kind, number, unit in _LIMIT.findall(text):
            factor = total if kind == "relative" else UNITS.get(unit.lower())
            with suppress(ValueError):
                if factor:
                    found[name] = int(float(number) * factor)
    return found


def configured(paths: Iterable[str]) -> dict[str, int]:
    """Return the limits that the broker's configuration sets; nothing else of it is kept."""
    return limits((_text(path) or "" for path in paths), _total())


def name_of(arguments: list[str]) -> str | None:
    """Return the node's name from the command line of its Erlang VM."""
    for flag in ("-sname", "-name"):
        if flag in arguments[:-1]:
            return arguments[arguments.index(flag) + 1]
    return None


def write_error(path: str) -> str | None:
    """Return why nothing can be written below a directory (``EDQUOT``, ``ENOSPC``, ``EROFS``), None if something can.

    A file without a name is made, which is gone when it is closed: nobody else ever sees it. A quota tells itself in no
    other way. It is tried by a process of its own, as a disk that hangs holds whoever writes, and no signal frees them;
    one that does not answer in time is left behind, and the answer is ``ETIMEDOUT``.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            # Nothing of the caller's may stay open in it: who waits for the end of our output would wait for it.
            os.dup2(writer, 3)
            os.closerange(4, 1 << 12)
            os.closerange(0, 3)
            os.write(3, (_write_error(path) or "").encode())
        finally:
            os._exit(0)
    os.close(writer)
    ready, _writable, _failed = select.select([reader], [], [], WRITE_TIMEOUT)
    answer = os.read(reader, 64).decode() if ready else "ETIMEDOUT"
    os.close(reader)
    if ready:
        os.waitpid(child, 0)
    return answer or None


def _write_error(path: str) -> str | None:
    try:
        handle = os.open(path, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, b"\0" * 4096)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "")
        return name if name in ("EDQUOT", "ENOSPC", "EROFS") else None
    return None


def snapshot_since(path: str) -> str | None:
    """Return since when a directory's file system is the one that it is, which is when a snapshot was restored.

    Only btrfs tells it (a subvolume's otime, without privileges); None elsewhere.
    """
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            data = bytearray(_SUBVOLUME_BYTES)
            fcntl.ioctl(handle, _GET_SUBVOLUME, data)
        finally:
            os.close(handle)
        seconds, nanoseconds = struct.unpack_from("=QI", data, _OTIME)
        return stamp(datetime.fromtimestamp(seconds + nanoseconds / 1e9, timezone.utc)) if seconds else None
    return None


def taken_by(path: str, otherwise: int | None) -> int | None:
    """Return the bytes that a directory takes, ``otherwise`` where it has more than MOST_FILES entries."""
    total, left, todo = 0, MOST_FILES, [path]
    while todo:
        with suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    return otherwise
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def room_at(path: str, beside: str) -> dict[str, Any]:
    """Return what is free where a directory is or would be, and whether that is the file system of ``beside``."""
    there = path
    while not os.path.isdir(there) and there != "/":
        there = os.path.dirname(there) or "/"
    free, same = None, None
    with suppress(OSError):
        system = os.statvfs(there)
        free = system.f_bavail * system.f_frsize
        same = os.stat(there).st_dev == os.stat(beside).st_dev
    return {"path": path, "free": free, "same": same}


def memory() -> dict[str, Any]:
    """Return the memory that this host sees, its own limit, and how much it has used at most."""
    limit = _number(f"{_V1}/memory.limit_in_bytes") or _number(f"{_V2}/memory.max")
    peak = _number(f"{_V1}/memory.max_usage_in_bytes") or _number(f"{_V2}/memory.peak")
    return {"total": _total(), "container_limit": limit if limit and limit < NO_LIMIT else None, "peak": peak}


def oom_count(service: str) -> int | None:
    """Return how many processes of a service, or of this container, the kernel has killed for want of memory."""
    counts = []
    for path in (
        f"{_V1}/memory.oom_control", f"{_V1}/system.slice/{service}.service/memory.oom_control",
        f"{_V2}/system.slice/{service}.service/memory.events", f"{_V2}/memory.events",
    ):  # fmt: skip
        for line in (_text(path) or "").splitlines():
            if line.startswith("oom_kill "):
                counts.append(int(line.split()[1]))
    return max(counts) if counts else None


def memory_was_used_up(state: dict[str, Any]) -> bool:
    """Whether a container's memory has reached its limit."""
    limit, peak = state["container_limit"], state["peak"]
    return bool(limit and peak and peak >= REACHED * limit)


def resident(pid: int) -> int | None:
    """Return the bytes of memory that a process holds."""
    match = re.search(r"^VmRSS:\s+(\d+) kB", _text(f"/proc/{pid}/status") or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def open_files(pid: int) -> dict[str, int | None]:
    """Return how many files a process has open, and how many it may."""
    match = re.search(r"^Max open files\s+(\d+)", _text(f"/proc/{pid}/limits") or "", re.MULTILINE)
    count = None
    with suppress(OSError):
        count = len(os.listdir(f"/proc/{pid}/fd"))
    return {"open": count, "limit": int(match[1]) if match else None}


def holder(inodes: set[int]) -> dict[str, Any] | None:
    """Return the process that holds one of these sockets, and whose it is; None if it can't be seen."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for directory in glob.glob("/proc/[0-9]*/fd"):
        with suppress(OSError):
            for handle in os.listdir(directory):
                with suppress(OSError):
                    if os.readlink(f"{directory}/{handle}") in wanted:
                        pid = directory.split("/")[2]
                        return described_process(int(pid))
    return None


def described_process(pid: int, proc: str = "/proc") -> dict[str, Any]:
    """Return who a process is: its name, command (without what looks like a password), user and systemd unit."""
    user = None
    with suppress(OSError):
        user = _name(pwd.getpwuid, os.stat(f"{proc}/{pid}").st_uid)
    unit = re.search(r"([^/\n]+\.(?:service|scope))\s*$", _text(f"{proc}/{pid}/cgroup") or "", re.MULTILINE)
    return {
        "pid": pid,
        "name": (_text(f"{proc}/{pid}/comm") or "").strip(),
        "command": masked(" ".join((_text(f"{proc}/{pid}/cmdline") or "").split("\0")).strip(), 120),
        "user": user,
        "unit": unit[1] if unit else None,
    }


REFUSED = ".veza-refused."
"""In the name of what a recovery has put aside: never a last good state."""

_NEVER_GOOD = (REFUSED, ".dpkg-", ".ucf-", ".example", ".sample", ".rej", ".swp", ".lock")


def last_good(files: Iterable[str], patterns: Iterable[str]) -> list[dict[str, Any]]:
    """Return of each file the newest copy that is older than it, which may be its last good state.

    In a pattern ``{file}`` is the file's path and ``{name}`` its name. A copy with the same content helps nobody.
    """
    wanted, found = list(patterns), []
    for file in files:
        copies = []
        for pattern in wanted:
            whole = pattern.replace("{file}", glob.escape(file)).replace("{name}", glob.escape(os.path.basename(file)))
            copies += [path for path in glob.glob(whole) if os.path.isfile(path) and os.path.realpath(path) != file]
        with suppress(OSError):
            written = os.stat(file).st_mtime
            older = [
                (os.stat(path).st_mtime, path) for path in set(copies)
                if not any(part in os.path.basename(path) for part in _NEVER_GOOD) and _text(path) != _text(file)
            ]  # fmt: skip
            good = [entry for entry in sorted(older) if entry[0] <= written]
            if good:
                at = stamp(datetime.fromtimestamp(good[-1][0], timezone.utc))
                found.append({"file": file, "source": good[-1][1], "modified_at": at})
    return found


class DiskWatch:
    """Whether a thread of a process hangs in one wait for a disk (state D) for a second, seen beside other work."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._later = Later(self._watch)

    def stuck(self) -> bool | None:
        """End it, and tell; waits until it has seen enough. None if it can't be seen."""
        self._over.set()
        return self._later.result()

    def _watch(self) -> bool | None:
        since: dict[tuple[str, str], float] = {}
        least, start = WATCH, time.monotonic()
        while True:
            waits, now = _waits(self._pid), time.monotonic()
            if waits is None:
                return None
            least = SUSPECT if waits else least
            late = self._over.is_set() and now - start >= least
            # Those who hang by then are watched to their end; on a busy disk there is always somebody else.
            since = {wait: since.get(wait, now) for wait in waits if wait in since or not late}
            if any(now - began >= HUNG for began in since.values()):
                return True
            if late and not since:
                return False
            if self._over.is_set():
                time.sleep(LOOK)
            else:
                self._over.wait(LOOK)  # the end of the other work is not to wait for the next look


class Work:
    """How much of a processor this look gets, told by work of it that waits for nothing."""

    LEAST, LITTLE, LOOKS, REST = 0.01, 0.1, 6, 0.05
    """Seconds of a processor that tell something; the share below which it looks again; how often; seconds before.

    Whoever has slept is served first, on a host that is only busy; where the hypervisor lets the host have no more,
    sleep is of no use.
    """

    def __enter__(self) -> Work:
        """Begin that work."""
        self._begin()
        return self

    def __exit__(self, *_error: object) -> None:
        """End it, not before it was enough to tell something."""
        self.share = self._end()
        for _look in range(1, self.LOOKS):
            if self.share < self.LITTLE:
                time.sleep(self.REST)
                self._begin()
                self.share = max(self.share, self._end())

    def _begin(self) -> None:
        self._cpu, self._began = time.thread_time(), time.monotonic()

    def _end(self) -> float:
        while (used := time.thread_time() - self._cpu) < self.LEAST:
            pass
        return round(used / max(time.monotonic() - self._began, used), 3)


def _waits(pid: int) -> set[tuple[str, str]] | None:
    """Return the waits for a disk that a process's threads are in: the thread, and how often it has waited so far."""
    found = set()
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    for thread in threads:
        text = _text(f"/proc/{pid}/task/{thread}/stat")
        if text and text.rpartition(")")[2].split()[0] == "D":
            switches = re.search(
                r"^voluntary_ctxt_switches:\s*(\d+)", _text(f"/proc/{pid}/task/{thread}/status") or "", re.M
            )
            found.add((thread, switches[1] if switches else ""))
    return found


def io_full(service: str) -> float | None:
    """Return for what share (percent) of the last 10 s all of a service's tasks waited for the disk.

    The machine's own figure is not used: in a container it is that of all others too.
    """
    text = _text(f"{_V2}/system.slice/{service}.service/io.pressure") or ""
    match = re.search(r"^full avg10=([\d.]+)", text, re.MULTILINE)
    return float(match[1]) if match else None


def synchronised() -> bool | None:
    """Return whether something keeps this clock right."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # zeros: it only reads
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _UNSYNCHRONISED


def _total() -> int | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _text("/proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _number(path: str) -> int | None:
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _text(path: str) -> str | None:
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return None
