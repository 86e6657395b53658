# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module transcode_requeue on a real PostgreSQL: alone, in company, interrupted, with little rights."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from psycopg2 import sql

from ansible_collections.veza.rabbitmq.plugins.module_utils import _ids as many
from ansible_collections.veza.rabbitmq.plugins.module_utils import _requeue as requeue
from ansible_collections.veza.rabbitmq.plugins.module_utils._database import Database
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, Refused, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._requeue import Names, Requeue, Rules
from ansible_collections.veza.rabbitmq.plugins.module_utils._window import Window, as_text
from ansible_collections.veza.rabbitmq.plugins.modules import transcode_requeue as module
from tests.integration.requeue_lab import PASSWORD, Base, Management, Pooler, Postgres, Proxy, create, depth, running
from tests.lab.scenario import Playbook
from tests.lab.state import Lab

ROOT = Path(__file__).resolve().parents[2]
MODULE = "ansible_collections.veza.rabbitmq.plugins.modules.transcode_requeue"
NUMBERS = itertools.count()

PATIENCE = 120.0
"""Seconds after which something has gone wrong, however busy the machine is."""

BUSY = 15.0
"""Seconds by which a busy machine may be late."""

TABLES = """
CREATE TABLE tracks (id {id} PRIMARY KEY, hls_status text, created_at {at} NOT NULL DEFAULT now());
CREATE TABLE transcode_jobs (id {job} PRIMARY KEY, track_id {ref} NOT NULL REFERENCES tracks (id),
  status text NOT NULL, attempts integer NOT NULL, created_at {at} NOT NULL);
"""
INTEGER = {"id": "bigint GENERATED ALWAYS AS IDENTITY", "job": "bigserial", "ref": "bigint", "at": "timestamptz"}
UUID = {**dict.fromkeys(("id", "job"), "uuid DEFAULT gen_random_uuid()"), "ref": "uuid", "at": "timestamptz"}
INDEX = "CREATE UNIQUE INDEX one_live ON transcode_jobs (track_id) WHERE status IN ('pending', 'processing')"
UPLOADS = "INSERT INTO tracks (created_at) SELECT now() - interval '1 hour' FROM generate_series(1, %s)"
JOB = "INSERT INTO transcode_jobs (track_id, status, attempts, created_at) VALUES (%s, %s, %s, now())"
ONCE = "SELECT count(*), count(DISTINCT track_id) FROM transcode_jobs"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as postgres:
        yield postgres


@pytest.fixture
def empty(server: Postgres) -> Base:
    return create(server, f"t{next(NUMBERS)}")


@pytest.fixture
def base(empty: Base) -> Base:
    empty.run(TABLES.format(**INTEGER))
    empty.run(INDEX)
    return empty


@pytest.fixture
def api() -> Iterator[Management]:
    management = Management()
    yield management
    management.close()


def ago(**amount: float) -> str:
    return (datetime.now(UTC) - timedelta(**amount)).isoformat()


def options(base: Base, **more: Any) -> dict[str, Any]:
    return {
        "database_url": base.url,
        "outage_start": ago(hours=2),
        "outage_end": ago(minutes=30),
        "deliverable_check": "skip",
        **more,
    }


def asking(api: Management) -> dict[str, Any]:
    return {
        "deliverable_check": "broker",
        "login_port": api.port,
        "login_host": "127.0.0.1",
        "vhost": "/veza",
        "queue": "transcode_jobs",
        "dead_letter_queue": "transcode_jobs.dlq",
        "timeout": 30,
    }


def run(given: dict[str, Any], *, check: bool = False, warnings: list[str] | None = None, **more: Any) -> Any:
    validated = ArgumentSpecValidator(module.argument_spec()).validate(given)
    assert not validated.error_messages
    heard: list[str] = [] if warnings is None else warnings
    return module.run(validated.validated_parameters, check_mode=check, warn=heard.append, **more)


