# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The batch loop, with a scripted database; what the statements do is shown on a real one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _requeue as requeue
from ansible_collections.veza.rabbitmq.plugins.module_utils._catalog import (
    Column,
    Table,
    UniqueIndex,
    create_unique_index,
    plain,
)
from ansible_collections.veza.rabbitmq.plugins.module_utils._database import (
    CommitUnknown,
    ConnectionLost,
    Rejected,
)
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._window import Window

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=1))
SCHEMA = {
    "tracks": {"table": "tracks", "id": "id", "created_at": "created_at", "status": "hls_status"},
    "jobs": {"table": "transcode_jobs", **{key: key for key in ("id", "track_id", "status", "attempts", "created_at")}},
}


def table(name: str, columns: str, *, oid: int = 7, kind: str = "bigint") -> Table:
    return Table(oid, (name,), {column: Column(place, kind) for place, column in enumerate(columns.split(), 1)})


TRACKS = table("tracks", "id hls_status created_at")
JOBS = table("transcode_jobs", "id track_id status attempts created_at")


class Script:
    """A database that plays a scene for each transaction, and remembers the statements.

    A scene is a list: the rows of each statement after the lock, an error to raise in its place, and at the end, if
    there is one more, the error of the COMMIT.
    """

    def __init__(self, *scenes: list[Any]) -> None:
        self.scenes = [list(scene) for scene in scenes]
        self.statements: list[list[str]] = []
        self.texts: list[list[str]] = []
        self.readonly: list[bool] = []

    @contextlib.contextmanager
    def transaction(self, *, readonly: bool = False, snapshot: bool = False) -> Iterator[Script]:
        assert self.scenes, "a transaction too many"
        self.statements.append([])
        self.texts.append([])
        self.readonly.append(readonly)
        if isinstance(self.scenes[0][0], ConnectionLost):
            raise self.scenes.pop(0)[0]
        yield self
        scene = self.scenes.pop(0)
        if scene:
            raise scene.pop(0)

    def rows(self, statement: Any, values: Any = None) -> list[Any]:
        text = statement if isinstance(statement, str) else statement.as_string(None)
        self.texts[-1].append(" ".join(text.split()))
        self.statements[-1].append(self.texts[-1][-1][:30])
        if "advisory" in text or "set_config" in text:
            return []
        answer = self.scenes[0].pop(0)
        if isinstance(answer, Exception):
            self.scenes.pop(0)
            raise answer
        assert isinstance(answer, list)
        return answer


def tables(
    script: Script, slept: list[float] | None = None, *, index: UniqueIndex | None = None, by_instant: bool = True
) -> requeue.Requeue:
    rules = requeue.Rules([None], ["ready"], ["pending", "processing"])
    sleep = (slept if slept is not None else []).append
    both = requeue.Requeue(script, requeue.Names.of(SCHEMA), rules, sleep=sleep)  # type: ignore[arg-type]
    both.index, both._by_instant = index, by_instant
    both._set_parts(JOBS, TRACKS)
    return both


def insert(script: Script, limit: int = 9, size: int = 2, slept: list[float] | None = None) -> list[requeue.Batch]:
    return list(tables(script, slept).insert(WINDOW, limit, size))


def made(*pairs: tuple[Any, Any], found: int | None = None) -> list[Any]:
    """The row of a batch that made these jobs of these tracks; ``found`` with those of its tracks that got none."""
    jobs, tracks = [job for job, _track in pairs], [track for _job, track in pairs]
    return [(len(pairs) if found is None else found, START, pairs[-1][1] if pairs else 9, jobs or None, tracks or None)]


LOST = CommitUnknown("PostgreSQL at h: the connection broke.")
GONE = ConnectionLost("PostgreSQL at h: no connection.")
PAIRS = [(11, 1), (12, 2)]
FIRST = made(*PAIRS)
BATCH = requeue.Batch([11, 12], [1, 2])


def test_each_batch_is_a_transaction_that_takes_the_lock_first() -> None:
    script = Script([FIRST], [made((13, 3))])
    assert insert(script) == [BATCH, requeue.Batch([13], [3])]
    assert [[text.split()[0] for text in scene] for scene in script.statements] == [["SELECT", "WITH"]] * 2
    assert script.readonly == [False, False]


