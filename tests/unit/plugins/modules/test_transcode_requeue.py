# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._catalog import UniqueIndex
from ansible_collections.veza.rabbitmq.plugins.module_utils._deliverable import NOT_CHECKED, Deliverable
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, Refused, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._ids import Ids
from ansible_collections.veza.rabbitmq.plugins.module_utils._requeue import Batch, Counts
from ansible_collections.veza.rabbitmq.plugins.module_utils._window import Window
from ansible_collections.veza.rabbitmq.plugins.modules import transcode_requeue as module

NOW = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
KEYS = {"changed", *yaml.safe_load(module.RETURN)}
QUIET = Deliverable(0, 0, 0, None, [])


def counts(candidates: int = 0, *, live: int = 0, job: int = 0, finished: int = 0, other: int = 0) -> Counts:
    return Counts(live, job, candidates, finished, other, ["failed"] if other else [])


class Tables:
    """Stands in for Requeue; knows in which order it was asked."""

    def __init__(self, found: Counts, tracks: list[Any] | None = None, *, index: bool = True) -> None:
        self.found = found
        self.tracks = list(range(1, found.candidates + 1)) if tracks is None else tracks
        self.index = UniqueIndex(5, "true") if index else None
        self.slow: list[str] = []
        self.old = 0
        self.ahead = timedelta(0)
        self.failure: VezaError | None = None
        self.asked: list[str] = []

    def clock(self, now: Callable[[], datetime]) -> list[tuple[datetime, datetime, datetime]]:
        self.asked.append("clock")
        return [(now(), now() + self.ahead, now())]

    def inspect(self, *, zone_given: bool) -> tuple[str, list[str]]:
        self.asked.append(f"inspect {zone_given}")
        return "CREATE UNIQUE INDEX x;", self.slow

    def unconsumed(self, seconds: float) -> int:
        return self.old

    def plan(self, window: Window, limit: int, *, listed: bool = False) -> tuple[Counts, Ids]:
        self.asked.append("plan")
        candidates = Ids()
        candidates.add(self.tracks if listed else [])
        return self.found, candidates

    def insert(self, window: Window, limit: int, size: int) -> Iterator[Batch]:
        self.asked.append(f"insert {limit}")
        for track in self.tracks:
            if self.failure and track == 2:
                raise self.failure
            yield Batch([track + 100], [track])

    def inspect_undo(self) -> None:
        self.asked.append("inspect_undo")

    def undo(self, jobs: Iterable[Any], size: int, *, check: bool) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
        first, *others = jobs
        self.asked.append(f"undo {[first, *others]} {check}")
        yield Batch([int(first)], [1]), [{"job": job, "reason": "gone"} for job in others]


@pytest.fixture
def go(
    monkeypatch: pytest.MonkeyPatch, params_of: Callable[..., dict[str, Any]]
) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    """Return a runner of the module on stand-ins; the broker says ``broker``."""

    def run(
        tables: Tables, *, check: bool = False, broker: Deliverable | VezaError = QUIET, **options: Any
    ) -> tuple[dict[str, Any], list[str]]:
        def look(*_unused: Any, **__: Any) -> Deliverable:
            tables.asked.append("broker")
            if isinstance(broker, VezaError):
                raise broker
            return broker

        monkeypatch.setattr(module.deliverable, "look", look)
        monkeypatch.setattr(module.requeue, "Requeue", lambda *_unused, **__: tables)
        warnings: list[str] = []
        given = {
            "database_url": "postgresql://u:s3cret@h/d",
            "outage_start": "2026-11-23T20:00:00Z",
            "outage_end": "2026-11-23T21:00:00Z",
            "queue": "transcode_jobs",
            **options,
        }
        params = params_of(module.argument_spec(), **given)
        return module.run(
            params, check_mode=check, warn=warnings.append, now=lambda: NOW, sleep=lambda _unused: None
        ), warnings

    return run