def start(given: dict[str, Any], place: Path) -> subprocess.Popen[str]:
    """Start the module in a process of its own."""
    arguments = place / f"arguments-{next(NUMBERS)}.json"
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    command = [sys.executable, "-m", MODULE, str(arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, output + errors
    answer: dict[str, Any] = json.loads(output)
    return answer


def ansible(given: dict[str, Any], place: Path, *flags: str) -> tuple[int, str]:
    """Run the module as a task; return the exit code and all that was printed.

    The URL comes from a variable, as it does in earnest: of a failed task Ansible prints what was typed.
    """
    command = [str(Path(sys.executable).parent / "ansible"), "localhost", "-m", "veza.rabbitmq.transcode_requeue"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    environment["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    variables = place / "variables.json"
    variables.write_text(json.dumps({"url": given["database_url"]}))
    done = subprocess.run(
        [*command, "-a", json.dumps({**given, "database_url": "{{ url }}"}), "-e", f"@{variables}", *flags],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def hidden(text: str) -> bool:
    return PASSWORD not in text and quote(PASSWORD, safe="") not in text


# One after the other


def test_check_mode_is_the_real_run_and_the_second_run_changes_nothing(base: Base) -> None:
    base.run(UPLOADS, 25)
    given = options(base, batch_size=10, known_drops=25)
    foreseen = run(given, check=True)
    assert base.one("SELECT count(*) FROM transcode_jobs") == 0
    real = run(given)
    again = run(given)

    assert foreseen["changed"]
    assert foreseen["candidates"] == 25
    assert foreseen["requeued"] == real["requeued"] == list(range(1, 26))
    assert real["jobs"] == [row[0] for row in base.run("SELECT id FROM transcode_jobs ORDER BY id")]
    assert real["batches"] == 3
    assert real["guarantee"] == "index"
    fresh = "created_at > now() - interval '1 minute'"
    assert base.run(f"SELECT DISTINCT status, attempts, {fresh} FROM transcode_jobs") == [("pending", 0, True)]
    assert not again["changed"]
    assert again["requeued"] == again["jobs"] == []
    assert again["left_out"] == {"live_job": 25, "job_since_start": 0, "finished": 0, "other": 0}


def test_as_a_task_with_a_diff_and_without_the_password(base: Base, tmp_path: Path) -> None:
    base.run(UPLOADS, 30)
    given = options(base)
    code, text = ansible(given, tmp_path, "--check", "--diff", "-vvvv")
    assert code == 0, text
    assert "+a job for track 20\n+... and 10 more, 30 in all" in text
    assert hidden(text)
    code, text = ansible(given, tmp_path, "-vvvv")
    assert code == 0, text
    assert "30 tracks requeued; 0 of the window have a job already." in text
    assert hidden(text)
    assert tuple(base.run(ONCE)[0]) == (30, 30)
    code, text = ansible(given, tmp_path)
    assert code == 0
    assert '"changed": false' in text or "changed: false" in text


def test_only_the_tracks_that_lack_a_job_are_requeued(base: Base) -> None:
    base.run("INSERT INTO tracks (hls_status, created_at) SELECT s, now() - interval '1 hour' FROM unnest(%s) AS s", [
        None, "ready", "processing", "failed", None, None, None
    ])  # fmt: skip
    base.run(JOB, 5, "pending", 0)
    base.run(JOB, 6, "failed", 5)
    # A job from before the outage does not count, for instance of a track whose creation was backdated.
    base.run(JOB, 7, "failed", 5)
    base.run("UPDATE transcode_jobs SET created_at = now() - interval '1 day' WHERE track_id = 7")
    warnings: list[str] = []
    result = run(options(base), warnings=warnings)
    assert result["requeued"] == [1, 7]
    assert result["left_out"] == {"live_job": 1, "job_since_start": 1, "finished": 1, "other": 2}
    assert result["given_up"] == ["3", "4", "6"]
    assert warnings == [
        "2 tracks of the window are neither unfinished nor finished. Statuses: failed, processing.",
    ]


def test_what_a_run_that_was_killed_has_inserted_is_told_by_the_next(base: Base) -> None:
    base.run(UPLOADS, 4)
    since, lacking = as_text(datetime.now(UTC)), run(options(base), check=True)["requeued"]
    unheard = run(options(base))["jobs"]
    base.run(UPLOADS, 1)
    base.run("UPDATE transcode_jobs SET created_at = now() - interval '10 minutes' WHERE id = %s", unheard[0])
    announced = {"since": since, "tracks": [[lacking[0], lacking[-1]]]}

    found = run({**options(base), "announced": announced})
    assert found["adopted"] == 3, "one of them is older than the run that was killed"
    assert (found["jobs"], found["requeued"]) == ([*unheard[1:], unheard[-1] + 1], [2, 3, 4, 5])
    assert "1 tracks requeued" in found["message"]
    assert "3 of these were requeued by an earlier run" in found["message"]
    again = run({**options(base), "announced": announced})
    assert (again["changed"], again["jobs"], again["adopted"]) == (False, unheard[1:], 3)
    with pytest.raises(BadInput, match=r"announced\.since: .*announced\.tracks: "):
        run({**options(base), "announced": {"since": "yesterday", "tracks": [1.5]}})


def test_jobs_that_nobody_takes_are_counted(base: Base) -> None:
    base.run(UPLOADS, 3)
    for track, status in ((1, "pending"), (2, "processing"), (3, "pending")):
        base.run(JOB, track, status, 0)
    base.run("UPDATE transcode_jobs SET created_at = now() - interval '10 minutes' WHERE track_id < 3")
    assert run(options(base, consumed_within=60))["unconsumed"] == 1
    assert run(options(base, consumed_within=3600))["unconsumed"] == 0


def test_stuck_tracks_and_a_predicate(base: Base, api: Management) -> None:
    base.run("ALTER TABLE tracks ADD title text DEFAULT 'a 100% hit'")
    base.run("INSERT INTO tracks (hls_status, created_at) SELECT s, now() - interval '1 hour' FROM unnest(%s) AS s", [
        None, "processing", "it's", "processing"
    ])  # fmt: skip
    base.run("UPDATE tracks SET title = 'gone' WHERE id = 4")
    given = options(base, unfinished=["processing", "it's"], predicate="t.title LIKE '%100%%' -- no title, no job")
    given.update(asking(api))
    assert run(given)["requeued"] == [2, 3]


def test_the_edges_of_the_window(base: Base) -> None:
    start, end = datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, 11, tzinfo=UTC)
    given = options(base, outage_start="2026-03-01T11:00:00+01:00", outage_end="2026-03-01T11:00:00Z")
    window = run(given)["window"]
    # The measured skew belongs to the window, and differs from run to run: fixed here.
    skew = timedelta(seconds=window["skew"])
    assert timedelta(0) <= skew < timedelta(seconds=5)
    assert window["asked_start"] == "2026-03-01T10:00:00Z"
    margin, tick = timedelta(seconds=90), timedelta(seconds=1)
    times = [start - margin - tick, start - margin, end + margin - timedelta(microseconds=1), end + margin + tick]
    for at in times:
        base.run("INSERT INTO tracks (created_at) VALUES (%s)", at)
    assert run(given)["requeued"] == [2, 3]


def test_the_window_is_half_open(base: Base) -> None:
    start, end = datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, 11, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    for at in (start - tick, start, end - tick, end):
        base.run("INSERT INTO tracks (created_at) VALUES (%s)", at)
    defaults = ArgumentSpecValidator(module.argument_spec()).validate({"database_url": base.url}).validated_parameters
    rules = Rules([None], ["ready"], ["pending", "processing"])
    tables = Requeue(Database(base.url), Names.of(defaults["schema"]), rules, sleep=time.sleep)
    tables.inspect(zone_given=False)
    counts, tracks = tables.plan(Window(start, end), 10, listed=True)
    assert tracks.told() == [2, 3]
    assert counts.candidates == 2


def test_all_that_is_wrong_comes_at_once_and_before_the_database_is_asked(base: Base) -> None:
    given = options(
        base,
        database_url="postgresql://127.0.0.1:1/nothing",
        outage_start="2026-03-01 10:00:00",
        outage_end=(datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        batch_size=0,
    )
    with pytest.raises(BadInput) as failure:
        run(given)
    for part in ("outage_start: '2026-03-01 10:00:00' has no offset", "lies in the future", "batch_size: must be"):
        assert part in failure.value.message
    with pytest.raises(BadInput, match="does not come after"):
        run(options(base, outage_start=ago(hours=1), outage_end=ago(hours=2)))
    with pytest.raises(BadInput, match="max_window allows 604800 s"):
        run(options(base, outage_start=ago(days=8)))


def test_what_may_still_be_on_its_way_is_waited_for(base: Base) -> None:
    base.run(UPLOADS, 1)
    given = options(base, outage_end=ago(seconds=100), publisher_backoff=30, longest_upload=30)
    with pytest.raises(Refused, match="may still be on its way") as refusal:
        run(given)
    details = refusal.value.details
    wait = datetime.fromisoformat(details["retry_at"]) - datetime.now(UTC)
    assert timedelta(seconds=20 - BUSY) < wait < timedelta(seconds=23)
    assert abs(details["retry_after"] - wait.total_seconds()) < BUSY
    assert details["window"]["asked_end"]
    assert not details["changed"]
    assert run({**given, "publisher_backoff": 15})["requeued"] == [1]


def test_more_than_max_rows_inserts_nothing(base: Base) -> None:
    base.run(UPLOADS, 11)
    with pytest.raises(Refused, match="11 tracks lack a job, and max_rows allows 10") as refusal:
        run(options(base, max_rows=10))
    assert refusal.value.details["candidates"] == 11
    assert base.one("SELECT count(*) FROM transcode_jobs") == 0
    assert len(run(options(base, max_rows=11))["requeued"]) == 11


def test_drops_that_no_track_explains_are_a_failure(base: Base) -> None:
    with pytest.raises(VezaError, match="2 events are known to be dropped, but no track in the window") as failure:
        run(options(base, known_drops=2))
    assert failure.value.details["candidates"] == 0
    base.run("INSERT INTO tracks (hls_status, created_at) VALUES ('queued', now() - interval '1 hour')")
    with pytest.raises(VezaError, match="1 are neither finished nor unfinished \\(hls_status queued\\)"):
        run(options(base, known_drops=1))
    base.run("UPDATE tracks SET hls_status = 'ready'")
    assert not run(options(base, known_drops=1))["changed"]


# What the broker says


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"queues": [depth("transcode_jobs", 2, 1), depth("transcode_jobs.dlq")]}, "2 ready and 1 unacknowledged"),
        ({"queues": [depth("transcode_jobs"), depth("transcode_jobs.dlq", 4)]}, "transcode_jobs.dlq holds 4 messages"),
        ({"queues": [depth("transcode_jobs")]}, "queue transcode_jobs.dlq of vhost /veza: "),
        ({"queues": [{"name": "transcode_jobs", "type": "classic"}]}, "its count is missing"),
        ({"alarms": (503, {"status": "failed", "alarms": [{"resource": "memory", "node": "r@a"}]})}, "memory on r@a"),
        ({"alarms": (404, {"error": "Object Not Found"})}, "can't be known"),
        ({"connections": [{"name": "10.0.0.7:1", "state": "blocked"}]}, "1 publishing connections are blocked"),
        ({"tags": "management"}, "others' connections are hidden"),
    ],
)
def test_nothing_is_requeued_while_a_message_may_arrive(
    base: Base, api: Management, changes: dict[str, Any], said: str
) -> None:
    base.run(UPLOADS, 3)
    given = options(base, **asking(api))
    healthy = dict(vars(api))
    vars(api).update(changes)
    pauses: list[float] = []  # the stand-in's zeros need no second look
    for check in (True, False):
        with pytest.raises(Refused, match=re.escape(said)):
            run(given, check=check, sleep=pauses.append)
    assert base.one("SELECT count(*) FROM transcode_jobs") == 0
    vars(api).update({key: healthy[key] for key in changes})
    result = run(given, sleep=pauses.append)
    assert pauses
    assert len(result["requeued"]) == 3
    assert result["deliverable"]["checked"]


def test_an_api_that_does_not_answer_is_a_refusal(base: Base, api: Management) -> None:
    base.run(UPLOADS, 1)
    given = options(base, **asking(api))
    api.close()
    with pytest.raises(Refused, match="connection refused"):
        run(given)
    assert run({**given, "deliverable_check": "skip"})["requeued"] == [1]


def test_a_queue_that_was_empty_late_enough_may_hold_younger_messages(base: Base, api: Management) -> None:
    base.run(UPLOADS, 1)
    api.queues[0] = depth("transcode_jobs", 5)
    given = options(base, **asking(api))
    # The window ends 90 s after the outage, and as much again must pass: 30 minutes ago less 3.
    with pytest.raises(Refused, match="5 ready"):
        run({**given, "drained_at": ago(minutes=27, seconds=5)})
    with pytest.raises(BadInput, match="drained_at: 'soon' is no instant"):
        run({**given, "drained_at": "soon"})
    assert run({**given, "drained_at": ago(minutes=26, seconds=50)})["requeued"] == [1]


def test_a_real_broker_is_believed(base: Base, bare_lab: Lab) -> None:
    import pika

    base.run(UPLOADS, 2)
    account, management = bare_lab.credentials["veza"], bare_lab.credentials["monitor"]
    given = options(
        base,
        deliverable_check="broker",
        login_host="127.0.0.1",
        login_port=bare_lab.ports["management"],
        login_user=management["user"],
        login_password=management["password"],
        vhost="/veza",
        queue="requeue_test",
    )
    with pytest.raises(Refused, match="queue requeue_test of vhost /veza: .*404"):
        run(given)
    credentials = pika.PlainCredentials(account["user"], account["password"])
    connection = pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", bare_lab.ports["amqp"], "/veza", credentials, heartbeat=0)
    )
    channel = connection.channel()
    channel.queue_declare("requeue_test", durable=True)
    try:
        channel.confirm_delivery()
        channel.basic_publish("", "requeue_test", b"{}")
        refused_in_time(given, "1 ready and 0 unacknowledged")
        frame, _unused, _unused = channel.basic_get("requeue_test")
        assert frame is not None
        refused_in_time(given, "0 ready and 1 unacknowledged")
        channel.basic_ack(frame.delivery_tag)
        assert in_time(given) == [1, 2]
    finally:
        channel.queue_delete("requeue_test")
        connection.close()


