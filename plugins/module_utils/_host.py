# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be read on a broker's host: all input and output, and no judgement.

Standard library only; nothing is changed and nothing is sent. What can't be read raises Unreadable.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import pwd
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from . import _command
from ._command import Ended
from ._host_state import name_of

MAX_FILES = 20
"""Log files that are read: the newest ones."""

MAX_ENTRIES = 5000
"""Entries of the data directory that are looked at for the last write."""

_PLACES = (b"RABBITMQ_MNESIA_BASE", b"RABBITMQ_MNESIA_DIR")
"""The only variables of a broker's environment that are looked at: others may hold secrets."""


class Unreadable(Exception):
    """Something could not be read; the message is a sentence for a human."""


@dataclass(frozen=True)
class Tail:
    """The end of a log file; ``whole`` says whether it is all of it, ``modified`` is in seconds since 1970."""

    path: str
    text: str
    modified: float
    whole: bool


@dataclass(frozen=True)
class Beam:
    """A process of the Erlang VM that runs a RabbitMQ broker (not one of its command line tools).

    ``places`` are the data directories that its environment names, ``files`` the paths that it has open and
    ``sockets`` the inodes of its sockets: None where this user may not look. ``contained`` tells whether it lives in
    a container, where paths mean something else. ``node`` is the name that its command line gives it.
    """

    pid: int
    parent: int
    started: float
    suspended: bool
    home: str
    places: tuple[str, ...] | None
    files: tuple[str, ...] | None
    sockets: frozenset[int] | None
    contained: bool | None
    node: str | None = None


@dataclass(frozen=True)
class Disk:
    """The file system of a directory: bytes, and whether and why this user could write there."""

    free: int
    total: int
    writable: bool
    owner: str
    note: str
    inodes_free: int | None = None
    inodes_total: int | None = None


