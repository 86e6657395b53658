# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk of the broker's data takes seconds for a write, as one that is throttled, failing or busy with a backup."""

from __future__ import annotations

import random
import subprocess
import time
from typing import TYPE_CHECKING

import pika

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.state import LabError

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

QUEUE = "game-day.slow"
_RUNNING: list[subprocess.Popen[bytes]] = []


FREEZE = """
for _ in $(seq 60); do
    [ -d /proc/1 ] && mountpoint -q "$1" || exit 1
    (for _ in 1 2 3 4 5; do sleep "$2"; fsfreeze -u "$1" && break; done) &
    fsfreeze -f "$1"
    wait
    sleep 0.1
done
"""
"""Freezes a file system again and again, in the lab's mount namespace: where it is mounted, for how many seconds.

What thaws it is started first: whatever is killed, nothing stays frozen; and it ends with the lab, whose process 1 it
looks for. No fsfreeze without a look at what is mounted there: of a mere directory it would freeze the file system in
which that lies, which is this machine's own.
"""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """On a disk of their own, let no write through but for a moment now and then."""
    params = {"frozen": round(rng.uniform(2.5, 4.0), 1)}
    means.small_disk(lab, 700)
    argv = _inside(lab, "sh", "-c", FREEZE, "sh", _place(lab), str(params["frozen"]))
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    _RUNNING.append(process)
    time.sleep(1.0)
    if process.poll() is not None:
        raise LabError(f"{_place(lab)} is not to be frozen: {process.returncode}")
    return params


def _place(lab: IncusLab) -> str:
    """Return where the disk is mounted in the lab's mount namespace; nothing is mounted there in this process's own."""
    return f"{lab.dir}/incus/storage-pools/{means.POOL}"


def _inside(lab: IncusLab, *argv: str) -> list[str]:
    return ["nsenter", f"--mount=/proc/{lab.init.pid}/ns/mnt", "--", *argv]


def present(lab: IncusLab, _params: Params) -> str | None:
    """A confirm of a persistent message takes seconds."""
    with means.channel(lab, patience=15.0) as channel:
        channel.queue_declare(QUEUE, durable=True)
        began = time.monotonic()
        channel.basic_publish("", QUEUE, b"x", pika.BasicProperties(delivery_mode=2))
        seconds = time.monotonic() - began
    return f"a confirm took {seconds:.1f} s" if seconds > 1.0 else None


def mended(lab: IncusLab, params: Params) -> bool:
    """Confirms come at once again, each time: a slow broker serves, too, and between two waits it is fast."""
    for _look in range(3):
        if present(lab, params):
            return False
        time.sleep(1.0)
    return True


def heal(lab: IncusLab, _params: Params) -> None:
    """Let all writes through."""
    while _RUNNING:
        process = _RUNNING.pop()
        process.terminate()
        process.wait(10)
    thaw = 'mountpoint -q "$1" && fsfreeze -u "$1"'
    argv = _inside(lab, "sh", "-c", thaw, "sh", _place(lab))
    subprocess.run(argv, check=False, capture_output=True, timeout=20)
    means.attempt(lambda: means.api(lab, "DELETE", f"/api/queues/{workers.VHOST}/{QUEUE}"))


FAULT = Fault(
    name="slow_disk",
    title="The broker's disk takes seconds for a write",
    source="issue 3: slow disk",
    causes=frozenset({"disk_slow"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
    timeout=60.0,
    sticky=True,
)