def in_time(given: dict[str, Any]) -> Any:
    """Return what is requeued once the broker's figures have settled; until then it must be refused."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(Refused):
            return run(given)["requeued"]
        assert time.monotonic() < deadline
        time.sleep(0.3)


def refused_in_time(given: dict[str, Any], said: str) -> None:
    """Return when it is refused for this reason; it must be refused for some reason all the time."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with pytest.raises(Refused) as refusal:
            run(given)
        if said in refusal.value.message:
            return
        assert time.monotonic() < deadline, refusal.value.message
        time.sleep(0.3)


# The guarantee


def test_without_the_index_it_refuses_and_its_statement_helps(empty: Base) -> None:
    empty.run(TABLES.format(**INTEGER))
    empty.run(UPLOADS, 2)
    with pytest.raises(Refused, match="CREATE UNIQUE INDEX CONCURRENTLY") as refusal:
        run(options(empty))
    statement = refusal.value.details["index_statement"]
    assert statement == (
        "CREATE UNIQUE INDEX CONCURRENTLY transcode_jobs_one_live_job ON transcode_jobs (track_id) "
        "WHERE status IN ('pending', 'processing');"
    )
    empty.run(statement)
    assert run(options(empty))["guarantee"] == "index"


@pytest.mark.parametrize(
    ("index", "good"),
    [
        ("CREATE UNIQUE INDEX i ON transcode_jobs (track_id)", True),
        ("CREATE UNIQUE INDEX i ON transcode_jobs (track_id) WHERE status <> ALL (ARRAY['done', 'failed'])", True),
        ("CREATE UNIQUE INDEX i ON transcode_jobs (track_id) WHERE status NOT LIKE 'do%'", True),
        ("ALTER TABLE transcode_jobs ADD UNIQUE (track_id)", True),
        ("ALTER TABLE transcode_jobs ADD UNIQUE (track_id) DEFERRABLE", False),
        ("CREATE UNIQUE INDEX i ON transcode_jobs (track_id) WHERE status = 'pending'", False),
        ("CREATE UNIQUE INDEX i ON transcode_jobs (track_id, status)", False),
        ("CREATE UNIQUE INDEX i ON transcode_jobs (track_id, attempts) WHERE status <> 'done'", False),
        ("CREATE UNIQUE INDEX i ON transcode_jobs (track_id) WHERE status <> 'done' AND attempts IS NULL", False),
        ("CREATE UNIQUE INDEX i ON transcode_jobs ((track_id + 1))", False),
        ("CREATE INDEX i ON transcode_jobs (track_id)", False),
    ],
)
def test_which_index_is_good_enough(empty: Base, index: str, good: bool) -> None:
    empty.run(TABLES.format(**INTEGER))
    empty.run(UPLOADS, 2)
    empty.run(index)
    if good:
        assert run(options(empty))["requeued"] == [1, 2]
    else:
        with pytest.raises(Refused, match="No unique index"):
            run(options(empty))


def test_an_index_that_was_not_built_to_the_end_does_not_count(empty: Base) -> None:
    empty.run(TABLES.format(**INTEGER))
    empty.run(UPLOADS, 2)
    for _unused in range(2):
        empty.run(JOB, 1, "pending", 0)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        empty.run(INDEX.replace("INDEX", "INDEX CONCURRENTLY"))
    with pytest.raises(Refused, match="No unique index"):
        run(options(empty))