@pytest.mark.parametrize(
    ("scenes", "limit", "batches"),
    [
        ([[[]]], 9, []),
        ([[FIRST], [[]]], 9, [BATCH]),
        ([[FIRST]], 2, [BATCH]),
        ([[made((11, 1), found=2)], [made((13, 3))]], 9, [requeue.Batch([11], [1]), requeue.Batch([13], [3])]),
        ([[made(found=1)]], 9, [requeue.Batch([], [])]),
        ([], 0, []),
    ],
    ids=[
        "nothing",
        "exactly one batch",
        "the limit",
        "a clash in a full batch",
        "nothing but a clash",
        "nothing allowed",
    ],
)
def test_it_ends_with_the_candidates_or_at_the_limit(
    scenes: list[list[Any]], limit: int, batches: list[requeue.Batch]
) -> None:
    assert insert(Script(*scenes), limit) == batches


@pytest.mark.parametrize("by_instant", [True, False])
def test_a_batch_goes_on_where_the_one_before_it_ended(by_instant: bool) -> None:
    given: list[Any] = []

    class Noting(Script):
        def rows(self, statement: Any, values: Any = None) -> list[Any]:
            if isinstance(values, dict):
                given.append((statement.as_string(None), dict(values)))
            return super().rows(statement, values)

    requeuing = tables(Noting([FIRST], [[]]), by_instant=by_instant)
    list(requeuing.insert(WINDOW, 9, 2))
    (first, _start), (onward, values) = given
    where = '(t."created_at", t."id") > (%(created)s, %(id)s::bigint)' if by_instant else ' t."id" > %(id)s::bigint'
    assert where not in first
    assert where in onward
    assert (values["created"], values["id"], values["size"]) == (START, 2, 2)


def test_a_commit_that_happened_is_not_repeated() -> None:
    slept: list[float] = []
    script = Script([FIRST, LOST], [PAIRS])
    assert insert(script, 2, slept=slept) == [BATCH]
    assert script.readonly == [False, True]
    assert script.statements[1][0].startswith("SELECT pg_advisory_xact_lock")
    assert slept == [requeue.DELAYS[0]]


@pytest.mark.parametrize("standing", [[], [(11, 99)]], ids=["gone", "an id that was given again"])
def test_a_commit_that_did_not_happen_is_repeated(standing: list[Any]) -> None:
    script = Script([FIRST, LOST], [standing], [made((21, 1), (22, 2))])
    assert insert(script, 2) == [requeue.Batch([21, 22], [1, 2])]


def test_what_was_doubtful_stays_so_while_nobody_answers() -> None:
    script = Script([FIRST, LOST], [GONE], [PAIRS, LOST], [GONE], [PAIRS])
    assert insert(script, 2) == [BATCH]
    assert script.readonly == [False, True, True, True, True]


def test_a_lost_commit_of_nothing_needs_no_look() -> None:
    script = Script([[], LOST], [[]])
    assert insert(script) == []
    assert script.readonly == [False, False]


@pytest.mark.parametrize("code", ["40P01", "40001", "55P03", "23503"])
def test_what_passes_is_tried_again(code: str) -> None:
    slept: list[float] = []
    assert insert(Script([Rejected("deadlock", code)], [FIRST]), 2, slept=slept)[0].tracks == [1, 2]
    assert len(slept) == 1


def test_what_does_not_pass_is_raised_at_once() -> None:
    with pytest.raises(Rejected, match="permission denied"):
        insert(Script([Rejected("permission denied", "42501")]))


def test_a_lost_connection_is_given_up_after_all_tries() -> None:
    slept: list[float] = []
    with pytest.raises(VezaError, match="Given up after 7 tries; this batch wrote nothing") as failure:
        insert(Script(*[[GONE]] * 7), slept=slept)
    assert slept == list(requeue.DELAYS)
    assert failure.value.details == {}