class Host:
    """This host."""

    def __init__(self, proc: str = "/proc") -> None:
        self.proc = proc

    # Time

    def now(self) -> float:
        """Return the wall clock, in seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds since the boot, as systemd counts them."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def boot_id(self) -> str:
        """Return the id of this boot."""
        return self._read("sys/kernel/random/boot_id").decode().strip()

    def booted(self) -> float:
        """Return the time of the boot, in seconds since 1970: of a container's too, in which the kernel's is older."""
        return _kernel_booted() + _start_of(self._fields(1))

    # Commands

    def run(self, command: list[str], timeout: float) -> Ended:
        """Run a command that only reads; Unreadable if it did not end by itself."""
        ended = _command.run(command, timeout)
        if ended.code is None:
            raise Unreadable(f"{' '.join(command[:2])} {ended.err}.")
        return ended

    # Files

    def find(self, patterns: Iterable[str]) -> list[str]:
        """Return the files that match, the newest first; a path without a wildcard counts also if it is not there."""
        found = {path for pattern in patterns for path in (glob.glob(pattern) or _literal(pattern))}

        def modified(path: str) -> float:
            with suppress(OSError):
                return os.stat(path).st_mtime
            return 0.0

        return sorted(found, key=lambda path: (-modified(path), path))[:MAX_FILES]

    def tail(self, path: str, limit: int) -> Tail:
        """Return the last ``limit`` bytes of a file, from the first whole line on."""
        try:
            # Non-blocking: a named pipe must not hold us.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise Unreadable(f"{path} is not a regular file.")
                whole = status.st_size <= limit
                if not whole:
                    file.seek(status.st_size - limit)
                data = file.read(limit)
        except OSError as error:
            raise Unreadable(f"{path} can't be read: {_reason(error)}.") from None
        if not whole:
            data = data.partition(b"\n")[2]
        return Tail(path, data.decode("utf-8", "replace"), status.st_mtime, whole)

    def disk(self, path: str) -> Disk:
        """Return the state of a directory's file system."""
        try:
            system, status = os.statvfs(path), os.stat(path)
        except OSError as error:
            raise Unreadable(f"{path} can't be looked at: {_reason(error)}.") from None
        free, total = system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize
        # Some file systems have no fixed number of inodes, and say 0.
        inodes = (system.f_favail, system.f_files) if system.f_files else (None, None)
        owner = _user(status.st_uid)
        if system.f_flag & os.ST_RDONLY:
            return Disk(free, total, False, owner, "the file system is mounted read-only", *inodes)
        if os.geteuid() == 0:
            return Disk(free, total, True, owner, "asked as root, to whom no permission is refused", *inodes)
        return Disk(free, total, os.access(path, os.W_OK), owner, f"asked as user id {os.geteuid()}", *inodes)

    def last_write(self, path: str) -> float | None:
        """Return when a file below ``path`` was last written, as far as MAX_ENTRIES entries tell."""
        newest, left, todo = None, MAX_ENTRIES, [path]
        while todo and left > 0:
            with suppress(OSError), os.scandir(todo.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        modified = entry.stat(follow_symlinks=False).st_mtime
                        newest = modified if newest is None else max(newest, modified)
        return newest

    # Processes and sockets

    def brokers(self) -> list[Beam]:
        """Return the processes that are RabbitMQ brokers."""
        try:
            pids = [int(name) for name in os.listdir(self.proc) if name.isdigit()]
        except OSError as error:
            raise Unreadable(f"{self.proc} can't be read: {_reason(error)}.") from None
        if 1 not in pids:
            raise Unreadable("The processes of other users are hidden from this user.")
        booted = _kernel_booted()
        return [beam for beam in (self._beam(pid, booted) for pid in sorted(pids)) if beam is not None]

    def _beam(self, pid: int, booted: float) -> Beam | None:
        try:
            arguments = self._read(f"{pid}/cmdline").decode("utf-8", "replace").split("\0")
            if not os.path.basename(arguments[0]).startswith("beam") or not _contains(arguments, _BOOT):
                return None
            fields = self._fields(pid)
        except Unreadable:  # it has just ended
            return None
        state, parent, started = fields[0], int(fields[1]), _start_of(fields)
        home = arguments[arguments.index("-home") + 1] if "-home" in arguments[:-1] else ""
        links = self._open_files(pid)
        return Beam(
            pid=pid,
            parent=parent,
            started=booted + started,
            suspended=state in (b"T", b"t"),
            home=home,
            places=self._places(pid),
            files=None if links is None else tuple(link for link in links if link.startswith("/")),
            sockets=None if links is None else frozenset(int(link[8:-1]) for link in links if link[:8] == "socket:["),
            contained=self._contained(pid),
            node=name_of(arguments),
        )

    def _fields(self, pid: int) -> list[bytes]:
        """Return what the kernel says of a process, from its state on."""
        return self._read(f"{pid}/stat").rpartition(b")")[2].split()

    def _places(self, pid: int) -> tuple[str, ...] | None:
        with suppress(Unreadable):
            entries = (entry.partition(b"=") for entry in self._read(f"{pid}/environ").split(b"\0"))
            return tuple(value.decode("utf-8", "replace") for name, _is, value in entries if name in _PLACES and value)
        return None

    def _open_files(self, pid: int) -> list[str] | None:
        links = []
        try:
            for name in os.listdir(f"{self.proc}/{pid}/fd"):
                with suppress(FileNotFoundError):  # closed meanwhile
                    links.append(os.readlink(f"{self.proc}/{pid}/fd/{name}"))
        except OSError:
            return None
        return links

    def _contained(self, pid: int) -> bool | None:
        with suppress(OSError):
            return os.readlink(f"{self.proc}/{pid}/ns/pid") != os.readlink(f"{self.proc}/self/ns/pid")
        return None

    def shares(self, pid: int, path: str) -> bool | None:
        """Whether ``path`` is the same directory for a process as for us; None if that can't be seen."""
        try:
            theirs = os.stat(f"{self.proc}/{pid}/root{path}")
        except FileNotFoundError:
            return False if os.path.isdir(f"{self.proc}/{pid}/root/") else None
        except OSError:
            return None
        with suppress(OSError):
            ours = os.stat(path)
            return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
        return False

    def listening(self) -> dict[int, set[int]]:
        """Return the TCP ports that somebody listens on, each with the inodes of its sockets."""
        ports: dict[int, set[int]] = {}
        for near, inode in self._listeners():
            ports.setdefault(_port(near), set()).add(inode)
        return ports

    def bound(self) -> dict[int, set[str]]:
        """Return the addresses on which somebody listens, by TCP port."""
        found: dict[int, set[str]] = {}
        for near, _inode in self._listeners():
            found.setdefault(_port(near), set()).add(_address(near))
        return found

    def unheard(self, port: int) -> list[dict[str, Any]]:
        """Return the far ends of connections with this port at either end that acknowledge nothing of what is sent.

        Keys address, port and tries: how often the kernel has sent the same again, twice at least.
        """
        tries: dict[str, int] = {}
        for fields in self._sockets():
            near, far, state, count = fields[1], fields[2], fields[3], int(fields[6], 16)
            if port in (_port(near), _port(far)) and state in _SENDING and count >= _RETRIES:
                address = _address(far)
                tries[address] = max(count, tries.get(address, 0))
        return [{"address": address, "port": port, "tries": count} for address, count in sorted(tries.items())]

    def _listeners(self) -> Iterator[tuple[str, int]]:
        return ((fields[1], int(fields[9])) for fields in self._sockets() if fields[3] == _LISTEN)

    def _sockets(self) -> Iterator[list[str]]:
        read = 0
        for name in ("net/tcp", "net/tcp6"):
            with suppress(Unreadable):  # a host may lack IPv6
                lines = self._read(name).decode("ascii", "replace").splitlines()[1:]
                read += 1
                yield from (fields for fields in (line.split() for line in lines) if len(fields) > 9)
        if not read:
            raise Unreadable(f"The TCP sockets can't be read from {self.proc}/net/tcp.")

    def _read(self, name: str) -> bytes:
        try:
            with open(f"{self.proc}/{name}", "rb") as file:
                return file.read()
        except OSError as error:
            raise Unreadable(f"{self.proc}/{name} can't be read: {_reason(error)}.") from None


_BOOT = ["-s", "rabbit", "boot"]
"""What tells a broker from its command line tools, which are Erlang VMs too."""

_LISTEN = "0A"
_SENDING = ("01", "02")
"""States of a socket that waits for an answer of the other end: established, and on its way to be."""

_RETRIES = 2
"""One retry may be a lost packet."""


def _kernel_booted() -> float:
    """Return when the kernel was booted, in seconds since 1970; its own "btime" is cut to a second."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _start_of(fields: list[bytes]) -> float:
    """Return how many seconds after the kernel's boot a process was started."""
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _port(end: str) -> int:
    return int(end.rpartition(":")[2], 16)


def _address(end: str) -> str:
    """Return an address as /proc/net/tcp writes it: words of the machine's own byte order."""
    digits = end.rpartition(":")[0]
    words = [int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _contains(items: list[str], part: list[str]) -> bool:
    return any(items[at : at + len(part)] == part for at in range(len(items)))


def _literal(pattern: str) -> list[str]:
    return [] if glob.has_magic(pattern) else [pattern]


def _user(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