def test_the_index_of_a_table_with_children_does_not_count(empty: Base) -> None:
    empty.run(TABLES.format(**INTEGER))
    empty.run(INDEX)
    empty.run(UPLOADS, 2)
    empty.run("CREATE TABLE older_jobs () INHERITS (transcode_jobs)")
    with pytest.raises(Refused, match="No unique index"):
        run(options(empty))


def test_best_effort_says_so(empty: Base) -> None:
    empty.run(TABLES.format(**INTEGER))
    empty.run(UPLOADS, 2)
    warnings: list[str] = []
    result = run(options(empty, uniqueness="best_effort"), warnings=warnings)
    assert result["guarantee"] == "best_effort"
    assert "another writer" in result["message"]
    assert "CREATE UNIQUE INDEX" in warnings[0]
    assert not run(options(empty, uniqueness="best_effort"))["changed"]


@contextlib.contextmanager
def before_the_insert(base: Base, act: Callable[[], object]) -> Iterator[str]:
    """Do something once, when the first batch is about to be inserted; yields the URL for that."""
    done = threading.Event()

    def look(message: bytes) -> str:
        if message.lstrip().startswith(b"WITH slice") and not done.is_set():
            done.set()
            act()
        return "pass"

    with Proxy(base.server, look) as proxy:
        yield base.server.url(base.name, port=proxy.port)


def test_an_index_dropped_in_between_fails_instead_of_doubling(base: Base) -> None:
    base.run(UPLOADS, 20)
    with before_the_insert(base, lambda: base.run("DROP INDEX one_live")) as url:
        given = options(base, database_url=url)
        with pytest.raises(VezaError, match="no unique or exclusion constraint"):
            run(given)
    assert base.one("SELECT count(*) FROM transcode_jobs") == 0


def test_an_index_rebuilt_in_between_keeps_its_promise(base: Base) -> None:
    base.run(UPLOADS, 20)
    before = base.one("SELECT 'one_live'::regclass::oid::bigint")
    # Another index by then, under the same name.
    with before_the_insert(base, lambda: base.run("REINDEX INDEX CONCURRENTLY one_live")) as url:
        result = run(options(base, database_url=url, batch_size=5))
    assert result["requeued"] == list(range(1, 21))
    assert base.one("SELECT 'one_live'::regclass::oid::bigint") != before
    assert tuple(base.run(ONCE)[0]) == (20, 20)


def test_a_sequence_left_behind_is_an_error_not_silence(base: Base) -> None:
    base.run(UPLOADS, 2)
    base.run("INSERT INTO tracks DEFAULT VALUES")
    base.run("INSERT INTO transcode_jobs SELECT n, 3, 'done', 1, now() - interval '1 day' FROM generate_series(1, 9) n")
    with pytest.raises(VezaError, match="duplicate key value .*transcode_jobs_pkey"):
        run(options(base))


# In company


@pytest.mark.parametrize(("uniqueness", "runs"), [("index", 2), ("index", 8), ("best_effort", 8)])
def test_several_at_once_insert_each_job_once(empty: Base, tmp_path: Path, uniqueness: str, runs: int) -> None:
    empty.run(TABLES.format(**INTEGER))
    if uniqueness == "index":
        empty.run(INDEX)
    empty.run(UPLOADS, 1000)
    given = options(empty, batch_size=20, uniqueness=uniqueness)
    results = [finish(process) for process in [start(given, tmp_path) for _unused in range(runs)]]
    assert tuple(empty.run(ONCE)[0]) == (1000, 1000)
    requeued = [track for result in results for track in result["requeued"]]
    assert sorted(requeued) == list(range(1, 1001))
    jobs = sorted(job for result in results for job in result["jobs"])
    assert jobs == [row[0] for row in empty.run("SELECT id FROM transcode_jobs ORDER BY id")]


@pytest.mark.parametrize(
    "indexes",
    ["", "; CREATE INDEX ON transcode_jobs (track_id); CREATE INDEX ON tracks (created_at)"],
    ids=["bare", "as the module advises"],
)
def test_many_are_told_in_pairs_and_undone_by_them(empty: Base, tmp_path: Path, indexes: str) -> None:
    size = 12_000
    empty.run(TABLES.format(**INTEGER) + INDEX + indexes)
    empty.run(UPLOADS, size)
    # Most are of one instant: what a batch goes on from is not the instant alone. The others are not in the ids' order.
    empty.run("UPDATE tracks SET created_at = created_at - id * interval '1 ms' WHERE id <= 7000")
    given = options(empty, batch_size=500)
    would = run(given, check=True)
    assert would["requeued"] == [[1, size]]
    results = [finish(process) for process in [start(given, tmp_path) for _unused in range(3)]]
    assert tuple(empty.run(ONCE)[0]) == (size, size)
    for kind, column in (("jobs", "id"), ("requeued", "track_id")):
        told = sorted(one for result in results for one in many.spelled_out(result[kind]))
        assert told == [row[0] for row in empty.run(f"SELECT {column} FROM transcode_jobs ORDER BY 1")]
    for result in results:
        undone = run({"database_url": empty.url, "state": "absent", "jobs": result["jobs"]})
        assert (undone["jobs"], undone["released"]) == (result["jobs"], result["requeued"])
    assert empty.run(ONCE) == [(0, 0)]


@pytest.mark.parametrize("lanes_from", [2, 9999])
def test_connections_that_end_are_made_again(base: Base, monkeypatch: pytest.MonkeyPatch, lanes_from: int) -> None:
    monkeypatch.setattr(requeue, "LANES_FROM", lanes_from)
    base.run(UPLOADS, 2000)
    ended = []

    def end_them() -> None:
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND datname = %s"
            " AND EXISTS (SELECT FROM transcode_jobs)"
        )
        deadline = time.monotonic() + PATIENCE
        while len(ended) < 6 and time.monotonic() < deadline:
            ended.extend(base.run(kill, "veza.rabbitmq.transcode_requeue", base.name))
            time.sleep(0.05)

    thread = threading.Thread(target=end_them)
    thread.start()
    try:
        result = run(options(base, batch_size=4))
    finally:
        thread.join(PATIENCE)
    assert len(ended) >= 6
    assert tuple(base.run(ONCE)[0]) == (2000, 2000)
    assert sorted(many.spelled_out(result["requeued"])) == list(range(1, 2001))


def test_when_one_lane_fails_what_both_have_inserted_is_told(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requeue, "LANES_FROM", 2)
    base.run(UPLOADS, 1000)
    base.run("ALTER TABLE transcode_jobs ADD CONSTRAINT none_for_301 CHECK (track_id <> 301)")
    with pytest.raises(VezaError, match="none_for_301") as failure:
        run(options(base, batch_size=10))
    done = [row[0] for row in base.run("SELECT track_id FROM transcode_jobs ORDER BY 1")]
    assert list(many.spelled_out(failure.value.details["requeued"])) == done
    odd, even = ([track for track in done if track % 2 == rest] for rest in (1, 0))
    assert odd == list(range(1, 301, 2)), "its batches before that"
    assert len(even) < 500, "the other lane ended too"


