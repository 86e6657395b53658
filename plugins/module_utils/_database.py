# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL with a deadline on every call, an honest word on a lost COMMIT, and no password in any message.

Works through PgBouncer in transaction mode: whatever is set, is set for the transaction only.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import unquote

from ansible.module_utils.basic import missing_required_lib

from ._deadline import Worker
from ._errors import BadInput, VezaError

try:
    import psycopg2
    from psycopg2 import extensions, sql

    PSYCOPG2_IMPORT_ERROR = None
except ImportError:
    PSYCOPG2_IMPORT_ERROR = traceback.format_exc()

T = TypeVar("T")

GRACE = 5.0
"""Seconds that the server has, beyond its own statement_timeout, to tell us of it."""

_KEEPALIVES = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}

# With row_security off, a policy that would hide rows from us is an error instead of a smaller answer.
_SETTINGS = (
    "SELECT set_config('TimeZone', %s, true), set_config('statement_timeout', %s, true),"
    " set_config('idle_in_transaction_session_timeout', %s, true), set_config('row_security', 'off', true)"
)


class ConnectionLost(VezaError):
    """No connection to PostgreSQL could be made, or it broke before COMMIT was sent: nothing was written."""


class CommitUnknown(VezaError):
    """The connection broke while COMMIT was under way: only a look at the rows tells whether it happened."""


class Rejected(VezaError):
    """PostgreSQL answered a statement with an error; ``code`` is its SQLSTATE. Nothing was written."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def require_psycopg2() -> None:
    """Raise VezaError if psycopg2 is missing."""
    if PSYCOPG2_IMPORT_ERROR is not None:
        raise VezaError(missing_required_lib("psycopg2"), exception=PSYCOPG2_IMPORT_ERROR)


def secrets_of(url: str) -> list[str]:
    """Return every text that must not appear in a message, longest first; BadInput if libpq can't read ``url``.

    A password that breaks the URL would show up in pieces, as a "host" or a "port", in the errors of libpq: such a
    URL is refused here, unseen.
    """
    require_psycopg2()
    unreadable = BadInput(
        "database_url can't be read as a URL or connection string of PostgreSQL (it is not shown, as it may hold a "
        "password). In a URL each of the characters @ : / ? # % in a user or password must be percent-encoded."
    )
    try:
        parsed = extensions.parse_dsn(url)
    except psycopg2.Error:
        raise unreadable from None
    typed = re.match(r"postgres(?:ql)?://[^/:@?]*:(.*)@", url)
    found = {url, *(parsed[key] for key in ("password", "sslpassword") if parsed.get(key))}
    if typed and "password=" not in typed[1]:
        if unquote(typed[1]) != parsed.get("password"):
            raise unreadable
        found.add(typed[1])
    return sorted(found, key=len, reverse=True)


def scrubbed(text: str, secrets: list[str]) -> str:
    """Return ``text`` in one line, with asterisks for each secret."""
    for secret in secrets:
        text = text.replace(secret, "********")
    return " ".join(text.split())


def where(url: str) -> str:
    """Return what a message may say of the server that ``url`` names: host, port, database."""
    parsed = extensions.parse_dsn(url)
    host = parsed.get("host") or parsed.get("hostaddr") or "the default host"
    return f"{host}:{parsed.get('port', '5432')}, database {parsed.get('dbname', 'by default')}"


class Transaction:
    """The statements of one transaction."""

    def __init__(self, database: Database, connection: Any) -> None:
        self._database = database
        self._connection = connection

    def rows(self, statement: Any, values: dict[str, Any] | tuple[Any, ...] | None = None) -> list[Any]:
        """Run a statement and return its rows; raise Rejected or ConnectionLost."""

        def call() -> list[Any]:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []

        return self._database.bounded(call)

    def stream(self, statement: Any, values: dict[str, Any], size: int = 5000) -> Iterator[Any]:
        """Yield the rows of a statement, of which the client holds at most ``size`` at a time."""
        cursor = self._connection.cursor(name="veza")
        self._database.bounded(lambda: cursor.execute(statement, values))
        while rows := self._database.bounded(lambda: cursor.fetchmany(size)):
            yield from rows
        self._database.bounded(cursor.close)


class Database:
    """One connection, made when it is first needed and made again after it broke.

    ``url`` is a URL or connection string of libpq. ``connect_timeout`` and ``statement_timeout`` are seconds.
    ``timezone`` is the zone in which PostgreSQL reads and writes a ``timestamp`` that has none.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = 10.0,
        statement_timeout: float = 60.0,
        application_name: str = "veza.rabbitmq",
        timezone: str = "UTC",
    ) -> None:
        self._secrets = secrets_of(url)
        self._url = url
        self._where = where(url)
        self._connect_timeout = connect_timeout
        self._statement_timeout = statement_timeout
        self._application_name = application_name
        self._timezone = timezone
        self._connection: Any = None
        self._worker: Worker | None = None

    def close(self) -> None:
        """Close the connection; never fails, and takes no longer than GRACE, whatever it is at."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._within(GRACE, self._connection.close, self._timed_out)
        worker, self._connection, self._worker = self._worker, None, None
        if worker is not None:
            worker.end()

    @contextlib.contextmanager
    def transaction(self, *, readonly: bool = False, snapshot: bool = False) -> Iterator[Transaction]:
        """Run the body in a transaction: commit it at the end, roll it back when the body raises.

        ``snapshot``: all statements see the database as it is at the first. Raises what Transaction.rows() does, and
        CommitUnknown.
        """
        connection = self._connected()
        try:
            level = "REPEATABLE READ" if snapshot else "READ COMMITTED"
            self.bounded(lambda: connection.set_session(isolation_level=level, readonly=readonly))
            transaction = Transaction(self, connection)
            limit = f"{max(1, int(self._statement_timeout * 1000))}ms"
            transaction.rows(_SETTINGS, (self._timezone, limit, limit))
            yield transaction
        except BaseException:
            self._roll_back()
            raise
        self._commit(connection)

    def bounded(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, within the statement's time; its error becomes one of ours."""
        try:
            return self._within(self._statement_timeout + GRACE, call, self._timed_out)
        except psycopg2.Error as error:
            raise self._translated(error) from None

    def _within(self, seconds: float, call: Callable[[], T], on_timeout: Callable[[], Exception]) -> T:
        worker = self._worker = self._worker or Worker()

        def left_alone() -> Exception:
            worker.end()
            self._worker = None
            return on_timeout()

        return worker.within(seconds, call, left_alone)

    def _connected(self) -> Any:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        seconds = self._connect_timeout
        options: dict[str, Any] = {
            "connect_timeout": max(2, int(seconds)),
            "application_name": self._application_name,
            **_KEEPALIVES,
        }
        try:
            self._connection = self._within(
                seconds + GRACE,
                lambda: psycopg2.connect(self._url, **options),
                lambda: ConnectionLost(f"PostgreSQL at {self._where}: no connection within {seconds:g} s."),
            )
        except psycopg2.Error as error:
            reason = scrubbed(str(error), self._secrets)
            raise ConnectionLost(f"PostgreSQL at {self._where}: no connection: {reason}") from None
        return self._connection

    def _commit(self, connection: Any) -> None:
        try:
            self._within(self._statement_timeout + GRACE, connection.commit, self._timed_out)
        except ConnectionLost as error:
            raise CommitUnknown(error.message) from None
        except psycopg2.Error as error:
            failure = self._translated(error)
            self._roll_back()
            # With the connection gone, whatever was said last, PostgreSQL may have committed before.
            raise (CommitUnknown(failure.message) if isinstance(failure, ConnectionLost) else failure) from None

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            self.close()
            return
        try:
            self._within(GRACE, connection.rollback, self._timed_out)
        except Exception:
            self.close()

    def _timed_out(self) -> ConnectionLost:
        # The abandoned thread sits in libpq and holds the connection's lock: only its socket can be shut from here.
        connection, self._connection = self._connection, None
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as held:
            held.shutdown(socket.SHUT_RDWR)
        return ConnectionLost(f"PostgreSQL at {self._where}: no answer within {self._statement_timeout + GRACE:g} s.")

    def _translated(self, error: Any) -> VezaError:
        text = scrubbed(str(error), self._secrets) or type(error).__name__
        if self._connection is None or self._connection.closed or error.pgcode is None:
            self.close()
            return ConnectionLost(f"PostgreSQL at {self._where}: the connection broke: {text}")
        return Rejected(f"PostgreSQL at {self._where} answered: {text} (SQLSTATE {error.pgcode})", error.pgcode)


