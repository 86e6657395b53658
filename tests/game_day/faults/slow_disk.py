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

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

QUEUE = "game-day.slow"
_RUNNING: list[subprocess.Popen[bytes]] = []


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """On a disk of their own, let no write through but for a moment now and then."""
    params = {"frozen": round(rng.uniform(2.5, 4.0), 1), "thawed": 0.1}
    means.small_disk(lab, 700)
    place = _place(lab)
    # It ends by itself, and thaws, if nobody ends it.
    script = f"for _ in $(seq 60); do fsfreeze -f {place}; sleep {params['frozen']}; fsfreeze -u {place}; "
    script += f"sleep {params['thawed']}; done"
    _RUNNING.append(subprocess.Popen(["sh", "-c", script], stderr=subprocess.DEVNULL))
    return params


def _place(lab: IncusLab) -> str:
    """Return where the disk is mounted, for this process, which is in the lab's namespaces."""
    return f"{lab.dir}/incus/storage-pools/{means.POOL}"


def present(lab: IncusLab, _params: Params) -> str | None:
    """A confirm of a persistent message takes seconds."""
    with means.channel(lab, patience=15.0) as channel:
        channel.queue_declare(QUEUE, durable=True)
        began = time.monotonic()
        channel.basic_publish("", QUEUE, b"x", pika.BasicProperties(delivery_mode=2))
        seconds = time.monotonic() - began
    return f"a confirm took {seconds:.1f} s" if seconds > 1.0 else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Let all writes through."""
    while _RUNNING:
        process = _RUNNING.pop()
        process.terminate()
        process.wait(10)
    subprocess.run(["fsfreeze", "-u", _place(lab)], check=False, capture_output=True, timeout=20)
    means.attempt(lambda: means.api(lab, "DELETE", f"/api/queues/{workers.VHOST}/{QUEUE}"))


FAULT = Fault(
    name="slow_disk",
    title="The broker's disk takes seconds for a write",
    source="issue 3: slow disk",
    causes=frozenset({"disk_slow"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=60.0,
    sticky=True,
)