def test_through_pgbouncer_in_transaction_mode(base: Base, tmp_path: Path) -> None:
    """Nothing of a session may be relied on, and nothing may be left in one: neither a lock nor a setting."""
    base.run(UPLOADS, 300)
    with Pooler(base.server) as pooler:
        url = base.server.url(base.name, port=pooler.port)
        given = {**options(base, batch_size=7), "database_url": url}
        answers = [finish(process) for process in [start(given, tmp_path) for _number in range(4)]]
        assert base.run(ONCE) == [(300, 300)]
        assert sum(len(answer["requeued"]) for answer in answers) == 300
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'), (SELECT count(*) FROM pg_locks l"
                           " WHERE l.locktype = 'advisory')")  # fmt: skip
            assert cursor.fetchone() == ("0", 0)
        jobs = [str(job) for answer in answers for job in answer["jobs"]]
        undone = run({"database_url": url, "state": "absent", "jobs": jobs})
        assert (len(undone["jobs"]), undone["kept"]) == (300, [])
    assert base.run(ONCE) == [(0, 0)]


def test_the_application_inserting_at_the_same_time(base: Base) -> None:
    base.run(UPLOADS, 600)
    stop, begun = threading.Event(), threading.Event()
    inserted: list[int] = []

    def ours() -> bool:
        return bool(base.one("SELECT EXISTS (SELECT FROM transcode_jobs WHERE track_id = 1)"))

    def application() -> None:
        connection = base.server.connect(base.name)
        cursor = connection.cursor()
        for track in range(600, 0, -1):
            # Neither is to be through before the other has begun.
            while track == 300 and not stop.is_set() and not ours():
                time.sleep(0.01)
            if stop.is_set():
                break
            cursor.execute(f"{JOB} ON CONFLICT DO NOTHING RETURNING track_id", (track, "pending", 0))
            inserted.extend(row[0] for row in cursor.fetchall())
            begun.set()
        connection.close()

    thread = threading.Thread(target=application)
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        result = run(options(base, batch_size=5))
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert inserted
    assert result["requeued"]
    assert sorted(result["requeued"] + inserted) == list(range(1, 601))
    assert tuple(base.run(ONCE)[0]) == (600, 600)


def test_a_job_that_the_application_commits_while_we_insert_is_no_failure(base: Base) -> None:
    base.run(UPLOADS, 20)
    with contextlib.closing(psycopg2.connect(base.url)) as application:
        commit = threading.Timer(0.5, application.commit)  # our own insert waits for it

        def insert() -> None:
            application.cursor().execute(JOB, (7, "pending", 0))
            commit.start()

        with before_the_insert(base, insert) as url:
            result = run(options(base, database_url=url, batch_size=5))
        commit.join(PATIENCE)
    assert result["requeued"] == [track for track in range(1, 21) if track != 7]
    assert tuple(base.run(ONCE)[0]) == (20, 20)


def test_a_job_that_failed_between_plan_and_insert_is_not_followed_by_another(base: Base) -> None:
    base.run(UPLOADS, 3)
    with before_the_insert(base, lambda: base.run(JOB, 2, "failed", 5)) as url:
        result = run(options(base, database_url=url))
    assert result["candidates"] == 3
    assert result["requeued"] == [1, 3]


# Interrupted


def at_commit(number: int, then: Any) -> Any:
    """Return a hook that calls ``then`` at the COMMIT of the insert of that number, once."""
    inserts = itertools.count(1)
    current = [0]

    def hook(message: bytes) -> str:
        if message.lstrip().startswith((b"WITH slice", b"WITH untried")):
            current[0] = next(inserts)
        if message.startswith(b"COMMIT") and current[0] == number:
            current[0] = 0
            word: str = then()
            return word
        return "pass"

    return hook


def vanishing(number: int) -> Callable[[bytes], str]:
    """Return a hook with which the database is away from the answer to that COMMIT on, which it has made."""
    gone = threading.Event()

    def vanish() -> str:
        gone.set()
        return "swallow"

    commit = at_commit(number, vanish)
    return lambda message: "drop" if gone.is_set() else str(commit(message))


@pytest.mark.parametrize("word", ["swallow", "drop"])
def test_a_lost_commit_is_looked_up(base: Base, word: str) -> None:
    base.run(UPLOADS, 30)
    with Proxy(base.server, at_commit(2, lambda: word)) as proxy:
        result = run(options(base, database_url=base.server.url(base.name, port=proxy.port), batch_size=10))
        inserts = sum(message.lstrip().startswith(b"WITH slice") for message in proxy.seen)
    assert inserts == (3 if word == "swallow" else 4)
    assert result["requeued"] == list(range(1, 31))
    assert tuple(base.run(ONCE)[0]) == (30, 30)
    assert result["jobs"] == [row[0] for row in base.run("SELECT id FROM transcode_jobs ORDER BY track_id")]


@pytest.mark.parametrize("word", ["swallow", "drop"])
def test_a_crash_of_postgresql_at_commit(base: Base, word: str) -> None:
    base.run(UPLOADS, 30)
    server = base.server

    def crash() -> str:
        def revive() -> None:
            if word == "swallow":
                time.sleep(0.3)
            server.kill()
            server.start()

        thread = threading.Thread(target=revive)
        thread.start()
        if word == "drop":
            thread.join(PATIENCE)
        return word

    with Proxy(server, at_commit(2, crash)) as proxy:
        result = run(options(base, database_url=server.url(base.name, port=proxy.port), batch_size=10))
    assert sorted(result["requeued"]) == list(range(1, 31))
    assert tuple(base.run(ONCE)[0]) == (30, 30)
    assert sorted(result["jobs"]) == [row[0] for row in base.run("SELECT id FROM transcode_jobs ORDER BY id")]


def test_a_connection_that_falls_silent_at_commit(base: Base) -> None:
    base.run(UPLOADS, 30)
    with Proxy(base.server, at_commit(2, lambda: "hang")) as proxy:
        url = base.server.url(base.name, port=proxy.port)
        result = run(options(base, database_url=url, batch_size=10, statement_timeout=1))
    assert result["requeued"] == list(range(1, 31))
    assert tuple(base.run(ONCE)[0]) == (30, 30)


def test_a_terminated_server_process_is_no_failure(base: Base) -> None:
    base.run(UPLOADS, 30)

    def terminate() -> str:
        base.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'veza%'")
        return "pass"

    with Proxy(base.server, at_commit(2, terminate)) as proxy:
        result = run(options(base, database_url=base.server.url(base.name, port=proxy.port), batch_size=10))
    assert result["requeued"] == list(range(1, 31))
    assert tuple(base.run(ONCE)[0]) == (30, 30)


def killer(place: int, victim: list[subprocess.Popen[str]]) -> Callable[[bytes], str]:
    """Return what a proxy does with a statement: at that place it kills the victim, and the statement is lost."""
    seen = itertools.count()

    def kill(_message: bytes) -> str:
        if next(seen) == place:
            victim[0].kill()
            return "swallow"
        return "pass"

    return kill


def test_killed_at_any_statement_the_next_run_completes_the_work(base: Base, tmp_path: Path) -> None:
    base.run(UPLOADS, 30)
    counting = Proxy(base.server, lambda _unused: "pass")
    with counting as proxy:
        run(options(base, database_url=base.server.url(base.name, port=proxy.port), batch_size=15), check=False)
    statements = len(counting.seen)
    base.run("TRUNCATE transcode_jobs")
    first = next(place for place, message in enumerate(counting.seen) if message.lstrip().startswith(b"WITH slice"))
    for place in range(first, statements + 1):
        victim: list[subprocess.Popen[str]] = []
        kill = killer(place, victim)
        with Proxy(base.server, kill) as proxy:
            given = options(base, database_url=base.server.url(base.name, port=proxy.port), batch_size=15)
            victim.append(start(given, tmp_path))
            victim[0].communicate(timeout=PATIENCE)
        run(options(base))
        assert tuple(base.run(ONCE)[0]) == (30, 30), place
        base.run("TRUNCATE transcode_jobs")