def test_all_in_order(go: Any) -> None:
    tables = Tables(counts(2, live=1))
    result, warnings = go(tables)
    assert tables.asked == ["clock", "inspect False", "plan", "broker", "insert 2"]
    assert result["changed"]
    assert result["requeued"] == [1, 2]
    assert result["jobs"] == [101, 102]
    assert result["batches"] == 2
    assert result["message"] == "2 tracks requeued; 1 of the window have a job already."
    assert result["window"] == {
        "asked_start": "2026-11-23T20:00:00Z",
        "asked_end": "2026-11-23T21:00:00Z",
        "start": "2026-11-23T19:58:30Z",
        "end": "2026-11-23T21:01:30Z",
        "skew": 0.0,
    }
    assert warnings == []
    assert set(result) == KEYS


def test_check_mode_asks_all_the_same_and_inserts_nothing(go: Any) -> None:
    tables = Tables(counts(2))
    result, _unused = go(tables, check=True)
    assert tables.asked == ["clock", "inspect False", "plan", "broker"]
    assert result["changed"]
    assert result["requeued"] == [1, 2]
    assert result["jobs"] == []
    assert result["message"].startswith("2 tracks would be requeued")


def test_without_candidates_the_broker_is_not_asked(go: Any) -> None:
    tables = Tables(counts(0, job=4))
    result, _unused = go(tables, broker=VezaError("down"), known_drops=4)
    assert "broker" not in tables.asked
    assert not result["changed"]
    assert result["deliverable"] == NOT_CHECKED


def test_it_comes_too_early(go: Any) -> None:
    tables = Tables(counts(2))
    with pytest.raises(Refused, match=r"Run again in 61 s, at 2026-11-23T22:01:01Z") as refusal:
        go(tables, outage_end="2026-11-23T21:58:00Z")
    assert refusal.value.details["retry_at"] == "2026-11-23T22:01:01Z"
    assert refusal.value.details["retry_after"] == 61
    assert tables.asked == ["clock"]
    assert set(refusal.value.details) == KEYS


def test_the_instant_it_named_is_late_enough(go: Any) -> None:
    # Three minutes after the end: 90 s that the window is widened by, and 90 s more.
    assert go(Tables(counts(1)), outage_end="2026-11-23T21:57:00Z")[0]["changed"]
    with pytest.raises(Refused):
        go(Tables(counts(1)), outage_end="2026-11-23T21:57:00.001Z")


def test_clocks_that_differ_widen_the_window_and_the_wait(go: Any) -> None:
    tables = Tables(counts(1))
    tables.ahead = timedelta(seconds=60)
    result, warnings = go(tables)
    assert result["window"]["skew"] == 60.0
    assert result["window"]["start"] == "2026-11-23T19:57:30Z"
    assert result["window"]["end"] == "2026-11-23T21:02:30Z"
    assert warnings == ["The clocks of this host and of the database differ by up to 60.0 s."]


def test_without_an_index(go: Any) -> None:
    tables = Tables(counts(1), index=False)
    with pytest.raises(Refused, match="CREATE UNIQUE INDEX x;") as refusal:
        go(tables)
    assert refusal.value.details["index_statement"] == "CREATE UNIQUE INDEX x;"
    assert refusal.value.details["guarantee"] is None
    result, warnings = go(Tables(counts(1), index=False), uniqueness="best_effort")
    assert result["guarantee"] == "best_effort"
    assert "another writer that inserts at the same time" in result["message"]
    assert len(warnings) == 1
    # An index that is there is used, whatever was allowed.
    assert go(Tables(counts(1)), uniqueness="best_effort")[0]["guarantee"] == "index"


def test_indexes_that_would_help_are_named(go: Any) -> None:
    tables = Tables(counts(1))
    tables.slow = ["CREATE INDEX y;"]
    assert go(tables)[1] == ["An index that would make this faster is missing: CREATE INDEX y;"]


