# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Insert the transcode jobs that are missing, each once, in batches whose outcome is always known; and undo it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from . import _catalog as catalog
from ._database import CommitUnknown, ConnectionLost, Database, Rejected, Transaction, names, qualified, raw, render
from ._errors import BadInput, Refused, VezaError
from ._ids import Id, Ids
from ._lanes import Allowance, side_by_side
from ._window import Window

_WITHIN = "t.{t_created} >= %(start)s AND t.{t_created} < %(end)s"

_JOB_EXISTS = """EXISTS (
         SELECT FROM {jobs} j
          WHERE j.{j_track} = t.{t_id} AND (j.{j_status} IN %(live)s OR j.{j_created} >= %(start)s))"""

# With an index on the jobs' track it is asked for each track: OFFSET 0 keeps the planner from making a join of it that
# reads the whole table for each batch. Its statistics are of before this run, when the table of jobs was small.
_NO_JOB_BY_INDEX = f"NOT {_JOB_EXISTS[:-1]} OFFSET 0)"

# A batch goes on along the index where the one before it ended. What is switched off would read all the rest of the
# window for each batch, and sort it, because so few rows seem to be left.
_SETTINGS = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "jit")
_SETTINGS_WITHOUT_INDEX = (*_SETTINGS, "enable_nestloop")

_COUNTS = f"""
SELECT count(*) FILTER (WHERE live), count(*) FILTER (WHERE job AND NOT live),
       count(*) FILTER (WHERE NOT job AND missing), count(*) FILTER (WHERE NOT job AND NOT missing AND finished),
       count(*) FILTER (WHERE NOT job AND NOT missing AND NOT finished),
       COALESCE((array_agg(DISTINCT state) FILTER (WHERE NOT job AND NOT missing AND NOT finished))[1:5], '{{{{}}}}'),
       COALESCE(array_agg(id::text ORDER BY id) FILTER (WHERE NOT live AND NOT finished AND (job OR NOT missing)),
                '{{{{}}}}')
  FROM (SELECT w.id, w.missing, w.finished, w.state, b.id IS NOT NULL AS job, COALESCE(b.live, false) AS live
          FROM (SELECT t.{{t_id}} AS id, COALESCE(({{missing}}), false) AS missing,
                       COALESCE(t.{{t_status}}::text IN %(finished)s, false) AS finished,
                       COALESCE(t.{{t_status}}::text, 'NULL') AS state
                  FROM {{tracks}} t WHERE {_WITHIN}) w
          LEFT JOIN (SELECT t.{{t_id}} AS id, bool_or(j.{{j_status}} IN %(live)s) AS live
                       FROM {{tracks}} t
                       JOIN {{jobs}} j
                         ON j.{{j_track}} = t.{{t_id}} AND (j.{{j_status}} IN %(live)s OR j.{{j_created}} >= %(start)s)
                      WHERE {_WITHIN} GROUP BY t.{{t_id}}) b
                 ON b.id = w.id) c
"""

_IDS = (
    f"SELECT t.{{t_id}} FROM {{tracks}} t WHERE {_WITHIN} AND ({{missing}}) AND NOT {_JOB_EXISTS} ORDER BY t.{{t_id}}"
)

# Inserted by id: two sessions that insert the same tracks in different orders would deadlock.
_INSERT = f"""
WITH slice AS MATERIALIZED (
    SELECT t.{{t_id}}, t.{{t_created}} FROM {{tracks}} t
     WHERE {_WITHIN}{{after}}{{lane}}{{if_index}} AND ({{missing}})
     ORDER BY {{order}} LIMIT %(size)s),
made AS (
    INSERT INTO {{jobs}} ({{j_track}}, {{j_status}}, {{j_attempts}}, {{j_created}})
    SELECT t.{{t_id}}, %(pending)s, 0, now() FROM slice t WHERE {{no_job}} ORDER BY t.{{t_id}} LIMIT %(granted)s
    {{on_conflict}}
    RETURNING {{j_id}}{{j_as}} AS job, {{j_track}}{{t_as}} AS track)
SELECT (SELECT count(*) FROM slice), last.created, last.id,
       (SELECT array_agg(job) FROM made), (SELECT array_agg(track) FROM made)
  FROM (SELECT t.{{t_created}} AS created, t.{{t_id}}{{t_as}} AS id FROM slice t ORDER BY {{last}} LIMIT 1) AS last
"""
_AFTER = {
    True: " AND t.{t_created} >= %(created)s AND (t.{t_created}, t.{t_id}) > (%(created)s, %(id)s::{t_type})",
    False: " AND t.{t_id} > %(id)s::{t_type}",
}
"""Where a batch goes on, by whether there is an index on the instant."""

