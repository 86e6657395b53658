# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk is full: the broker dies of it, and dies at each start."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pika

from tests.game_day import means
from tests.game_day.fault import Fault, Params
from tests.lab import broker

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


QUEUE = "game-day.bulk"
MIB = 1024 * 1024


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """On a disk of their own, let a large queue and a file fill up what there is, faster than the monitor looks."""
    params = {"disk_mb": rng.randrange(512, 700), "message_kb": rng.randrange(100, 600)}
    means.small_disk(lab, params["disk_mb"])
    use_up(lab, params["message_kb"])
    if not means.until(lambda: means.unit(lab)["ActiveState"] != "active", 10):
        # Its alarm was quicker, so it lives, blocked. Somebody restarts it, as one is told not to.
        fill_up(lab)
        lab.on(means.BROKER, "systemctl", "restart", "--no-block", means.UNIT, check=True, timeout=30)
    return params


def fill_up(lab: IncusLab) -> None:
    """Write until nothing more goes: a full disk is the purpose, and dd's failure the sign of it."""
    command = ("dd", "if=/dev/zero", f"of={means.DATA}/fill", "bs=64K", "oflag=append", "conv=notrunc", "count=65536")
    lab.on(means.BROKER, *command, check=False, timeout=60)


def use_up(lab: IncusLab, message_kb: int) -> None:
    """Publish persistent messages as fast as the broker takes them, while a file takes all the rest of the disk."""
    parameters = pika.URLParameters(lab.urls["amqp"])
    admin = lab.credentials["admin"]
    parameters.credentials = pika.PlainCredentials(admin["user"], admin["password"])
    parameters.socket_timeout = parameters.blocked_connection_timeout = 20
    started = threading.Event()

    def publish() -> None:
        channel = pika.BlockingConnection(parameters).channel()
        channel.queue_declare(QUEUE, durable=True)
        body, persistent = b"x" * (message_kb * 1024), pika.BasicProperties(delivery_mode=2)
        for number in range(4 * 1024 * MIB // len(body)):
            channel.basic_publish("", QUEUE, body, persistent)
            if number == 50:
                started.set()

    # It ends with the broker, or blocked.
    thread = threading.Thread(target=means.attempt, args=(publish,), daemon=True)
    thread.start()
    started.wait(20)
    fill_up(lab)
    thread.join(30)


def present(lab: IncusLab, _params: Params) -> str | None:
    """df has nothing left, and the broker does not boot and says why."""
    free = means.free_bytes(lab)
    line = means.boot_failure(lab, "no space left on device|enospc")
    return f"{free // 1024} KiB free; {line}" if free < MIB and line else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Make the disk larger, then start; remove what filled it."""
    means.grow_disk(lab)
    tidy(lab)


def tidy(lab: IncusLab) -> None:
    """Start the broker, now that it can write, and remove what took the room."""
    means.shell(lab, means.BROKER, f"rm -f {means.DATA}/fill")
    means.mend_boot(lab)
    means.until(lambda: means.alarms(lab) == "[]", 40)
    broker.api(lab, "DELETE", f"/api/queues/{lab.data['vhost'].replace('/', '%2F')}/{QUEUE}")


FAULT = Fault(
    name="disk_full_loop",
    title="The disk is full: the broker dies, and dies at each start",
    source="LAB: disk full, crash loop",
    causes=frozenset({"disk_full"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    timeout=75.0,
)