def test_jobs_that_nobody_takes_are_a_warning(go: Any) -> None:
    tables = Tables(counts(1))
    tables.old = 3
    result, warnings = go(tables, consumed_within=60)
    assert result["unconsumed"] == 3
    assert warnings == [
        "3 jobs have been pending for more than 60 s: does the transcode worker consume this table?",
    ]
    assert result["changed"]


def test_too_many(go: Any) -> None:
    tables = Tables(counts(101), [])
    with pytest.raises(Refused, match="101 tracks lack a job, and max_rows allows 100") as refusal:
        go(tables, max_rows=100)
    assert refusal.value.details["candidates"] == 101
    assert "broker" not in tables.asked


def test_a_message_that_may_arrive(go: Any) -> None:
    tables = Tables(counts(1))
    with pytest.raises(Refused, match="Messages may still arrive: queue transcode_jobs holds 3 ready") as refusal:
        go(tables, broker=Deliverable(3, 0, 0, None, []))
    assert refusal.value.details["deliverable"]["ready"] == 3
    assert "insert 1" not in tables.asked


@pytest.mark.parametrize(
    ("drained_at", "late_enough"), [("2026-11-23T21:03:00Z", False), ("2026-11-23T21:03:01Z", True)]
)
def test_an_empty_queue_in_the_past(go: Any, drained_at: str, late_enough: bool) -> None:
    if late_enough:
        assert go(Tables(counts(1)), broker=Deliverable(3, 0, 0, None, []), drained_at=drained_at)[0]["changed"]
    else:
        with pytest.raises(Refused):
            go(Tables(counts(1)), broker=Deliverable(3, 0, 0, None, []), drained_at=drained_at)


def test_the_look_that_found_it_empty_is_judged_with_the_clocks_difference(go: Any) -> None:
    tables, busy = Tables(counts(1)), Deliverable(3, 0, 0, None, [])
    tables.ahead = timedelta(seconds=0.6)
    # What a caller reckons from the outage's end, who does not know by how much the clocks differ.
    with pytest.raises(Refused, match=r"empty at 2026-11-23T21:03:02Z proves nothing: until 2026-11-23T21:03:02\.2"):
        go(tables, broker=busy, drained_at="2026-11-23T21:03:02Z")
    alarm = "memory on mq"
    for broker, drained_at in [
        (busy, None),
        (replace(busy, alarms=alarm), "2026-11-23T21:03:03Z"),
        (replace(QUIET, alarms=alarm), "2026-11-23T21:03:02Z"),
    ]:
        with pytest.raises(Refused) as refusal:
            go(tables, broker=broker, drained_at=drained_at)
        assert "proves nothing" not in refusal.value.message
    assert go(tables, broker=busy, drained_at="2026-11-23T21:03:03Z")[0]["changed"]


def test_dead_letters(go: Any) -> None:
    dead = Deliverable(0, 0, 5, None, [])
    with pytest.raises(Refused, match="dead letter queue dlq holds 5"):
        go(Tables(counts(1)), broker=dead, dead_letter_queue="dlq")
    result, _unused = go(Tables(counts(1)), broker=dead, dead_letter_queue="dlq", on_dead_letters="proceed")
    assert result["deliverable"]["dead_letters"] == 5


@pytest.mark.parametrize("check", [False, True])
def test_tracks_that_nothing_tries_again_are_named(go: Any, check: bool) -> None:
    none, _asked = go(Tables(counts(1, job=2)), check=check)
    some, _asked = go(Tables(replace(counts(1, job=2, other=1), given_up=["7", "9"])), check=check)

    assert (none["given_up"], some["given_up"]) == ([], ["7", "9"])
    assert "nothing tries them again" not in none["message"]
    assert some["message"].endswith(" 2 are not transcoded, and nothing tries them again.")


def test_the_broker_left_out_by_choice(go: Any) -> None:
    tables = Tables(counts(1))
    assert go(tables, deliverable_check="skip", queue=None)[0]["changed"]
    assert "broker" not in tables.asked


