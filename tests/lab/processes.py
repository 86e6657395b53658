# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Child processes that outlive the command that started them, and can be found again.

A process id alone may have gone to somebody else's process: every process is known by its id *and* its start time.
Each child also carries a mark in its environment, so that what was started just before the lab itself was killed,
and what a child started by itself, is found as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "VEZA_LAB_MARK"

_BASE_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True)
class Process:
    """A process, by its id and its start time (clock ticks since boot, as /proc has it)."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Tell whether this very process runs; a zombie does not."""
        return start_time(self.pid) == self.started

    def send(self, number: int) -> None:
        """Send a signal, if this very process still runs."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def freeze(self) -> None:
        """Stop it, so that it answers nothing any more, until it is sent SIGCONT. Its threads stop one by one."""
        self.send(signal.SIGSTOP)
        wait_until(lambda: all(state == "T" for state in self._threads()), 20.0, 0.01)

    def _threads(self) -> Iterator[str]:
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                yield stat.read_text(errors="replace").rpartition(")")[2].split()[0]

    def command(self) -> str:
        """Return the name of the program, as far as the kernel keeps it; empty when it is gone."""
        try:
            return Path(f"/proc/{self.pid}/comm").read_text().strip()
        except OSError:
            return ""

    def wait(self, timeout: float) -> bool:
        """Wait until it has ended; False when it still runs after ``timeout`` seconds."""
        return wait_until(lambda: not self.alive(), timeout)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 10.0) -> None:
        """Send ``number``, wait, and kill what did not obey."""
        self.send(number)
        if not self.wait(timeout):
            self.send(signal.SIGKILL)
            self.wait(5.0)


def start_time(pid: int) -> int | None:
    """Return the start time of a running process, None when there is none (or only its zombie)."""
    reap(pid)
    try:
        # The name, in parentheses, may hold anything; the fields behind the last one are plain.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def reap(pid: int) -> None:
    """Collect the exit status if the process was our own child."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def spawn(
    argv: list[str],
    *,
    mark: str,
    log: Path,
    cwd: Path,
    environment: dict[str, str] | None = None,
    owner: tuple[int, int] | None = None,
) -> Process:
    """Start ``argv`` in a session of its own, in the background, its output appended to ``log``.

    It gets ``environment`` and a handful of fixed variables, nothing of the caller's own.
    ``owner`` is the (uid, gid) to run as.
    """
    identity = {} if owner is None else {"user": owner[0], "group": owner[1], "extra_groups": []}
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env={**_BASE_ENVIRONMENT, **(environment or {}), MARK: mark},
            start_new_session=True,
            **identity,  # type: ignore[call-overload]
        )
    started = start_time(child.pid)
    # Not waited for: without this the interpreter would warn that a child still runs.
    child.returncode = 0
    return Process(child.pid, started if started is not None else -1)


def marked(mark: str) -> Iterator[Process]:
    """Yield every running process that carries ``mark``."""
    needle = f"{MARK}={mark}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environment = Path("/proc", entry, "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        started = start_time(int(entry)) if needle in environment else None
        if started is not None:
            yield Process(int(entry), started)


def kill_marked(mark: str, timeout: float = 10.0) -> list[int]:
    """Kill all that carries ``mark``, until nothing is left; return the ids that would not die."""

    def none_left() -> bool:
        left = list(marked(mark))
        for process in left:
            process.send(signal.SIGKILL)
        return not left

    return [] if wait_until(none_left, timeout) else [process.pid for process in marked(mark)]


def wait_until(condition: object, timeout: float, interval: float = 0.05) -> bool:
    """Ask ``condition()`` until it is true; False when it was not within ``timeout`` seconds."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True