def test_a_database_that_stays_away_leaves_the_batch_unsure(base: Base) -> None:
    base.run(UPLOADS, 30)
    with Proxy(base.server, vanishing(2)) as proxy:
        given = options(base, database_url=base.server.url(base.name, port=proxy.port), batch_size=10)
        with pytest.raises(VezaError, match="is unknown: run again") as failure:
            run(given, sleep=lambda _unused: None)
    details = failure.value.details
    assert details["changed"]
    assert details["requeued"] == list(range(1, 11))
    assert details["unsure_tracks"] == list(range(11, 21))
    assert hidden(str(details) + failure.value.message)
    result = run(options(base))
    assert result["requeued"] == list(range(21, 31))
    assert tuple(base.run(ONCE)[0]) == (30, 30)


def test_a_database_that_does_not_answer_is_given_up_in_time(base: Base) -> None:
    base.run(UPLOADS, 1)
    connection = base.server.connect(base.name)
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE tracks IN ACCESS EXCLUSIVE MODE")
    began = time.monotonic()
    with pytest.raises(VezaError, match="statement timeout"):
        run(options(base, statement_timeout=0.5))
    assert time.monotonic() - began < BUSY
    connection.close()


# Undone


def test_what_no_worker_touched_is_undone(base: Base) -> None:
    base.run(UPLOADS, 6)
    jobs = run(options(base))["jobs"]
    base.run("UPDATE transcode_jobs SET status = 'processing', attempts = 1 WHERE id = %s", jobs[0])
    base.run("UPDATE transcode_jobs SET attempts = 1 WHERE id = %s", jobs[1])
    base.run("DELETE FROM transcode_jobs WHERE id = %s", jobs[2])
    worker = base.server.connect(base.name)
    worker.autocommit = False
    worker.cursor().execute("SELECT FROM transcode_jobs WHERE id = %s FOR UPDATE", (jobs[3],))
    given = {"database_url": base.url, "state": "absent", "jobs": [*jobs, jobs[0]], "batch_size": 4}

    foreseen = run(given, check=True)
    assert foreseen["jobs"] == jobs[3:]
    assert base.one("SELECT count(*) FROM transcode_jobs") == 5
    result = run(given)
    worker.close()
    assert result["changed"]
    assert result["jobs"] == jobs[4:]
    assert [(kept["job"], kept["reason"], kept["detail"]) for kept in result["kept"]] == [
        (jobs[0], "started", "status processing, attempts 1"),
        (jobs[1], "started", "status pending, attempts 1"),
        (jobs[2], "gone", "no such job: undone before, or deleted"),
        (jobs[3], "locked", "another transaction holds it: a worker is taking it"),
    ]
    again = run({**given, "jobs": jobs[4:]})
    assert not again["changed"]
    assert [kept["reason"] for kept in again["kept"]] == ["gone", "gone"]
    # Undone, a track lacks its job again.
    assert run(options(base))["requeued"] == [3, 5, 6]


def test_what_an_audit_inserted_is_undone_by_its_incident(bare_lab: Lab, tmp_path: Path) -> None:
    backend = with_a_backend(tmp_path)
    with contextlib.closing(psycopg2.connect(bare_lab.urls["database"])) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("INSERT INTO tracks (title) VALUES ('one'), ('two'), ('three') RETURNING id")
        tracks = [row[0] for row in cursor.fetchall()]
        jobs = []
        for track in tracks:
            cursor.execute(f"{JOB} RETURNING id", (track, "pending", 0))
            jobs += cursor.fetchone()
        cursor.execute("UPDATE transcode_jobs SET status = 'done', attempts = 1 WHERE id = %s", (jobs[0],))

        def left() -> list[int]:
            cursor.execute("SELECT id FROM transcode_jobs ORDER BY id")
            return [row[0] for row in cursor.fetchall()]

        def undo(*arguments: str, code: int = 0) -> str:
            log = tmp_path / f"{next(NUMBERS)}.log"
            given = ("-i", backend, "-e", f"veza_incident_dir={tmp_path}/incidents", *arguments)
            assert Playbook(bare_lab, "undo_requeue_rabbitmq", *given, log=log).start().wait(PATIENCE) == code
            return log.read_text()

        assert "no transcode jobs that were inserted" in undo(code=2)
        record_of(jobs[:2], tracks[:2], tmp_path / "incidents", bare_lab)
        assert "1 jobs would be deleted; left alone: 1 started." in undo("--check")
        assert left() == jobs
        said = undo()
        assert "1 jobs deleted; left alone: 1 started." in said
        assert left() == [jobs[0], jobs[2]]
        (record,) = (tmp_path / "incidents").glob("*/*.jsonl")
        before = record.read_text()
        assert '"name":"undo_requeue"' in before.replace(" ", "")
        again = undo()
        assert "0 jobs deleted; left alone: 1 gone, 1 started." in again
        assert "changed=0" in again
        assert record.read_text() == before

        # What a run leaves that is killed between the deletion and its record.
        *noted, told = before.splitlines(keepends=True)
        assert '"undo"' in noted[-1]
        record.write_text("".join(noted))
        assert "0 jobs would be deleted; left alone: 1 started. 1 were deleted by an earlier run" in undo("--check")
        assert record.read_text() == "".join(noted)
        assert "0 jobs deleted; left alone: 1 started. 1 were deleted by an earlier run" in undo()
        *_noted, late = record.read_text().splitlines()
        for line in (told, late):
            data = json.loads(line)["data"]
            assert (data["name"], data["jobs"], data["tracks"]) == ("undo_requeue", [jobs[1]], [tracks[1]])
        before = record.read_text()
        assert "changed=0" in undo()
        assert record.read_text() == before
        cursor.execute("DELETE FROM transcode_jobs")
        cursor.execute("DELETE FROM tracks")


def with_a_backend(directory: Path) -> str:
    """Return an inventory without which the roles do nothing: a backend that nobody asks."""
    inventory = directory / "hosts"
    inventory.write_text("[veza_app_backend]\nnobody ansible_connection=local veza_api_url=http://127.0.0.1:1\n")
    return str(inventory)


def record_of(jobs: list[int], tracks: list[int], directory: Path, lab: Lab) -> None:
    """Write the record of an incident whose audit has inserted jobs."""
    about = {"dir": str(directory), "site": "{{ veza_site }}"}
    action = {"name": "transcode_requeue", "target": "database", "changed": True, "jobs": jobs, "result": "as asked"}
    action["tracks"] = tracks
    opened = {**about, "state": "opened", "data": {"cause": "killed"}}
    appended = {**about, "state": "appended", "type": "action", "key": "requeue", "data": action}
    tasks = [{"veza.rabbitmq.incident": opened}, {"veza.rabbitmq.incident": appended}]
    play = directory.parent / "record.yml"
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    log = directory.parent / "record.log"
    assert Playbook(lab, str(play.with_suffix("")), log=log).start().wait(PATIENCE) == 0, log.read_text()