# The lane of a track is the same in every run; of a text the last character tells it. Lanes that took turns row by row
# would wait for one another at each page of the tables and indexes: a fifth of their time.
_OF_LANE = {True: " AND t.{t_id} >> 10 & 1 = %(lane)s", False: " AND ascii(right(t.{t_id}::text, 1)) & 1 = %(lane)s"}
"""By whether the id is an integer."""

# Tells whether the index still stands. The statement has locked the table by then, so nobody drops it before its end.
_IF_INDEX = " AND EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = {oid} AND i.indisvalid)"

_UNTRIED = "j.{j_id} = ANY(%(ids)s::{j_type}[]) AND j.{j_status} = %(pending)s AND j.{j_attempts} = 0"

# The lock makes PostgreSQL check the row again as it is then; what a worker has locked, it is taking: left to it.
_DELETE = f"""
WITH untried AS (SELECT j.{{j_id}} AS id FROM {{jobs}} j WHERE {_UNTRIED} ORDER BY j.{{j_id}} FOR UPDATE SKIP LOCKED)
DELETE FROM {{jobs}} d USING untried u WHERE d.{{j_id}} = u.id
RETURNING d.{{j_id}}, d.{{j_track}}
"""

_FIND_UNTRIED = f"SELECT j.{{j_id}}, j.{{j_track}} FROM {{jobs}} j WHERE {_UNTRIED} ORDER BY j.{{j_id}}"

_FIND = "SELECT j.{j_id}, j.{j_track} FROM {jobs} j WHERE j.{j_id} = ANY(%(ids)s::{j_type}[])"

_FIND_SINCE = """
SELECT j.{j_id}{j_as}, j.{j_track}{t_as} FROM {jobs} j
 WHERE j.{j_track} = ANY(%(tracks)s::{t_type}[]) AND j.{j_created} >= %(since)s
"""

_FIND_KEPT = """
SELECT a.id, j.{j_id} IS NOT NULL, j.{j_track}, j.{j_status}::text, j.{j_attempts}
  FROM unnest(%(ids)s::{j_type}[]) WITH ORDINALITY AS a (id, place) LEFT JOIN {jobs} j ON j.{j_id} = a.id
 WHERE a.id <> ALL(%(removed)s::{j_type}[])
 ORDER BY a.place
"""

_UNCONSUMED = """
SELECT count(*) FROM (
    SELECT 1 FROM {jobs} j
     WHERE j.{j_status} = %(pending)s AND j.{j_created} < clock_timestamp() - make_interval(secs => %(seconds)s)
     LIMIT 1000) AS old
"""