def test_a_failure_in_the_middle_tells_what_was_done(go: Any) -> None:
    tables = Tables(counts(3))
    tables.failure = VezaError("The disk is full.", unsure_tracks=[2])
    with pytest.raises(VezaError, match="The disk is full") as failure:
        go(tables)
    details = failure.value.details
    assert details["changed"]
    assert details["requeued"] == [1]
    assert details["jobs"] == [101]
    assert details["unsure_tracks"] == [2]
    assert details["message"] == "The disk is full."
    assert set(details) == KEYS


@pytest.mark.parametrize("check", [True, False])
def test_absent(go: Any, check: bool) -> None:
    tables = Tables(counts())
    result, _unused = go(tables, check=check, state="absent", jobs=["7", "8", "7"], outage_start=None, outage_end=None)
    assert tables.asked == ["inspect_undo", f"undo ['7', '8'] {check}"]
    assert result["changed"]
    assert result["jobs"] == [7]
    assert result["requeued"] == []
    assert result["batches"] == (0 if check else 1)
    done = "would be deleted" if check else "deleted"
    assert result["message"] == f"1 jobs {done}; left alone: 1 gone."
    assert set(result) == KEYS


class Undone(Tables):
    """Where of jobs 11 to 15 an earlier run has deleted 11, and a worker has begun 12; 14 went long ago, 15 is held."""

    def undo(self, jobs: Iterable[Any], size: int, *, check: bool) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
        assert list(jobs) == [11, 12, 13, 14, 15]
        yield (
            Batch([13], [3]),
            [
                {"job": 11, "track": None, "reason": "gone"},
                {"job": 12, "track": 2, "reason": "started"},
                {"job": 14, "track": None, "reason": "gone"},
                {"job": 15, "track": 5, "reason": "locked"},
            ],
        )


@pytest.mark.parametrize("check", [True, False])
def test_what_a_run_that_was_killed_has_deleted_is_told_by_the_next(go: Any, check: bool) -> None:
    given = {"state": "absent", "jobs": [11, 12, 13, 14, 15], "outage_start": None, "outage_end": None}
    announced = {"jobs": [[11, 13], 15], "tracks": [[1, 3], 5]}
    result, _unused = go(Undone(counts()), check=check, announced=announced, **given)

    assert (result["jobs"], result["released"], result["adopted"]) == ([11, 13], [1, 3], 1)
    assert [kept["job"] for kept in result["kept"]] == [12, 14, 15]
    done = "would be deleted" if check else "deleted"
    assert result["message"] == (
        f"1 jobs {done}; left alone: 1 gone, 1 started, 1 locked. 1 were deleted by an earlier run that could not "
        "record them all."
    )
    alone, _unused = go(Undone(counts()), check=check, **given)
    assert (alone["jobs"], alone["released"], alone["adopted"]) == ([13], [3], 0)
    # Nothing is released where nothing is gone.
    begun, _unused = go(Undone(counts()), check=check, announced={"jobs": [12], "tracks": [2]}, **given)
    assert (begun["jobs"], begun["released"]) == ([13], [3])


@pytest.mark.parametrize(
    ("state", "announced", "wrong"),
    [
        ("present", {"tracks": [1]}, r"announced\.since: required with state=present"),
        ("absent", {"tracks": [1]}, r"announced\.jobs: required with state=absent"),
        ("absent", {"tracks": [1], "jobs": [1.5]}, r"announced\.jobs: 1\.5 is neither"),
        ("absent", {"tracks": [[2, 1]], "jobs": [1]}, r"announced\.tracks: \[2, 1\] is neither"),
    ],
)
def test_what_was_announced_must_be_told_whole(go: Any, state: str, announced: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadInput, match=wrong):
        go(Tables(counts()), state=state, jobs=[1], announced=announced)