def test_an_undo_that_stops_in_the_middle_records_what_it_did(base: Base, bare_lab: Lab, tmp_path: Path) -> None:
    base.run(UPLOADS, 4)
    jobs = run(options(base))["jobs"]
    record_of(jobs, [1, 2, 3, 4], tmp_path / "incidents", bare_lab)
    (record,) = (tmp_path / "incidents").glob("*/*.jsonl")

    def undo(code: int) -> str:
        log, given = tmp_path / f"{next(NUMBERS)}.log", tmp_path / "given.json"
        given.write_text(json.dumps({
            "veza_database_url": base.url, "veza_incident_dir": f"{tmp_path}/incidents",
            "veza_transcode_requeue": {"batch_size": 2},
        }))  # fmt: skip
        playbook = Playbook(
            bare_lab, "undo_requeue_rabbitmq", "-i", with_a_backend(tmp_path), "-e", f"@{given}", log=log
        )
        assert playbook.start().wait(PATIENCE) == code, log.read_text()
        return log.read_text()

    raises = "BEGIN RAISE 'job % is kept', OLD.id; END"
    base.run(f"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $${raises}$$")
    kept = f"FOR EACH ROW WHEN (OLD.id = {jobs[3]}) EXECUTE FUNCTION keep()"
    base.run(f"CREATE TRIGGER kept BEFORE DELETE ON transcode_jobs {kept}")
    assert f"job {jobs[3]} is kept" in undo(2)
    stopped = actions_of(record)[-1]
    assert (stopped["name"], stopped["jobs"], stopped["tracks"]) == ("undo_requeue", jobs[:2], [1, 2])
    base.run("DROP TRIGGER kept ON transcode_jobs")
    assert "2 jobs deleted; left alone: none. 2 were deleted by an earlier run" in undo(0)
    whole = actions_of(record)[-1]
    assert (whole["name"], whole["jobs"], whole["tracks"]) == ("undo_requeue", jobs, [1, 2, 3, 4])
    assert "changed=0" in undo(0)


def test_a_batch_of_which_nobody_knows_is_found_by_the_next_audit(base: Base, bare_lab: Lab, tmp_path: Path) -> None:
    base.run(UPLOADS, 6)
    play = tmp_path / "requeue.yml"
    about = {"dir": f"{tmp_path}/incidents", "site": "{{ veza_site }}"}
    opened = {**about, "state": "opened", "lease": "acquired", "data": {"cause": "killed"}}
    role = {"name": "veza.rabbitmq.outage_audit", "tasks_from": "requeue"}
    drained = {"queues": [{"name": "transcode_jobs", "drained": True, "messages": 0}]}
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [
        {"veza.rabbitmq.incident": opened, "register": "opened"},
        {"veza.rabbitmq.incident": {**about, "state": "read"}, "register": "__outage_audit_record"},
        {"ansible.builtin.include_role": role, "vars": {
            "__outage_audit_start": ago(hours=2), "__outage_audit_end": ago(minutes=30),
            "__outage_audit_window": {"start": ago(hours=2), "end": ago(minutes=29)},
            "__outage_audit_incident": "{{ opened.id }}", "outage_audit_lease_token": "{{ opened.token }}",
            "outage_audit_drain": drained,
        }},
        {"veza.rabbitmq.incident": {**about, "lease": "released", "token": "{{ opened.token }}"}},
    ]}]))  # fmt: skip

    def audit(port: int) -> list[dict[str, Any]]:
        log, given = tmp_path / f"{next(NUMBERS)}.log", tmp_path / "given.json"
        given.write_text(json.dumps({
            "veza_database_url": base.server.url(base.name, port=port), "veza_incident_dir": f"{tmp_path}/incidents",
            "veza_transcode_requeue": {"batch_size": 2, "statement_timeout": 5, "deliverable_check": "skip"},
        }))  # fmt: skip
        playbook = Playbook(
            bare_lab, str(play.with_suffix("")), "-i", with_a_backend(tmp_path), "-e", f"@{given}", log=log
        )
        assert playbook.start().wait(PATIENCE) == 0, log.read_text()
        (record,) = (tmp_path / "incidents").glob("*/*.jsonl")
        return actions_of(record)

    with Proxy(base.server, vanishing(2)) as proxy:
        [stopped] = audit(proxy.port)
    assert (stopped["tracks"], stopped["incomplete"]) == ([1, 2], True)
    assert tuple(base.run(ONCE)[0]) == (4, 4)
    _stopped, whole = audit(base.server.port)
    assert whole["tracks"] == [1, 2, 3, 4, 5, 6]
    assert whole["jobs"] == [row[0] for row in base.run("SELECT id FROM transcode_jobs ORDER BY id")]
    assert tuple(base.run(ONCE)[0]) == (6, 6)
    *_before, again = audit(base.server.port)
    assert again["jobs"] == []


def actions_of(record: Path) -> list[dict[str, Any]]:
    """Return what the record of an incident has as done."""
    events = [json.loads(line) for line in record.read_text().splitlines()]
    return [event["data"] for event in events if event["type"] == "action"]


def test_a_worker_that_takes_the_job_meanwhile_keeps_it(base: Base) -> None:
    base.run(UPLOADS, 1)
    jobs = run(options(base))["jobs"]

    def take(message: bytes) -> str:
        if message.lstrip().startswith(b"WITH untried"):
            base.run("UPDATE transcode_jobs SET status = 'processing', attempts = 1")
        return "pass"

    with Proxy(base.server, take) as proxy:
        url = base.server.url(base.name, port=proxy.port)
        result = run({"database_url": url, "state": "absent", "jobs": jobs})
    assert not result["changed"]
    assert result["kept"][0]["reason"] == "started"


@pytest.mark.parametrize("word", ["swallow", "drop"])
def test_a_lost_commit_of_an_undo_is_looked_up(base: Base, word: str) -> None:
    base.run(UPLOADS, 3)
    jobs = run(options(base))["jobs"]
    with Proxy(base.server, at_commit(1, lambda: word)) as proxy:
        url = base.server.url(base.name, port=proxy.port)
        result = run({"database_url": url, "state": "absent", "jobs": jobs})
    assert result["jobs"] == jobs
    assert base.one("SELECT count(*) FROM transcode_jobs") == 0


# Other schemas, other servers, other people


def test_uuids(empty: Base) -> None:
    empty.run(TABLES.format(**UUID))
    empty.run(INDEX)
    empty.run(UPLOADS, 5)
    result = run(options(empty, batch_size=2))
    assert sorted(result["requeued"]) == sorted(row[0] for row in empty.run("SELECT id::text FROM tracks"))
    assert not run(options(empty))["changed"]
    shouted = [job.upper() for job in result["jobs"]]
    undone = run({"database_url": empty.url, "state": "absent", "jobs": shouted})
    assert undone["kept"] == []
    assert sorted(undone["jobs"]) == sorted(result["jobs"])