def test_a_doubt_that_stays_is_told() -> None:
    with pytest.raises(VezaError, match="2 jobs was committed is unknown") as failure:
        insert(Script([FIRST, LOST], *[[GONE]] * 6))
    assert failure.value.details == {"unsure_tracks": [1, 2], "unsure_jobs": [11, 12]}


def test_batches_before_a_failure_are_handed_out() -> None:
    batches = tables(Script([FIRST], [Rejected("full", "53100")])).insert(WINDOW, 9, 2)
    assert next(batches).tracks == [1, 2]
    with pytest.raises(Rejected):
        next(batches)


def test_a_limit_that_leaves_tracks_of_a_slice_out_does_not_pass_them_over() -> None:
    given: list[dict[str, Any]] = []

    class Noting(Script):
        def rows(self, statement: Any, values: Any = None) -> list[Any]:
            if isinstance(values, dict):
                given.append(dict(values))
            return super().rows(statement, values)

    # Of the first slice one track got its job; the other lane gives one back.
    left = requeue.Allowance(1)
    script = Noting([made((11, 1), found=5)], [made((12, 2), found=5)])
    lane = tables(script)._insert(requeue.Lane(script), WINDOW, left, 5)  # type: ignore[arg-type]
    assert next(lane).tracks == [1]
    left.settle(left.take(0) + 1, 0)
    assert next(lane).tracks == [2]
    assert [(values["size"], values["granted"], "id" in values) for values in given] == [(5, 1, False)] * 2


def test_a_look_at_a_commit_that_is_refused_leaves_the_batch_unsure() -> None:
    script = Script([FIRST, LOST], [Rejected("canceling statement due to statement timeout", "57014")])
    with pytest.raises(VezaError, match="Whether the last batch of 2 jobs was committed is unknown") as caught:
        insert(script)
    assert (caught.value.details["unsure_tracks"], caught.value.details["unsure_jobs"]) == ([1, 2], [11, 12])


CLASH = Rejected("PostgreSQL at h answered: duplicate key value (SQLSTATE 23505)", "23505")
REST = made((13, 3))


@pytest.mark.parametrize(
    ("scenes", "batches", "plain"),
    [
        ([[FIRST], [REST]], [BATCH, requeue.Batch([13], [3])], [True, True]),
        ([[CLASH], [FIRST], [REST]], [BATCH, requeue.Batch([13], [3])], [True, False, False]),
        ([[FIRST], [[]], [REST]], [BATCH, requeue.Batch([13], [3])], [True, True, False]),
        ([[FIRST], [[]], [[]]], [BATCH], [True, True, False]),
    ],
    ids=["nobody else writes", "a clash", "the index is gone", "nothing is left"],
)
def test_it_inserts_plainly_as_long_as_the_index_stands_and_nobody_clashes(
    scenes: list[Any], batches: list[requeue.Batch], plain: list[bool]
) -> None:
    script = Script(*scenes)
    assert list(tables(script, index=UniqueIndex(5, None)).insert(WINDOW, 9, 2)) == batches
    inserts = [text for scene in script.texts for text in scene if "INSERT" in text]
    assert ["i.indexrelid = 5" in text for text in inserts] == plain
    assert ["ON CONFLICT" not in text for text in inserts] == plain


def test_undo_is_doubted_the_other_way_round() -> None:
    committed = Script([PAIRS, LOST], [[]], [[]])
    [(batch, kept)] = tables(committed).undo([11, 12], 5, check=False)
    assert batch.jobs == [11, 12]
    assert kept == []
    # Still there: the deletion did not happen.
    again = Script([PAIRS, LOST], [PAIRS], [[(11, 1)]], [[(12, True, 2, "processing", 1)]])
    [(batch, kept)] = tables(again).undo([11, 12], 5, check=False)
    assert batch.jobs == [11]
    assert kept == [{"job": 12, "track": 2, "reason": "started", "detail": "status processing, attempts 1"}]