def names(**parts: str | tuple[str, ...]) -> dict[str, Any]:
    """Return quoted identifiers for ``render``; a tuple is a name qualified by its schema."""
    return {key: raw(quoted((part,) if isinstance(part, str) else part)) for key, part in parts.items()}


def quoted(name: tuple[str, ...]) -> str:
    """Return a table's name as SQL text."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name)


def render(template: str, **parts: Any) -> Any:
    """Return a statement: ``{key}`` in ``template`` is replaced by the part of that name, which is quoted or raw."""
    return sql.SQL(template).format(**parts)


def raw(text: str) -> Any:
    """Return SQL text as a part for ``render``, to be run with values: its percent signs stay percent signs."""
    return sql.SQL(text.replace("%", "%%"))


def qualified(name: str) -> tuple[str, ...]:
    """Return the parts of a table's name; BadInput if there aren't one or two.

    The parts are taken as they are written, capitals too. Double quotes are only needed round a part with a dot.
    """
    parts = re.findall(r'"((?:[^"]|"")+)"(?:\.|$)|([^".]+)(?:\.|$)', name)
    spelled = ".".join(f'"{quoted}"' if quoted else plain for quoted, plain in parts)
    if spelled != name or len(parts) not in (1, 2):
        raise BadInput(f"'{name}' is not the name of a table: write table or schema.table, without a database.")
    return tuple(quoted.replace('""', '"') or plain for quoted, plain in parts)
