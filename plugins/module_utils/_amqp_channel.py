# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One AMQP channel that takes messages out of queues and puts them in: standard library only."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import _amqp_frames as amqp
from ._amqp import Closed, Failed, Link
from ._errors import Refused, VezaError

LARGEST = 512 * 1024 * 1024
"""Bytes of the largest message that any RabbitMQ takes."""

_CHANNEL = 1

_ALARM_AFTER = 1.0
"""Seconds within which a broker under an alarm says so after something was published (seen: 0.01)."""


@dataclass(frozen=True)
class Message:
    """One message that was delivered and not acknowledged yet; ``left`` is how many were ready behind it."""

    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    left: int
    properties: bytes = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Depth:
    """What a passive declaration says of a queue: exact, but silent about what consumers hold."""

    ready: int
    consumers: int


class Channel:
    """An open channel; each call ends within ``timeout`` seconds, or raises VezaError."""

    def __init__(self, link: Link, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._timeout = timeout
        self._clock = clock
        with self._asking("to open a channel"):
            link.send(amqp.method("channel.open", _CHANNEL, b"\0"))
            link.expect("channel.open-ok")

    @contextmanager
    def _asking(self, what: str, seconds: float | None = None) -> Iterator[None]:
        until = self._clock() + (self._timeout if seconds is None else seconds)
        self._link.remaining = lambda: until - self._clock()
        try:
            yield
        except Closed as closed:
            raise VezaError(f"The broker was asked {what}; it answered: {closed.code} {closed.text}.") from None
        except Failed as failure:
            if failure.outcome == "blocked":
                raise Refused(
                    f"The broker was asked {what}; it blocks publishers under an alarm ({failure.detail}). "
                    "Run the same again when the alarm is gone."
                ) from None
            raise VezaError(f"The broker was asked {what}; {failure.outcome}: {failure.detail}.") from None
        except ValueError as error:
            raise VezaError(f"The broker was asked {what}; its answer can't be read: {error}.") from None

    def depth(self, queue: str) -> Depth:
        """Return how many messages are ready and how many consumers there are."""
        with self._asking(f"how many messages are in '{queue}'"):
            passive = b"\x01"
            arguments = b"\0\0" + amqp.short_string(queue) + passive + amqp.table({})
            self._link.send(amqp.method("queue.declare", _CHANNEL, arguments))
            reader = self._link.expect("queue.declare-ok").reader()
            reader.short_string()
            return Depth(reader.unpack("I"), reader.unpack("I"))

    def declare(self, queue: str) -> Depth:
        """Make a durable classic queue unless it is there."""
        with self._asking(f"to make the queue '{queue}'"):
            durable = b"\x02"
            arguments = b"\0\0" + amqp.short_string(queue) + durable + amqp.table({"x-queue-type": "classic"})
            self._link.send(amqp.method("queue.declare", _CHANNEL, arguments))
            reader = self._link.expect("queue.declare-ok").reader()
            reader.short_string()
            return Depth(reader.unpack("I"), reader.unpack("I"))

    def delete(self, queue: str) -> None:
        """Delete a queue of our own; one that isn't there is no error."""
        with self._asking(f"to delete the queue '{queue}'"):
            self._link.send(amqp.method("queue.delete", _CHANNEL, b"\0\0" + amqp.short_string(queue) + b"\0"))
            self._link.expect("queue.delete-ok")

    def get(self, queue: str, count: int, window: int, go_on: Callable[[], bool]) -> Iterator[Message]:
        """Yield at most ``count`` messages from the head on, unacknowledged; ``window`` are asked for ahead.

        No more are asked for when ``go_on()`` is false. It must be read to its end before the channel does anything
        else.
        """
        request = amqp.method("basic.get", _CHANNEL, b"\0\0" + amqp.short_string(queue) + b"\0")
        asked = answered = 0
        while answered < count:
            with self._asking(f"for a message of '{queue}'"):
                more = min(window - (asked - answered), count - asked) if go_on() else 0
                self._link.send(request * more)
                asked += more
                if asked == answered:
                    return
                answer, answered = self._link.expect("basic.get-ok", "basic.get-empty"), answered + 1
                message = self._delivered(answer) if answer.name == "basic.get-ok" else None
            if message is not None:
                yield message
            else:
                count = asked  # what has been asked for is still answered

    def _delivered(self, frame: amqp.Frame) -> Message:
        reader = frame.reader()
        tag, redelivered = reader.unpack("Q"), bool(reader.unpack("B"))
        exchange, routing_key, left = reader.short_string(), reader.short_string(), reader.unpack("I")
        return Message(tag, redelivered, exchange, routing_key, left, *self._content())

    def _content(self) -> tuple[bytes, bytes]:
        """Return the properties and the body that follow a method."""
        head = self._link.frame()
        if head.kind != amqp.CONTENT_HEADER or len(head.payload) < 14:
            raise Failed("not_amqp", "a message without a header")
        size = struct.unpack_from(">Q", head.payload, 4)[0]
        if size > LARGEST:
            raise Failed("not_amqp", f"a message of {size} bytes")
        parts, got = [], 0
        while got < size:
            part = self._link.frame()
            if part.kind != amqp.CONTENT_BODY or not part.payload:
                raise Failed("not_amqp", "a message without its body")
            parts.append(part.payload)
            got += len(part.payload)
        return head.payload[12:], b"".join(parts)

    def acknowledge(self, tag: int) -> None:
        """Acknowledge every message up to this one, in one frame: all of them or none. The broker doesn't answer."""
        multiple = b"\x01"
        with self._asking("to forget what was written"):
            self._link.send(amqp.method("basic.ack", _CHANNEL, struct.pack(">Q", tag) + multiple))

    def see_no_alarm(self) -> None:
        """Raise Refused when the broker blocks publishers; it says so only to who has published."""
        nowhere = amqp.short_string("") + amqp.short_string("veza.rabbitmq.nowhere")
        with self._asking("whether it takes messages"):
            method = amqp.method("basic.publish", _CHANNEL, b"\0\0" + nowhere + b"\0")
            self._link.send(method + amqp.content(_CHANNEL, b"", self._link.frame_max))
        try:
            with self._asking("whether it takes messages", _ALARM_AFTER):
                frame = self._link.frame()
                if frame.name == "connection.blocked":
                    raise Failed("blocked", frame.reader().short_string())
                raise Failed("not_amqp", f"{frame.name or 'content'} came where nothing was expected")
        except Refused:
            raise
        except VezaError as silence:
            if "timed_out" not in silence.message:
                raise

    def begin(self) -> None:
        """Make what is published from here on wait for commit()."""
        with self._asking("for a transaction"):
            self._link.send(amqp.method("tx.select", _CHANNEL))
            self._link.expect("tx.select-ok")

    def publish(self, queue: str, properties: bytes, body: bytes) -> None:
        """Put a message into a queue, in the transaction."""
        mandatory = b"\x01"
        arguments = b"\0\0" + amqp.short_string("") + amqp.short_string(queue) + mandatory
        with self._asking(f"to take a message for '{queue}'"):
            self._link.send(
                amqp.method("basic.publish", _CHANNEL, arguments)
                + amqp.content(_CHANNEL, body, self._link.frame_max, properties)
            )

    def commit(self) -> int:
        """End the transaction: every queue has what was published. Return how many messages found no queue."""
        returned = 0
        with self._asking("to confirm what was published"):
            self._link.send(amqp.method("tx.commit", _CHANNEL))
            while self._link.expect("tx.commit-ok", "basic.return").name == "basic.return":
                self._content()
                returned += 1
        return returned