def test_undo_in_check_mode_only_reads() -> None:
    script = Script([PAIRS], [[]])
    list(tables(script).undo([11, 12], 5, check=True))
    assert script.readonly == [True, True]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (None, "gone", "no such job: undone before, or deleted"),
        ((5, "pending", 0), "locked", "another transaction holds it: a worker is taking it"),
        ((5, "pending", 1), "started", "status pending, attempts 1"),
        ((5, "done", 0), "started", "status done, attempts 0"),
    ],
)
def test_why_a_job_is_kept(row: Any, reason: str, detail: str) -> None:
    kept = requeue.why_kept(3, row, "pending")
    assert (kept["job"], kept["reason"], kept["detail"]) == (3, reason, detail)
    assert kept["track"] == (None if row is None else 5)


@pytest.mark.parametrize(
    ("index", "clause"),
    [
        (None, ""),
        (UniqueIndex(5, None), 'ON CONFLICT ("track_id") DO NOTHING'),
        (UniqueIndex(5, "status <> 'do%'"), "ON CONFLICT (\"track_id\") WHERE status <> 'do%%' DO NOTHING"),
    ],
)
def test_the_index_is_named_by_what_it_covers(index: UniqueIndex | None, clause: str) -> None:
    text = tables(Script(), index=index)._on_conflict().as_string(None)
    assert text == clause


@pytest.mark.parametrize(
    ("unfinished", "predicate", "expected"),
    [
        ([None], None, '(t."hls_status" IS NULL)'),
        (["stuck"], None, '(t."hls_status" IN %(unfinished)s)'),
        (
            ["stuck", None],
            "t.x = '5%'",
            '(t."hls_status" IS NULL OR t."hls_status" IN %(unfinished)s) AND (t.x = \'5%%\'\n)',
        ),
    ],
)
def test_the_predicate(unfinished: list[str | None], predicate: str | None, expected: str) -> None:
    rules = requeue.Rules(unfinished, [], ["pending"], predicate)
    both = requeue.Requeue(Script(), requeue.Names.of(SCHEMA), rules, sleep=[].append)  # type: ignore[arg-type]
    both._set_parts(JOBS, TRACKS)
    assert f"({expected})" in both._statement(requeue._IDS).as_string(None)
    assert both._values(WINDOW)["unfinished"] == tuple(value for value in unfinished if value)


@pytest.mark.parametrize(
    ("kind", "zone_given", "said"),
    [
        ("timestamp with time zone", False, None),
        ("timestamp without time zone", True, None),
        ("timestamp without time zone", False, "Say in database_timezone"),
        ("date", True, "is of type date: it must be a timestamp"),
        ("bigint", True, "is of type bigint"),
    ],
)
def test_which_columns_hold_instants(kind: str, zone_given: bool, said: str | None) -> None:
    columns = [(table("tracks", "created_at", kind=kind), "created_at")]
    if said is None:
        requeue.Requeue._refuse_types(columns, zone_given)
    else:
        with pytest.raises(BadInput, match=said):
            requeue.Requeue._refuse_types(columns, zone_given)


def test_the_statement_that_creates_the_index() -> None:
    assert create_unique_index(JOBS, track="track_id", status="status", live=["pending"]) == (
        "CREATE UNIQUE INDEX CONCURRENTLY transcode_jobs_one_live_job ON transcode_jobs (track_id) "
        "WHERE status IN ('pending');"
    )
    odd = Table(1, ("My App", "J" * 63), {})
    statement = create_unique_index(odd, track="Track", status="state", live=["it's"])
    assert statement == (
        f'CREATE UNIQUE INDEX CONCURRENTLY "{"J" * 63}" ON "My App"."{"J" * 63}" ("Track") '
        "WHERE state IN ('it''s');"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "text"),
    [([], "{}"), ([1, -20], "{1,-20}"), (["a-b", 'x"y', "p\\q"], '{"a-b","x\\"y","p\\\\q"}')],
)
def test_ids_as_an_array(ids: list[Any], text: str) -> None:
    assert requeue.as_array(ids) == text


@pytest.mark.parametrize(("name", "text"), [("jobs", "jobs"), ("Jobs", '"Jobs"'), ('a"b', '"a""b"'), ("1a", '"1a"')])
def test_names_are_quoted_where_they_must_be(name: str, text: str) -> None:
    assert plain(name) == text
