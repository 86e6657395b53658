# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tasks of the workers: what an event, once delivered, does.

Each runs its own transaction, in which the key is claimed and the effect noted; a lost claim does nothing.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

from . import database
from .database import Database
from .events import Event

Work = Callable[[], None]
"""The time that a task takes."""

Task = Callable[[Event, str], bool]
"""Carry an event out, for a dispatch; False when somebody else has, or is at it."""

TRACK_LOCKS = 0x76657A61
"""Class of the advisory locks by which a transcoder owns a track: a dead owner's lock is free."""


class TaskFailed(Exception):
    """The task failed and may be tried again."""


class Transcode:
    """Claims the track first: two transcoders never work on the same one."""

    def __init__(self, store: Database, work: Work) -> None:
        self._store = store
        self._work = work

    def __call__(self, event: Event, dispatch: str) -> bool:
        """Transcode a track.

        An explicit order (a row of ``transcode_jobs``) may also take up a track whose transcode had failed.
        """
        claimable = ("processing", "failed") if dispatch.startswith("job:") else ("processing",)
        # The lock lives as long as the database session, across both transactions below.
        with self._store.session() as session:
            if not session.value("SELECT pg_try_advisory_lock(%s, %s)", (TRACK_LOCKS, event.entity_id)):
                return False
            try:
                return self._claim_and_work(session, event, dispatch, claimable)
            finally:
                session.value("SELECT pg_advisory_unlock(%s, %s)", (TRACK_LOCKS, event.entity_id))

    def _claim_and_work(
        self, session: database.Session, event: Event, dispatch: str, claimable: tuple[str, ...]
    ) -> bool:
        with session.transaction() as cursor:
            claim = (
                "UPDATE tracks SET hls_status = 'processing' WHERE id = %s AND (hls_status IS NULL OR hls_status IN %s)"
            )
            cursor.execute(claim, (event.entity_id, claimable))
            if cursor.rowcount == 0:
                return False
        self._work()
        with session.transaction() as cursor:
            claimed = database.claim_key(cursor, event, dispatch)
            cursor.execute("UPDATE tracks SET hls_status = 'ready' WHERE id = %s", (event.entity_id,))
        return claimed

    def give_up(self, event: Event) -> None:
        """Note that a track will not be transcoded."""
        with self._store.transaction() as cursor:
            query = "UPDATE tracks SET hls_status = 'failed' WHERE id = %s AND hls_status IS DISTINCT FROM 'ready'"
            cursor.execute(query, (event.entity_id,))


class Update:
    """A task whose effect is one UPDATE of one row."""

    def __init__(self, store: Database, work: Work, query: str) -> None:
        self._store = store
        self._work = work
        self._query = query

    def __call__(self, event: Event, dispatch: str) -> bool:
        """Carry the event out."""
        self._work()
        with self._store.transaction() as cursor:
            claimed = database.claim_key(cursor, event, dispatch)
            if claimed:
                cursor.execute(self._query, (event.entity_id,))
        return claimed


class Invalidate:
    """Makes every API instance forget a track that was taken down."""

    def __init__(self, store: Database, work: Work, backends: list[str]) -> None:
        self._store = store
        self._work = work
        self._backends = backends
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __call__(self, event: Event, dispatch: str) -> bool:
        """Invalidate in all instances, then note it; harmless to repeat."""
        self._work()
        body = json.dumps({"track_id": event.extra["track_id"]}).encode()
        for backend in self._backends:
            url = f"{backend}/internal/cache/dmca/invalidate"
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            try:
                self._opener.open(request, timeout=5).close()
            except OSError as error:
                raise TaskFailed(f"{url}: {error}") from error
        with self._store.transaction() as cursor:
            return database.claim_key(cursor, event, dispatch)


SUBMIT = "UPDATE distributions SET status = 'submitted' WHERE id = %s"
INDEX = "UPDATE tracks SET search_indexed_at = now() WHERE id = %s"


def task_of(kind: str, store: Database, work: Work, backends: list[str]) -> Task:
    """Return what the worker of this kind does."""
    tasks: dict[str, Callable[[], Task]] = {
        "transcode": lambda: Transcode(store, work),
        "distribution": lambda: Update(store, work, SUBMIT),
        "search": lambda: Update(store, work, INDEX),
        "dmca": lambda: Invalidate(store, work, backends),
    }
    return tasks[kind]()
