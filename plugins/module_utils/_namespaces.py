# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a function as a process sees the network and its files, whatever its container's image holds.

A child of ours enters the network and mount namespaces of the process, so that name resolution reads the container's
own resolv.conf and hosts, and packets go the container's way. Nothing is started in the container, nothing is written.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

GRACE = 1.0
"""Seconds that a child may take beyond its own deadline before it is killed."""

# glibc loads these at the first lookup: inside, another libc's might lie at their place, or none.
_LOADED_BEFORE = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")

Answer = dict[str, Any]


class NoEntry(Exception):
    """The namespaces can't be entered; the message says why."""


class Visit:
    """A child that looks from inside; ``answer`` waits for what it has to say."""

    def __init__(self, pid: int, look: Callable[[], Answer], timeout: float) -> None:
        self.deadline = time.monotonic() + timeout + GRACE
        for name in _LOADED_BEFORE:
            with suppress(OSError):
                ctypes.CDLL(name)
        with suppress(OSError):
            socket.getaddrinfo("localhost", None)  # likewise what Python itself loads late
        self.source, sink = os.pipe()
        handles = self._open(pid, sink)
        self.child = os.fork()
        if self.child == 0:
            self._inside(handles, look, sink)
        for handle in (*handles, sink):
            os.close(handle)

    def _open(self, pid: int, sink: int) -> list[int]:
        handles: list[int] = []
        try:
            # The mounts last: after that /proc may be another.
            for kind in ("net", "mnt"):
                handles.append(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            for handle in (*handles, self.source, sink):
                os.close(handle)
            raise NoEntry(
                f"the namespaces of process {pid} can't be opened (that needs root): {error.strerror}"
            ) from None
        return handles

    @staticmethod
    def _inside(handles: list[int], look: Callable[[], Answer], sink: int) -> None:
        """Never returns; nothing of ours may run on in the child."""
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                for handle in handles:
                    enter(handle)
                answer = look()
            except OSError as error:
                answer = {"error": f"the container's namespaces can't be entered: {error.strerror}"}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            data = json.dumps(answer).encode()
            while data:
                data = data[os.write(sink, data) :]
        finally:
            os._exit(0)

    def answer(self) -> Answer:
        """Return what the child found; NoEntry when it found nothing in time or could not look."""
        data = b""
        try:
            while True:
                ready, _none, _nothing = select.select(
                    [self.source], [], [], max(self.deadline - time.monotonic(), 0.0)
                )
                if not ready:
                    raise NoEntry("the look from inside did not end in time")
                part = os.read(self.source, 65536)
                if not part:
                    break
                data += part
        finally:
            os.close(self.source)
            with suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        try:
            found: Answer = json.loads(data)
        except ValueError:
            raise NoEntry("the look from inside ended without an answer") from None
        if set(found) == {"error"}:
            raise NoEntry(found["error"])
        return found


def enter(handle: int) -> None:
    """Enter a namespace; OSError if that is not permitted."""
    if hasattr(os, "setns"):
        os.setns(handle)
        return
    if ctypes.CDLL(None, use_errno=True).setns(handle, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def suspended(pid: int, proc: str = "/proc") -> bool | None:
    """Whether the main process of a container, or one that comes from it, is stopped by a signal; None if not seen.

    What was begun in the container from outside (docker exec) has a parent elsewhere: a person's shell is no worker.
    """
    try:
        space = os.readlink(f"{proc}/{pid}/ns/pid")
        names = os.listdir(proc)
    except OSError:
        return None
    states: dict[int, tuple[bytes, int]] = {}
    for name in filter(str.isdigit, names):
        with suppress(OSError):
            if os.readlink(f"{proc}/{name}/ns/pid") == space:
                with open(f"{proc}/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
                states[int(name)] = (state, int(parent))

    def comes_from_main(one: int) -> bool:
        while one != pid and one in states:
            one = states[one][1]
        return one == pid

    return any(state == b"T" and comes_from_main(one) for one, (state, _parent) in states.items())