DELAYS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries of one batch: long enough for PostgreSQL to recover from a crash."""

_PASSING = frozenset({"40001", "40P01", "55P03", "23503"})
"""SQLSTATEs that another try may not meet: serialization, deadlock, lock timeout, a track deleted meanwhile."""

_UNIQUE_VIOLATION = "23505"

_LOCK_SPACES = (0x76657A61 << 32, 0x76657A62 << 32)
"""One for each lane; they keep our advisory locks (plus the OID of the jobs' table) apart from an application's."""

LANES_FROM = 10_000
"""Tracks from which two lanes are worth their second connection."""

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
"""Types whose arrays psycopg2 reads as they are; an id of any other type is read as text."""


@dataclass(frozen=True)
class Names:
    """What the tables and their columns are called."""

    tracks: tuple[str, ...]
    jobs: tuple[str, ...]
    track_columns: dict[str, str]
    """Keys id, created_at, status."""
    job_columns: dict[str, str]
    """Keys id, track_id, status, attempts, created_at."""

    @classmethod
    def of(cls, schema: dict[str, Any]) -> Names:
        """Read the module's option ``schema``; raise BadInput if a table's name is none."""
        tracks, jobs = dict(schema["tracks"]), dict(schema["jobs"])
        return cls(qualified(tracks.pop("table")), qualified(jobs.pop("table")), tracks, jobs)


@dataclass(frozen=True)
class Rules:
    """Which tracks lack a job."""

    unfinished: list[str | None]
    finished: list[str]
    live: list[str]
    predicate: str | None = None

    def missing(self) -> str:
        """Return the template of the condition on a track ``t`` that it was not transcoded."""
        either = ["t.{t_status} IS NULL"] if None in self.unfinished else []
        if self.values():
            either.append("t.{t_status} IN %(unfinished)s")
        # The line break ends a comment that the predicate may end with.
        return f"({' OR '.join(either)})" + (" AND ({predicate}\n)" if self.predicate else "")

    def values(self) -> tuple[str, ...]:
        """Return the unfinished statuses less NULL."""
        return tuple(value for value in self.unfinished if value is not None)


@dataclass(frozen=True)
class Counts:
    """The tracks of a window, each counted once."""

    live_job: int
    job_since_start: int
    candidates: int
    finished: int
    other: int
    other_statuses: list[str]
    """At most five of the statuses of the last."""
    given_up: list[str] = field(default_factory=list)
    """The tracks that are not finished, have no live job and are no candidates: nothing tries them again."""

    def left_out(self) -> dict[str, int]:
        """Return how many tracks are no candidates, by reason."""
        reasons = ("live_job", "job_since_start", "finished", "other")
        return {reason: getattr(self, reason) for reason in reasons}


@dataclass(frozen=True)
class Batch:
    """What one transaction did."""

    jobs: list[Id]
    tracks: list[Id]


@dataclass(frozen=True)
class Lane:
    """A connection, which of the tracks it writes about (None: all), and the advisory locks that it takes for that."""

    database: Database
    number: int | None = None

    @property
    def spaces(self) -> tuple[int, ...]:
        """Every run puts a track into the same lane, and so under the same lock."""
        return _LOCK_SPACES if self.number is None else _LOCK_SPACES[self.number : self.number + 1]


class Requeue:
    """The two tables, seen through one connection, and many tracks through a second one ``beside`` it.

    ``sleep`` waits between tries.
    """

    def __init__(
        self,
        database: Database,
        called: Names,
        rules: Rules,
        *,
        sleep: Callable[[float], None],
        beside: Database | None = None,
    ) -> None:
        self._database = database
        self._beside = beside
        self._called = called
        self._rules = rules
        self._sleep = sleep
        self._parts: dict[str, Any] = {}
        self.index: catalog.UniqueIndex | None = None
        """Set by inspect(): the index that insert() leaves the last word to."""
        self._jobs_oid = 0
        self._integers = False
        self._job_by_track = self._by_instant = False
        """Whether there are indexes on the jobs' track and on the tracks' instant; set by inspect()."""

    def inspect(self, *, zone_given: bool) -> tuple[str, list[str]]:
        """Check that insert() can work, and look for the unique index.

        Returns the statement that would create the unique index, and those that create indexes without which a large
        table makes this slow. ``zone_given``: the zone of columns that state none is known. Raises BadInput or Refused.
        """
        track, job = self._called.track_columns, self._called.job_columns
        with self._database.transaction(readonly=True) as transaction:
            catalog.refuse_standby(transaction)
            tracks = catalog.find_table(transaction, self._called.tracks, list(track.values()))
            jobs = catalog.find_table(transaction, self._called.jobs, list(job.values()))
            self._refuse_types([(tracks, track["created_at"]), (jobs, job["created_at"])], zone_given)
            read = [job[key] for key in ("id", "track_id", "status", "created_at")]
            written = [job[key] for key in ("track_id", "status", "attempts", "created_at")]
            needed = [(tracks, "SELECT", list(track.values())), (jobs, "SELECT", read), (jobs, "INSERT", written)]
            lacking = catalog.lacking_privileges(transaction, needed)
            _refuse_lack(lacking + catalog.lacking_sequence(transaction, jobs, job["id"]))
            key: dict[str, Any] = {"track": job["track_id"], "status": job["status"], "live": self._rules.live}
            self.index = catalog.unique_index(transaction, jobs, **key)
            self._by_instant, slow_window = catalog.lookup(transaction, tracks, track["created_at"])
            self._job_by_track, slow_job = catalog.lookup(transaction, jobs, job["track_id"])
        self._set_parts(jobs, tracks)
        return catalog.create_unique_index(jobs, **key), [slow for slow in (slow_window, slow_job) if slow]

    def inspect_undo(self) -> None:
        """Check that undo() can work; raise BadInput or Refused."""
        job = self._called.job_columns
        with self._database.transaction(readonly=True) as transaction:
            catalog.refuse_standby(transaction)
            jobs = catalog.find_table(transaction, self._called.jobs, list(job.values()))
            read = [job[key] for key in ("id", "track_id", "status", "attempts")]
            needed = [(jobs, "SELECT", read), (jobs, "UPDATE", []), (jobs, "DELETE", [])]
            _refuse_lack(catalog.lacking_privileges(transaction, needed))
        self._set_parts(jobs)

    def clock(self, now: Callable[[], datetime]) -> list[tuple[datetime, datetime, datetime]]:
        """Read PostgreSQL's clock three times, each between two readings of ours; see measured_skew()."""
        readings = []
        with self._database.transaction(readonly=True) as transaction:
            for _unused in range(3):
                before = now()
                [(answer,)] = transaction.rows("SELECT clock_timestamp()")
                readings.append((before, answer, now()))
        return readings

    def unconsumed(self, seconds: float) -> int:
        """Return how many jobs have been pending for longer than ``seconds``, at most 1000."""
        with self._database.transaction(readonly=True) as transaction:
            values = {"pending": self._rules.live[0], "seconds": seconds}
            [(count,)] = transaction.rows(self._statement(_UNCONSUMED), values)
        return int(count)

    def plan(self, window: Window, limit: int, *, listed: bool = False) -> tuple[Counts, Ids]:
        """Return the window's tracks by kind, and the candidates.

        No candidates unless ``listed``, nor when there are more than ``limit``. Both are of one instant. Nothing is
        written.
        """
        candidates = Ids()
        with self._database.transaction(readonly=True, snapshot=True) as transaction:
            [row] = transaction.rows(self._statement(_COUNTS), self._values(window))
            counts = Counts(*row)
            if listed and 0 < counts.candidates <= limit:
                found = transaction.stream(self._statement(_IDS), self._values(window))
                candidates.add(as_id(track) for (track,) in found)
        return counts, candidates

    def insert(self, window: Window, expected: int, size: int) -> Iterator[Batch]:
        """Insert a job for each candidate of the window, oldest first, ``size`` tracks a transaction.

        ``expected``: how many there were; it ends when it has inserted so many. Yields after each commit what it
        inserted. Raises VezaError; what was yielded before stays.
        """
        left = Allowance(expected)
        if self._beside is None or expected < LANES_FROM:
            yield from self._insert(Lane(self._database), window, left, size)
            return
        lanes = [Lane(database, number) for number, database in enumerate((self._database, self._beside))]
        yield from side_by_side([partial(self._insert, lane, window, left, size) for lane in lanes], _first_of)

    def _insert(self, lane: Lane, window: Window, left: Allowance, size: int) -> Iterator[Batch]:
        values = {**self._values(window), "pending": self._rules.live[0], "size": size, "lane": lane.number}
        share = raw("") if lane.number is None else render(_OF_LANE[self._integers], **self._parts)
        after, index = raw(""), self.index
        while granted := left.take(size):
            values["granted"] = granted
            rows: list[Any] = []
            try:
                rows = self._plainly(lane, index, values, after=after, lane=share) if index else []
                # No rows: a clash, or the index is gone, or nothing is left. From here on nothing is taken for granted.
                if not rows:
                    index = None
                    statement = self._statement(
                        _INSERT, if_index=raw(""), on_conflict=self._on_conflict(), after=after, lane=share
                    )
                    rows = self._settled(lane, statement, values, _made, gone=False)
            finally:
                batch = _batch_of(_made(rows))
                left.settle(granted, len(batch.jobs))
            if not rows:
                return
            yield batch
            if len(batch.jobs) == granted < size:
                continue  # the limit may have left out others of these tracks
            [(passed, created, track, *_made_of_it)] = rows
            if passed < size:
                return
            values |= {"created": created, "id": track}
            after = render(_AFTER[self._by_instant], **self._parts)

    def _plainly(self, at: Lane, index: catalog.UniqueIndex, values: dict[str, Any], **parts: Any) -> list[Any]:
        """Insert a batch without ON CONFLICT, which costs a quarter more of PostgreSQL's time for each job.

        A clash ends it with an error. Returns no rows if it wrote nothing: for that, or as the index no longer stands.
        """
        stands = render(_IF_INDEX, oid=raw(str(index.oid)))
        statement = self._statement(_INSERT, if_index=stands, on_conflict=raw(""), **parts)
        try:
            return self._settled(at, statement, values, _made, gone=False)
        except Rejected as error:
            if error.code != _UNIQUE_VIOLATION:
                raise
            return []

    def made_since(self, since: datetime, tracks: Iterable[Id], size: int) -> Iterator[Batch]:
        """Yield the jobs that these tracks have got since an instant, from the tables as inspect() found them."""
        for chunk in _chunks(tracks, size):
            with self._database.transaction(readonly=True) as transaction:
                values = {"tracks": as_array(chunk), "since": since}
                yield _batch_of(transaction.rows(self._statement(_FIND_SINCE), values))

    def undo(self, jobs: Iterable[Id], size: int, *, check: bool) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
        """Delete the jobs that are still pending and untried, ``size`` a transaction; ``check`` only reads them.

        Yields after each commit what it deleted, and for each other job why not (keys job, track, reason, detail).
        """
        for ids in _chunks(jobs, size):
            values = {"ids": as_array(ids), "pending": self._rules.live[0]}
            if check:
                with self._database.transaction(readonly=True) as transaction:
                    batch = _batch_of(transaction.rows(self._statement(_FIND_UNTRIED), values))
            else:
                batch = _batch_of(
                    self._settled(Lane(self._database), self._statement(_DELETE), values, list, gone=True)
                )
            yield batch, self._kept(ids, batch.jobs)

    def _kept(self, ids: list[Id], removed: list[Id]) -> list[dict[str, Any]]:
        # PostgreSQL compares the ids: it knows how else a UUID may be written.
        with self._database.transaction(readonly=True) as transaction:
            rows = transaction.rows(self._statement(_FIND_KEPT), {"ids": as_array(ids), "removed": as_array(removed)})
        return [why_kept(job, tuple(rest) if exists else None, self._rules.live[0]) for job, exists, *rest in rows]

    def _settled(
        self, lane: Lane, statement: Any, values: dict[str, Any], pairs: Callable[[list[Any]], list[Any]], *, gone: bool
    ) -> list[Any]:
        """Run a statement in a transaction of its own until its outcome is known; return its rows.

        ``pairs`` returns the jobs and tracks that its rows tell of. ``gone``: those jobs no longer exist after it.
        """
        doubtful: list[Any] = []
        rows: list[Any] = []
        for delay in (*DELAYS, None):
            failure: VezaError
            try:
                if doubtful and self._committed(lane, pairs(doubtful), gone):
                    return doubtful
                doubtful = []
                with lane.database.transaction() as transaction:
                    self._lock(transaction, lane, () if gone else self._settings())
                    rows = transaction.rows(statement, values)
            except CommitUnknown as error:
                doubtful, failure = doubtful or (rows if pairs(rows) else []), error
            except ConnectionLost as error:
                failure = error
            except Rejected as error:
                if error.code not in _PASSING:
                    if doubtful:  # it was the look at it that was refused
                        raise _given_up(error, _batch_of(pairs(doubtful))) from None
                    raise
                failure = error
            else:
                return rows
            if delay is not None:
                self._sleep(delay)
        raise _given_up(failure, _batch_of(pairs(doubtful)))

    def _committed(self, lane: Lane, pairs: list[Any], gone: bool) -> bool:
        """Tell whether the transaction that gave these pairs was committed; wait until it has ended."""
        with lane.database.transaction(readonly=True) as transaction:
            # It held this lock until its end, however long its server process outlived our connection.
            self._lock(transaction, lane)
            standing = transaction.rows(self._statement(_FIND), {"ids": as_array([job for job, _track in pairs])})
        # An id alone proves nothing: after a crash a sequence may give an id again, to another track.
        same = {_as_ids(pair) for pair in standing} & {_as_ids(pair) for pair in pairs}
        return not same if gone else bool(same)

    def _settings(self) -> tuple[str, ...]:
        return _SETTINGS if self._job_by_track else _SETTINGS_WITHOUT_INDEX

    def _lock(self, transaction: Transaction, lane: Lane, switched_off: tuple[str, ...] = ()) -> None:
        # Taken before the statement whose snapshot then holds all that another run of ours has committed.
        keys = tuple(space + self._jobs_oid for space in lane.spaces)
        calls = ["set_config(%s, 'off', true)"] * len(switched_off) + ["pg_advisory_xact_lock(%s)"] * len(keys)
        transaction.rows("SELECT " + ", ".join(calls), (*switched_off, *keys))

    def _values(self, window: Window) -> dict[str, Any]:
        # An empty IN list is no SQL: a value that no text equals stands for it.
        finished = tuple(self._rules.finished) or (None,)
        return {
            "start": window.start,
            "end": window.end,
            "live": tuple(self._rules.live),
            "finished": finished,
            "unfinished": self._rules.values(),
        }

    def _statement(self, template: str, **parts: Any) -> Any:
        return render(template, **self._parts, **parts)

    def _set_parts(self, jobs: catalog.Table, tracks: catalog.Table | None = None) -> None:
        job, track = self._called.job_columns, self._called.track_columns
        self._jobs_oid = jobs.oid
        parts = names(
            jobs=jobs.name,
            j_id=job["id"],
            j_track=job["track_id"],
            j_status=job["status"],
            j_attempts=job["attempts"],
            j_created=job["created_at"],
        )
        parts["j_type"] = raw(jobs.columns[job["id"]].type)
        if tracks is not None:
            parts |= names(
                tracks=tracks.name, t_id=track["id"], t_created=track["created_at"], t_status=track["status"]
            )
            parts["t_type"] = raw(tracks.columns[track["id"]].type)
            parts["missing"] = render(self._rules.missing(), predicate=raw(self._rules.predicate or ""), **parts)
            self._integers = tracks.columns[track["id"]].type in _INTEGERS
            parts["t_as"] = raw(as_read(tracks.columns[track["id"]].type))
            parts["j_as"] = raw(as_read(jobs.columns[job["id"]].type))
            parts["order"] = render("t.{t_created}, t.{t_id}" if self._by_instant else "t.{t_id}", **parts)
            backwards = "t.{t_created} DESC, t.{t_id} DESC" if self._by_instant else "t.{t_id} DESC"
            parts["last"] = render(backwards, **parts)
            parts["no_job"] = render(_NO_JOB_BY_INDEX if self._job_by_track else f"NOT {_JOB_EXISTS}", **parts)
        self._parts = parts

    def _on_conflict(self) -> Any:
        # The index is named by what it covers: should it be dropped meanwhile, the statement fails instead of doubling,
        # and a clash in another index (a sequence left behind by a restore) is an error instead of silence.
        if self.index is None:
            return raw("")
        where = " WHERE {covered}" if self.index.predicate else ""
        covered = raw(self.index.predicate or "")
        return render(f"ON CONFLICT ({{j_track}}){where} DO NOTHING", covered=covered, **self._parts)

    @staticmethod
    def _refuse_types(columns: list[tuple[catalog.Table, str]], zone_given: bool) -> None:
        for table, column in columns:
            kind = table.columns[column].type
            if kind == "timestamp without time zone" and not zone_given:
                raise BadInput(
                    f"Column {column} of {table.text} is a timestamp without time zone: which instant it means is not "
                    "in the database. Say in database_timezone which zone it is written in (UTC, Europe/Paris)."
                )
            if not kind.startswith("timestamp"):
                raise BadInput(f"Column {column} of {table.text} is of type {kind}: it must be a timestamp.")


def why_kept(job: Id, row: tuple[Any, ...] | None, pending: str) -> dict[str, Any]:
    """Return why a job was not undone; ``row`` is its track, status and attempts now, None if it is gone."""
    if row is None:
        return {"job": as_id(job), "track": None, "reason": "gone", "detail": "no such job: undone before, or deleted"}
    track, status, attempts = row
    kept = {"job": as_id(job), "track": as_id(track)}
    if status == pending and attempts == 0:
        return {**kept, "reason": "locked", "detail": "another transaction holds it: a worker is taking it"}
    return {**kept, "reason": "started", "detail": f"status {status}, attempts {attempts}"}


def as_read(kind: str) -> str:
    """Return the cast by which an id of a type is read."""
    return "" if kind in _INTEGERS else "::text"


def as_id(value: Any) -> Id:
    """Return an id as JSON can hold it."""
    return value if isinstance(value, int) else str(value)


def as_array(ids: list[Id]) -> str:
    """Return ids as PostgreSQL writes an array: it reads thousands so much faster than as an expression."""
    if all(isinstance(value, int) for value in ids):
        return str(ids).translate(_BRACES)
    return "{" + ",".join('"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"' for value in ids) + "}"


_BRACES = str.maketrans("[]", "{}", " ")


def _made(rows: list[Any]) -> list[tuple[Any, Any]]:
    """Return the jobs and tracks that the one row of an insert tells of."""
    return [pair for _passed, _created, _id, jobs, tracks in rows for pair in zip(jobs or [], tracks or [])]


def _as_ids(pair: Any) -> tuple[Id, Id]:
    return as_id(pair[0]), as_id(pair[1])


def _batch_of(rows: list[Any]) -> Batch:
    return Batch([as_id(job) for job, _unused in rows], [as_id(track) for _unused, track in rows])


def _chunks(ids: Iterable[Id], size: int) -> Iterator[list[Id]]:
    rest = iter(ids)
    while chunk := list(islice(rest, size)):
        yield chunk


def _refuse_lack(lacking: list[str]) -> None:
    if lacking:
        raise Refused(f"The database user lacks privileges: {'; '.join(lacking)}. See the module's notes.")


def _given_up(failure: VezaError, doubtful: Batch) -> VezaError:
    if not doubtful.tracks:
        return VezaError(f"{failure.message} Given up after {len(DELAYS) + 1} tries; this batch wrote nothing.")
    return VezaError(
        f"{failure.message} Whether the last batch of {len(doubtful.tracks)} jobs was committed is unknown: run again "
        "when the database answers; a track that has its job is left alone.",
        unsure_tracks=doubtful.tracks,
        unsure_jobs=doubtful.jobs,
    )


def _first_of(failures: list[BaseException]) -> BaseException:
    """Return the first of the lanes' failures, which knows of what all of them are unsure of."""
    first = failures[0]
    ours = [failure for failure in failures if isinstance(failure, VezaError)]
    if isinstance(first, VezaError):
        for key in ("unsure_tracks", "unsure_jobs"):
            unsure = [one for failure in ours for one in failure.details.get(key, [])]
            first.details.update({key: unsure} if unsure else {})
    return first