@pytest.mark.parametrize(
    ("known", "found", "wrong"),
    [
        (None, counts(), False),
        (0, counts(), False),
        (3, counts(1), False),
        (3, counts(), True),
        (3, counts(live=1), False),
        (3, counts(job=1, other=2), False),
        (3, counts(finished=3), False),
        (3, counts(finished=2), True),
        (3, counts(finished=30, other=1), True),
    ],
)
def test_drops_without_candidates(known: int | None, found: Counts, wrong: bool) -> None:
    objection = module.unexplained(known, found)
    assert (objection is not None) == wrong
    if found.other and wrong:
        assert objection is not None
        assert "(hls_status failed)" in objection


def test_fewer_tracks_than_drops_are_a_warning(go: Any) -> None:
    assert go(Tables(counts(2, finished=1)), known_drops=4)[1] == [
        "4 events are known to be dropped, but the window has 3 tracks."
    ]


def test_all_that_is_wrong_with_the_options_is_one_message(go: Any) -> None:
    tables = Tables(counts(1))
    with pytest.raises(BadInput) as failure:
        go(
            tables,
            outage_start="2026-11-23T20:00:00",
            outage_end="2026-11-24T20:00:00Z",
            publisher_backoff=-1,
            known_drops=-1,
            batch_size=0,
            max_rows=0,
            max_window=0,
            statement_timeout=0,
            live_statuses=[],
            unfinished=["processing"],
            deliverable_check="skip",
            drained_at="then",
        )
    said = failure.value.message
    wrong = ("outage_start", "outage_end", "publisher_backoff", "known_drops", "batch_size", "max_rows", "max_window")
    for name in (*wrong, "statement_timeout", "live_statuses", "unfinished", "drained_at"):
        assert f"{name}: " in said
    assert tables.asked == []
    assert set(failure.value.details) == KEYS


def test_the_queue_is_needed_to_ask_for_it(go: Any) -> None:
    with pytest.raises(BadInput, match="queue: required"):
        go(Tables(counts(1)), queue=None)


def test_a_url_that_cant_be_read_is_not_shown(go: Any) -> None:
    with pytest.raises(BadInput) as failure:
        go(Tables(counts(1)), database_url="postgresql://u:s3@cret@h/d")
    assert "cret" not in str(failure.value.details)


@pytest.mark.parametrize(
    ("tracks", "jobs", "removed", "expected"),
    [
        ([], [], False, {"before": "", "after": ""}),
        ([1, 2], [], False, {"before": "", "after": "a job for track 1\na job for track 2\n"}),
        ([], [7], True, {"before": "job 7\n", "after": ""}),
        (
            [1, 2, 3],
            [],
            False,
            {"before": "", "after": "a job for track 1\na job for track 2\n... and 1 more, 3 in all\n"},
        ),
    ],
)
def test_the_diff_is_bounded(tracks: list[int], jobs: list[int], removed: bool, expected: dict[str, str]) -> None:
    assert module.diff_of(tracks, jobs, removed=removed, shown=2) == expected


def test_main(run_main: Any) -> None:
    missing = run_main(module, database_url="postgresql://u:s3cret@127.0.0.1:1/d")
    assert missing.failed
    assert "outage_start" in missing.result["msg"]
    refused = run_main(
        module,
        database_url="postgresql://u:s3cret@127.0.0.1:1/d",
        outage_start="2026-01-01T00:00:00Z",
        outage_end="2026-01-01T01:00:00Z",
        deliverable_check="skip",
        connect_timeout=2,
    )
    assert refused.failed
    assert "no connection" in refused.result["msg"]
    assert "s3cret" not in str(refused.result)
    assert set(refused.result) == {"msg", *KEYS}


def test_options_and_documentation_agree() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    spec = module.argument_spec()
    own = {name: option for name, option in spec.items() if name in documented}
    assert set(documented) == set(own)
    for name, option in own.items():
        assert option.get("default") == documented[name].get("default"), name
