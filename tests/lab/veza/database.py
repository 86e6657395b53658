# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Veza's database, as the API and the workers use it."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor

from .events import Event


class Session:
    """One database session: what belongs to a session (an advisory lock) lasts from one transaction to the next."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Yield a cursor of a transaction: committed at the end, rolled back when an exception leaves the block."""
        with self._connection, self._connection.cursor() as cursor:
            yield cursor

    def value(self, query: str, arguments: tuple[Any, ...]) -> Any:
        """Run a query in a transaction of its own, and return its only value."""
        with self.transaction() as cursor:
            cursor.execute(query, arguments)
            row = cursor.fetchone()
        return None if row is None else row[0]


class Database:
    """A few kept connections; each is handed to one thread at a time."""

    def __init__(self, url: str, connections: int = 10) -> None:
        self._url = url
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _slot in range(connections):
            self._idle.put(None)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session."""
        connection = self._idle.get()
        try:
            if connection is None or connection.closed:
                connection = psycopg2.connect(self._url, connect_timeout=5)
            yield Session(connection)
        finally:
            self._idle.put(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Yield a cursor of one transaction; see Session.transaction()."""
        with self.session() as session, session.transaction() as cursor:
            yield cursor


def insert_track(cursor: Cursor, title: str) -> int:
    """Insert an uploaded track that has no HLS segments yet; return its id."""
    cursor.execute("INSERT INTO tracks (title) VALUES (%s) RETURNING id", (title,))
    return _id(cursor)


def insert_takedown(cursor: Cursor, track_id: int) -> int | None:
    """Block a track, synchronously; return the takedown's id, None when there is no such track."""
    cursor.execute("UPDATE tracks SET dmca_blocked = true WHERE id = %s", (track_id,))
    if cursor.rowcount == 0:
        return None
    cursor.execute("INSERT INTO takedowns (track_id) VALUES (%s) RETURNING id", (track_id,))
    return _id(cursor)


def insert_distribution(cursor: Cursor, track_id: int, platform: str) -> int | None:
    """Note that a track is to be sent to a platform; return the id, None when there is no such track."""
    query = "INSERT INTO distributions (track_id, platform) SELECT id, %s FROM tracks WHERE id = %s RETURNING id"
    cursor.execute(query, (platform, track_id))
    return _id(cursor) if cursor.rowcount else None


def is_blocked(cursor: Cursor, track_id: int) -> bool | None:
    """Tell whether a track is taken down; None when there is no such track."""
    cursor.execute("SELECT dmca_blocked FROM tracks WHERE id = %s", (track_id,))
    row = cursor.fetchone()
    return None if row is None else bool(row[0])


def _id(cursor: Cursor) -> int:
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def claim_key(cursor: Cursor, event: Event, dispatch: str) -> bool:
    """Take an event's key, and note the effect of it; False when the key is taken already.

    It holds together with what else this transaction does: the effect happens once, or not at all.
    """
    cursor.execute("INSERT INTO processed_keys (key) VALUES (%s) ON CONFLICT DO NOTHING", (event.key,))
    if cursor.rowcount == 0:
        return False
    query = "INSERT INTO effects (key, dispatch, kind, entity_id) VALUES (%s, %s, %s, %s)"
    cursor.execute(query, (event.key, dispatch, event.kind, event.entity_id))
    return True
