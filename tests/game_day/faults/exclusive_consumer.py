# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody consumes a queue exclusively: its worker is refused, and nothing is done."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pika

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


_HELD: list[pika.BlockingConnection] = []
"""The connections of this process; the broker ends those of one that was killed."""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Let an administrator's script take a queue for itself while its worker is restarted."""
    kind = rng.choice(means.KINDS)
    params = {"worker": workers.service(kind), "queue": QUEUES[kind]}
    means.compose(lab, means.WORKERS, "stop", params["worker"])
    parameters = pika.URLParameters(lab.urls["amqp"])
    admin = lab.credentials["admin"]
    parameters.credentials = pika.PlainCredentials(admin["user"], admin["password"])
    parameters.heartbeat = 0
    connection = pika.BlockingConnection(parameters)
    _HELD.append(connection)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(params["queue"], lambda *_delivery: None, exclusive=True)
    means.compose(lab, means.WORKERS, "start", params["worker"])
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker refuses the worker, and messages wait."""
    times, depth = workers.logged(lab, "in exclusive use"), workers.depth(lab, params["queue"])
    if times >= 2 and depth["messages_ready"]:
        return f"{times} times {params['worker']} was refused {params['queue']}; {depth}"
    return None


def mended(lab: IncusLab, params: Params) -> bool:
    """Its worker takes what waits: the stranger acknowledges nothing, and counts as a consumer."""
    return workers.depth(lab, params["queue"])["messages_ready"] == 0


def heal(_lab: IncusLab, _params: Params) -> None:
    """Close the connection that holds it; what it held goes back."""
    while _HELD:
        with contextlib.suppress(Exception):  # its broker is gone
            _HELD.pop().close()


FAULT = Fault(
    name="exclusive_consumer",
    title="A queue is consumed exclusively by somebody else",
    source="written down nowhere: exclusive use",
    causes=frozenset({"queue_in_exclusive_use"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
)