def test_ids_of_a_fixed_length(empty: Base) -> None:
    padded = "lpad(nextval('{}')::text, 26, '0')"
    empty.run("CREATE SEQUENCE a; CREATE SEQUENCE b")
    columns = {key: f"char(26) DEFAULT {padded.format(sequence)}" for key, sequence in (("id", "a"), ("job", "b"))}
    empty.run(TABLES.format(**columns, ref="char(26)", at="timestamptz"))
    empty.run(INDEX)
    empty.run(UPLOADS, 20)
    result = run(options(empty, batch_size=5))
    assert (len(result["requeued"]), result["batches"]) == (20, 4)
    undone = run({"database_url": empty.url, "state": "absent", "jobs": result["jobs"]})
    assert (undone["jobs"], undone["kept"]) == (result["jobs"], [])


def test_names_that_need_quotes_an_enum_and_no_zone(empty: Base) -> None:
    empty.run("""
        CREATE SCHEMA "My.App";
        CREATE TYPE "My.App".state AS ENUM ('todo', 'doing', 'done', 'ready');
        CREATE TABLE "My.App"."The ""Tracks"" here" ("Id" serial PRIMARY KEY, "HLS" "My.App".state, "At" timestamp);
        CREATE TABLE "My.App"."Jobs" ("Id" serial, "Order" int, "State" "My.App".state, n int, "At" timestamp);
        CREATE UNIQUE INDEX ON "My.App"."Jobs" ("Order") WHERE "State" IN ('todo', 'doing');
        INSERT INTO "My.App"."The ""Tracks"" here" ("At")
        SELECT (now() - interval '1 hour') AT TIME ZONE 'Asia/Tokyo' FROM generate_series(1, 3)
    """)
    schema = {
        "tracks": {"table": '"My.App"."The ""Tracks"" here"', "id": "Id", "created_at": "At", "status": "HLS"},
        "jobs": {"table": '"My.App".Jobs', "id": "Id", "track_id": "Order", "status": "State", "attempts": "n"},
    }
    schema["jobs"]["created_at"] = "At"
    given = options(empty, schema=schema, live_statuses=["todo", "doing"])
    with pytest.raises(BadInput, match="Say in database_timezone"):
        run(given)
    assert run({**given, "database_timezone": "Asia/Tokyo"})["requeued"] == [1, 2, 3]
    [(at,)] = empty.run("""SELECT DISTINCT "At" AT TIME ZONE 'Asia/Tokyo' FROM "My.App"."Jobs" """)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    assert not run({**given, "database_timezone": "Asia/Tokyo"})["changed"]
    # Read as UTC, the tracks lie nine hours ahead.
    assert run({**given, "database_timezone": "UTC"})["candidates"] == 0


def test_a_wrong_schema_is_named(base: Base) -> None:
    with pytest.raises(BadInput, match="has no table songs"):
        run(options(base, schema={"tracks": {"table": "songs"}}))
    with pytest.raises(BadInput, match="tracks has no column state; it has .*hls_status"):
        run(options(base, schema={"tracks": {"status": "state"}}))
    with pytest.raises(BadInput, match="not the name of a table"):
        run(options(base, schema={"tracks": {"table": "a.b.c"}}))


def documented_grants() -> list[str]:
    found = re.findall(r"V\((GRANT .*?;)\)", " ".join(module.DOCUMENTATION.replace("\\)", "\0").split()))
    return [grant.replace("\0", ")") for grant in found]


def test_the_documented_grants_are_enough_and_each_is_needed(base: Base) -> None:
    grants = documented_grants()
    assert len(grants) == 4
    base.run("CREATE ROLE requeue LOGIN PASSWORD 'few'")
    base.run("REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO requeue")
    base.run("GRANT USAGE ON SEQUENCE transcode_jobs_id_seq TO requeue")
    base.run(UPLOADS, 4)
    url = base.server.url(base.name, "requeue", "few")
    for grant in grants:
        base.run(grant)
    jobs = run(options(base, database_url=url))["jobs"]
    undo = {"database_url": url, "state": "absent", "jobs": jobs}
    assert run(undo)["jobs"] == jobs
    for grant in grants:
        base.run(grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
        given = undo if "DELETE" in grant else options(base, database_url=url)
        with pytest.raises(Refused, match="lacks privileges: (SELECT|INSERT|UPDATE|DELETE) "):
            run(given, check=True)
        base.run(grant)
    base.run("REVOKE ALL ON SEQUENCE transcode_jobs_id_seq FROM requeue")
    with pytest.raises(Refused, match="lacks privileges: USAGE ON SEQUENCE public.transcode_jobs_id_seq"):
        run(options(base, database_url=url), check=True)
    base.run("DROP OWNED BY requeue; DROP ROLE requeue")


def test_row_level_security_is_an_error_not_a_smaller_answer(base: Base) -> None:
    base.run(UPLOADS, 2)
    base.run("CREATE ROLE half LOGIN PASSWORD 'few'")
    base.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO half; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO half")
    base.run("ALTER TABLE tracks ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON tracks USING (id = 1)")
    with pytest.raises(VezaError, match="row-level security"):
        run(options(base, database_url=base.server.url(base.name, "half", "few")))
    base.run("DROP OWNED BY half; DROP ROLE half")


def test_a_standby_is_refused(base: Base) -> None:
    base.run(UPLOADS, 1)
    standby = Postgres()
    try:
        standby.command(
            "pg_basebackup", "-D", str(standby.dir / "data"), "-h", "127.0.0.1", "-p", str(base.server.port),
            "-U", "postgres", "-R", "-c", "fast", PGPASSWORD=PASSWORD
        )  # fmt: skip
        standby.start()
        with pytest.raises(Refused, match="read-only standby"):
            run(options(base, database_url=standby.url(base.name)))
    finally:
        standby.remove()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:{wrong}@127.0.0.1:{port}/{name}",
        "postgresql://postgres:{raw}@127.0.0.1:{port}/{name}",
        "postgresql://postgres:{quoted}@127.0.0.1:1/{name}",
        "postgresql://postgres:{quoted}@127.0.0.1:{port}/nothing",
        "host=127.0.0.1 port={port} user=postgres dbname={name} password='{raw}' sslmode=nonsense",
        "host=127.0.0.1 port={port} user=postgres dbname={name} password={raw}",
        "postgresql://127.0.0.1:{port}/{name}?user=postgres&password={quoted}&sslmode=nonsense",
    ],
)
def test_the_password_is_in_no_message(base: Base, tmp_path: Path, url: str) -> None:
    wrong = PASSWORD + "-but-wrong"
    words = {"raw": PASSWORD, "quoted": quote(PASSWORD, safe=""), "wrong": quote(wrong, safe="")}
    given = options(base, database_url=url.format(port=base.server.port, name=base.name, **words))
    with pytest.raises(VezaError) as failure:
        run(given)
    text = failure.value.message + json.dumps(failure.value.details)
    for piece in (PASSWORD, quote(PASSWORD, safe=""), "s3cret", "nted"):
        assert piece not in text
    code, text = ansible(given, tmp_path, "-vvvv")
    assert code != 0
    for piece in (PASSWORD, quote(PASSWORD, safe=""), "s3cret", "nted"):
        assert piece not in text


def test_a_planted_password_in_the_data_is_scrubbed(base: Base) -> None:
    base.run("ALTER TABLE tracks ADD note text")
    text = sql.Literal(PASSWORD).as_string(base.server.connect(base.name))
    with pytest.raises(VezaError, match=r"\*{8}") as failure:
        run(options(base, predicate=f"{text}::int = 1"))
    assert hidden(failure.value.message)
