# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody's script consumes a queue beside its worker, and acknowledges nothing: its share of the messages is gone."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import TYPE_CHECKING

import pika

from tests.game_day import means
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

_HELD: list[tuple[pika.BlockingConnection, threading.Event, threading.Thread]] = []
"""The consumers of this process; the broker ends those of one that was killed."""

_TAKEN: list[int] = []


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Consume a queue without acknowledgements, as administrator."""
    queue = QUEUES[rng.choice(means.KINDS)]
    parameters = pika.URLParameters(lab.urls["amqp"])
    admin = lab.credentials["admin"]
    parameters.credentials = pika.PlainCredentials(admin["user"], admin["password"])
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    _TAKEN.clear()
    channel.basic_consume(queue, lambda *_delivery: _TAKEN.append(1), auto_ack=True)
    over = threading.Event()

    def take() -> None:
        with contextlib.suppress(pika.exceptions.AMQPError):
            while not over.is_set():
                connection.process_data_events(0.2)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    _HELD.append((connection, over, thread))
    return {"queue": queue}


def present(_lab: IncusLab, params: Params) -> str | None:
    """It has got messages that a worker should have."""
    return f"{len(_TAKEN)} messages of {params['queue']} were taken by it" if _TAKEN else None


def heal(_lab: IncusLab, _params: Params) -> None:
    """End it."""
    while _HELD:
        connection, over, thread = _HELD.pop()
        over.set()
        thread.join(10)
        with contextlib.suppress(Exception):  # its broker is gone
            connection.close()


FAULT = Fault(
    name="message_thief",
    title="A stranger consumes a queue without acknowledgements",
    source="a consumer that is none of Veza's",
    causes=frozenset({"foreign_consumer"}),
    inject=inject,
    present=present,
    heal=heal,
)
