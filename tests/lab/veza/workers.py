# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One worker of the stand-in Veza: consumes one queue; the transcode worker also the rows of ``transcode_jobs``.

Every attempt is noted in a file, before anything else and before any deduplication: the file is the oracle's, and
shares nothing with broker and database.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pika
import psycopg2
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from .database import Database
from .events import EXCHANGE, MAX_ATTEMPTS, QUEUES, Event
from .log import Logger, now
from .tasks import Task, TaskFailed, Transcode, task_of

PREFETCH = 5
RECONNECT_SECONDS = 0.5
POLL_SECONDS = 0.2


class Attempts:
    """The sink of all attempts: one line each, appended in one write."""

    def __init__(self, path: str, worker: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._worker = worker

    def note(self, event: Event, *, source: str, dispatch: str, redelivered: bool) -> None:
        """Note that an attempt begins."""
        line = {
            "at": now(),
            "worker": self._worker,
            "pid": os.getpid(),
            "key": event.key,
            "dispatch": dispatch,
            "message_id": event.message_id if source == "message" else None,
            "redelivered": redelivered,
            "attempt": event.attempt,
            "source": source,
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")


class Runner:
    """Carries out one attempt at an event."""

    def __init__(self, task: Task, attempts: Attempts, poison: set[str]) -> None:
        self.task = task
        self._attempts = attempts
        self._poison = poison

    def attempt(self, event: Event, *, source: str, dispatch: str, redelivered: bool = False) -> bool:
        """Note the attempt, and carry it out; TaskFailed when it may be tried again."""
        self._attempts.note(event, source=source, dispatch=dispatch, redelivered=redelivered)
        if event.key in self._poison or event.extra.get("poison"):
            raise TaskFailed("poison")
        try:
            return self.task(event, dispatch)
        except psycopg2.Error as error:
            raise TaskFailed(repr(error)) from error

    def give_up(self, event: Event) -> None:
        """Note that an event failed for good."""
        if isinstance(self.task, Transcode):
            with contextlib.suppress(psycopg2.Error):
                self.task.give_up(event)


class MessageConsumer:
    """Consumes a queue; reconnects by itself."""

    def __init__(self, url: str, heartbeat: int, queue: str, runner: Runner, logger: Logger) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = heartbeat
        self._parameters.stack_timeout = 5
        self._queue = queue
        self._runner = runner
        self._logger = logger
        self._connection: pika.BlockingConnection | None = None

    def work(self, seconds: float) -> None:
        """Spend the time of a task, while heartbeats go on."""
        if self._connection is not None and threading.current_thread() is threading.main_thread():
            self._connection.sleep(seconds)
        else:
            time.sleep(seconds)

    def run(self) -> None:
        """Consume for ever."""
        while True:
            try:
                self._consume()
            # The second is what pika says of a broker that accepts the connection and then hangs.
            except (AMQPError, AMQPConnectorException, OSError) as error:
                self._logger.log("warn", "amqp connection lost", error=repr(error))
                time.sleep(RECONNECT_SECONDS)

    def _consume(self) -> None:
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            self._connection = connection
            incoming, outgoing = connection.channel(), connection.channel()
            outgoing.confirm_delivery()
            incoming.basic_qos(prefetch_count=PREFETCH)
            self._logger.log("info", "amqp connected", queue=self._queue)
            for method, properties, body in incoming.consume(self._queue):
                self._handle(incoming, outgoing, method, properties, body)

    def _handle(
        self, incoming: BlockingChannel, outgoing: BlockingChannel, method: Any, properties: Any, body: bytes | None
    ) -> None:
        tag = method.delivery_tag
        try:
            event = Event.parse(body or b"", properties.message_id, properties.headers)
        except (ValueError, KeyError, TypeError) as error:
            self._logger.log("error", "malformed message", error=repr(error))
            incoming.basic_reject(tag, requeue=False)
            return
        dispatch = f"message:{event.message_id}"
        try:
            self._runner.attempt(event, source="message", dispatch=dispatch, redelivered=method.redelivered)
        except TaskFailed as error:
            self._logger.log("warn", "task failed", key=event.key, attempt=event.attempt, error=str(error))
            if event.attempt >= MAX_ATTEMPTS:
                self._runner.give_up(event)
                incoming.basic_reject(tag, requeue=False)
                return
            # Published before acked: a crash in between doubles the message, and never loses it.
            self._republish(outgoing, event.again())
        incoming.basic_ack(tag)

    def _republish(self, outgoing: BlockingChannel, event: Event) -> None:
        properties = pika.BasicProperties(
            delivery_mode=2,
            message_id=event.message_id,
            content_type="application/json",
            headers={"x-attempt": event.attempt},
        )
        outgoing.basic_publish(EXCHANGE, event.queue, event.body(), properties, mandatory=True)


class JobConsumer:
    """Consumes the rows of ``transcode_jobs``. There is one transcode worker: what is 'processing' at start is ours."""

    def __init__(self, store: Database, runner: Runner, logger: Logger) -> None:
        self._store = store
        self._runner = runner
        self._logger = logger

    def run(self) -> None:
        """Consume for ever."""
        self._retry(lambda: self._execute("UPDATE transcode_jobs SET status = 'pending' WHERE status = 'processing'"))
        while True:
            if not self._retry(self._one):
                time.sleep(POLL_SECONDS)

    def _retry(self, step: Callable[[], bool]) -> bool:
        while True:
            try:
                return step()
            except psycopg2.Error as error:
                self._logger.log("warn", "database failed", error=repr(error))
                time.sleep(RECONNECT_SECONDS)

    def _execute(self, query: str, *arguments: Any) -> bool:
        with self._store.transaction() as cursor:
            cursor.execute(query, arguments)
            return cursor.rowcount > 0

    def _one(self) -> bool:
        """Carry out one job; False when there is none."""
        with self._store.transaction() as cursor:
            cursor.execute(
                "UPDATE transcode_jobs SET status = 'processing', attempts = attempts + 1 WHERE id = ("
                " SELECT id FROM transcode_jobs WHERE status = 'pending' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
                ") RETURNING id, track_id, attempts"
            )
            row = cursor.fetchone()
        if row is None:
            return False
        job, track_id, attempts = row
        event = Event("transcode", track_id, attempt=attempts)
        status = "done"
        try:
            self._runner.attempt(event, source="job", dispatch=f"job:{job}")
        except TaskFailed as error:
            self._logger.log("warn", "task failed", key=event.key, attempt=attempts, error=str(error))
            status = "pending"
            if attempts >= MAX_ATTEMPTS:
                self._runner.give_up(event)
                status = "failed"
        return self._retry(lambda: self._execute("UPDATE transcode_jobs SET status = %s WHERE id = %s", status, job))


def main() -> None:
    """Work until the process is ended."""
    environment = os.environ
    kind, worker = environment["WORKER_KIND"], environment["VEZA_INSTANCE"]
    seconds = float(environment["WORKER_TASK_SECONDS"])
    logger = Logger("worker", worker)
    store = Database(environment["DATABASE_URL"], connections=3)
    # The consumer spends a task's time, because it must serve heartbeats meanwhile.
    task = task_of(kind, store, lambda: consumer.work(seconds), environment["BACKEND_URLS"].split(","))
    poison = {key for key in environment["WORKER_POISON"].split(",") if key}
    runner = Runner(task, Attempts(environment["ATTEMPTS_FILE"], worker), poison)
    heartbeat = int(environment["AMQP_HEARTBEAT"])
    consumer = MessageConsumer(environment["AMQP_URL"], heartbeat, QUEUES[kind], runner, logger)
    if kind == "transcode":
        threading.Thread(target=JobConsumer(store, runner, logger).run, daemon=True, name="jobs").start()
    consumer.run()


if __name__ == "__main__":
    main()
