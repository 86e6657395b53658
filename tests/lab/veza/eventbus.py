# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API's event bus, as the runbook describes ``internal/eventbus/rabbitmq.go``.

One connection and one channel for the whole process, and a lock around them: publishes go one after the other. When
the connection is lost, a background thread reconnects with exponential backoff; publishes wait for it. Once the
outage has lasted as long as the backoff limit, the bus is *degraded*: everything that waits is given up, and from
then on a publish returns at once. What is given up is lost; one log line says so. The background thread goes on
trying, and a connection ends the degraded mode.

With publisher confirms an event is either confirmed by the broker or logged as dropped. It can be both: when the
broker dies between taking a message and confirming it. Without confirms an event that was written into a dying
socket is neither.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Literal

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, NackError, UnroutableError

from .events import EXCHANGE, Event, log_of_drop
from .log import Logger, now

State = Literal["connected", "retrying", "degraded"]

TICK = 0.1
"""Seconds between two looks of the background thread at the connection (and its heartbeats)."""

FIRST_DELAY = 0.1
MAX_DELAY = 1.0
"""Seconds between attempts to reconnect: short, so that a lab needs not wait long for a broker that is back."""

CONNECT_TIMEOUT = 2.0
"""Seconds for a connection: a broker that hangs accepts connections and says nothing."""


class EventBus:
    """Publishes events; safe to use from many threads."""

    def __init__(self, url: str, *, limit: float, confirms: bool, heartbeat: int, level: str, logger: Logger) -> None:
        self._limit = limit
        self._confirms = confirms
        self.level = level
        self._logger = logger
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = heartbeat
        self._parameters.connection_attempts = 1
        self._parameters.socket_timeout = CONNECT_TIMEOUT
        self._parameters.stack_timeout = CONNECT_TIMEOUT
        # Under an alarm the broker reads nothing more; a publish must not wait for ever.
        self._parameters.blocked_connection_timeout = limit
        self._amqp = threading.Lock()
        self._connection: pika.BlockingConnection | None = None
        self._channel: pika.adapters.blocking_connection.BlockingChannel | None = None
        self._changed = threading.Condition()
        self._state: State = "retrying"
        self._down_since = time.monotonic()
        self._next_attempt = 0.0
        self._delay = FIRST_DELAY
        self._closed = threading.Event()
        self.buffered = 0
        self.dropped = 0
        self._keeper = threading.Thread(target=self._keep, daemon=True, name="eventbus")
        self._keeper.start()

    @property
    def state(self) -> State:
        """What the bus is doing now."""
        return self._state

    def publish(self, event: Event) -> bool:
        """Publish an event; False when it was given up (and logged).

        Returns at once in degraded mode, else within the backoff limit (and what one attempt may take).
        """
        deadline = time.monotonic() + self._limit
        delay = FIRST_DELAY / 2
        with self._counted():
            while self._await_connection(deadline):
                if self._attempt(event, deadline):
                    return True
                # Refused on a good connection (a missing queue, say), or the connection just broke.
                delay = min(delay * 2, MAX_DELAY, max(deadline - time.monotonic(), 0.0))
                time.sleep(delay)
        line = log_of_drop(event, level=self.level, instance=self._logger.instance, ts=now())
        with self._changed:
            self.dropped += 1
        self._logger.line(line)
        return False

    def close(self) -> None:
        """End the background thread and the connection; nothing may be published any more."""
        self._closed.set()
        self._keeper.join()
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(AMQPError, OSError):
                connection.close()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self.buffered += 1
        try:
            yield
        finally:
            with self._changed:
                self.buffered -= 1

    def _await_connection(self, deadline: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._state != "retrying", max(deadline - time.monotonic(), 0.0))
            return self._state == "connected" and time.monotonic() < deadline

    def _attempt(self, event: Event, deadline: float) -> bool:
        if not self._amqp.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            return False
        try:
            if self._channel is None:
                return False
            properties = pika.BasicProperties(
                delivery_mode=2,
                message_id=event.message_id,
                content_type="application/json",
                headers={"x-attempt": event.attempt},
            )
            self._channel.basic_publish(EXCHANGE, event.queue, event.body(), properties, mandatory=self._confirms)
        except (UnroutableError, NackError) as error:
            self._logger.log("warn", "publish refused", key=event.key, error=repr(error))
            return False
        except (AMQPError, OSError) as error:
            self._lost(error)
            return False
        finally:
            self._amqp.release()
        return True

    def _keep(self) -> None:
        """Serve heartbeats, notice a lost connection, reconnect, and declare the bus degraded in time."""
        while not self._closed.wait(TICK):
            if self._state == "retrying" and time.monotonic() - self._down_since >= self._limit:
                self._set("degraded")
                self._logger.log("warn", "bus degraded, events will be lost")
            with self._amqp:
                if self._connection is None:
                    self._connect()
                    continue
                try:
                    self._connection.process_data_events(0)
                except (AMQPError, OSError) as error:
                    self._lost(error)

    def _connect(self) -> None:
        if time.monotonic() < self._next_attempt:
            return
        try:
            connection = pika.BlockingConnection(self._parameters)
            channel = connection.channel()
            if self._confirms:
                channel.confirm_delivery()
        # The second is what pika says of a broker that accepts the connection and then hangs.
        except (AMQPError, AMQPConnectorException, OSError) as error:
            self._next_attempt = time.monotonic() + self._delay
            self._delay = min(self._delay * 2, MAX_DELAY)
            self._logger.log("warn", "amqp connect failed", error=repr(error))
            return
        self._connection, self._channel = connection, channel
        self._delay = FIRST_DELAY
        self._set("connected")
        self._logger.log("info", "amqp connected")

    def _lost(self, error: BaseException) -> None:
        """Forget the connection; the caller holds the lock."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is None:
            return
        with contextlib.suppress(AMQPError, OSError):
            connection.close()
        self._down_since = time.monotonic()
        self._next_attempt = 0.0
        self._set("retrying")
        self._logger.log("warn", "amqp connection lost", error=repr(error))

    def _set(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
