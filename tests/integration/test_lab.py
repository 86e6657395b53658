# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab itself: what the runbook says of Veza holds for the stand-in, and nothing stays when it is taken down."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
import yaml

from tests.lab import apps, broker, ports, processes, stack, state
from tests.lab.stack import Lab, LabError
from tests.lab.veza.eventbus import EventBus
from tests.lab.veza.events import Event
from tests.lab.veza.log import Logger

PATIENCE = 120.0
"""Seconds after which something has gone wrong, however busy the machine is."""


def eventually(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Wait until the condition holds; fail when it does not in time."""
    assert processes.wait_until(condition, timeout), "it did not come true in time"


class Veza:
    """What a test asks of the stand-in."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.backends = list(lab.urls["backends"])
        self.http = requests.Session()

    def post(self, path: str, body: dict[str, Any] | None = None, backend: str = "backend-1", **options: Any) -> Any:
        return self.http.post(self.lab.urls["backends"][backend] + path, json=body or {}, timeout=30, **options)

    def upload(self, **body: Any) -> int:
        answer = self.post("/api/v1/tracks", body)
        assert answer.status_code == 202
        return int(answer.json()["id"])

    def statuses(self, track: int) -> list[int]:
        urls = [f"{self.lab.urls['backends'][name]}/api/v1/tracks/{track}" for name in self.backends]
        return [self.http.get(url, timeout=30).status_code for url in urls]

    def sql(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.lab.urls["database"])
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query, arguments)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def effects(self, key: str) -> list[str]:
        return [row[0] for row in self.sql("SELECT dispatch FROM effects WHERE key = %s", key)]

    def attempts(self, key: str) -> list[dict[str, Any]]:
        lines = map(json.loads, Path(self.lab.paths["attempts"]).read_text().splitlines())
        return [line for line in lines if line["key"] == key]

    def drops(self, backend: str) -> list[dict[str, Any]]:
        lines = map(json.loads, (self.lab.dir / "logs" / f"{backend}.log").read_text().splitlines())
        return [line for line in lines if line["msg"] == "publish dropped"]


@pytest.fixture(scope="module")
def veza(lab: Lab) -> Veza:
    return Veza(lab)


@pytest.fixture
def broker_after(lab: Lab) -> Iterator[None]:
    """The test may do to the broker what it likes."""
    yield
    broker.start(lab)
    apps.wait(lab, PATIENCE)


def test_an_upload_is_transcoded_and_indexed(veza: Veza) -> None:
    track = veza.upload(title="one")
    eventually(lambda: veza.effects(f"transcode:{track}:1") and veza.effects(f"search:{track}:1"))
    assert veza.sql("SELECT hls_status, search_indexed_at IS NOT NULL FROM tracks WHERE id = %s", track) == [
        ("ready", True)
    ]
    (attempt,) = veza.attempts(f"transcode:{track}:1")
    assert veza.effects(f"transcode:{track}:1") == [attempt["dispatch"]] == [f"message:{attempt['message_id']}"]
    assert (attempt["attempt"], attempt["source"], attempt["redelivered"]) == (1, "message", False)


def test_a_distribution_is_submitted(veza: Veza) -> None:
    track = veza.upload(title="to spotify")
    distribution = veza.post(f"/api/v1/tracks/{track}/distribute", {"platform": "spotify"}).json()["id"]
    eventually(lambda: veza.effects(f"distribution:{distribution}:1"))
    assert veza.sql("SELECT status, platform FROM distributions WHERE id = %s", distribution) == [
        ("submitted", "spotify")
    ]


def test_caches_go_stale_until_the_worker_invalidates_them(lab: Lab, veza: Veza) -> None:
    track = veza.upload(title="infringing")
    assert veza.statuses(track) == [200, 200]
    apps.stop(lab, "worker-dmca")
    takedown = veza.post(f"/api/v1/tracks/{track}/takedown").json()["id"]
    assert veza.sql("SELECT dmca_blocked FROM tracks WHERE id = %s", track) == [(True,)]
    assert veza.statuses(track) == [200, 200]
    apps.start(lab, "worker-dmca")
    eventually(lambda: veza.effects(f"dmca:{takedown}:1"))
    assert veza.statuses(track) == [451, 451]


def test_a_flush_empties_the_cache_of_one_instance(lab: Lab, veza: Veza) -> None:
    flush = "/api/v1/admin/cache/dmca/flush"
    track = veza.upload(title="also infringing")
    assert veza.statuses(track) == [200, 200]
    veza.sql("UPDATE tracks SET dmca_blocked = true WHERE id = %s", track)
    assert veza.post(flush).status_code == 401
    assert veza.post(flush, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert veza.statuses(track) == [200, 200]
    answer = veza.post(flush, headers={"Authorization": f"Bearer {lab.credentials['api_admin_token']}"}).json()
    assert answer["instance"] == "backend-1"
    assert answer["flushed"] >= 1
    assert veza.statuses(track) == [451, 200]


def test_a_failing_task_is_republished_five_times_then_dead_lettered(lab: Lab, veza: Veza) -> None:
    def dead_letters() -> int:
        lines = lab.rabbitmqctl("-q", "list_queues", "-p", "/veza", "name", "messages").splitlines()
        return int(dict(line.split("\t") for line in lines)["transcode_jobs.dlq"])

    before = dead_letters()
    track = veza.upload(title="broken", poison=True)
    key = f"transcode:{track}:1"
    eventually(lambda: dead_letters() == before + 1)
    assert [attempt["attempt"] for attempt in veza.attempts(key)] == [1, 2, 3, 4, 5, 6]
    assert len({attempt["message_id"] for attempt in veza.attempts(key)}) == 1
    assert veza.effects(key) == []
    assert veza.sql("SELECT hls_status FROM tracks WHERE id = %s", track) == [("failed",)]


def test_a_job_is_carried_out_and_its_key_only_once(veza: Veza) -> None:
    (track,) = veza.sql("INSERT INTO tracks (title) VALUES ('lost') RETURNING id")[0]
    insert = "INSERT INTO transcode_jobs (track_id, status, attempts, created_at) VALUES (%s, 'pending', 0, now())"
    done = "SELECT count(*) FROM transcode_jobs WHERE track_id = %s AND status = 'done'"
    for number in (1, 2):
        veza.sql(insert, track)
        eventually(lambda number=number: veza.sql(done, track) == [(number,)])  # type: ignore[misc]
    dispatches = [attempt["dispatch"] for attempt in veza.attempts(f"transcode:{track}:1")]
    assert len(set(dispatches)) == 2
    assert veza.effects(f"transcode:{track}:1") == dispatches[:1]


def test_the_schema_refuses_a_second_live_job(veza: Veza) -> None:
    (track,) = veza.sql("INSERT INTO tracks (title, hls_status) VALUES ('done', 'ready') RETURNING id")[0]
    twice = (
        "INSERT INTO transcode_jobs (track_id, status, attempts, created_at) SELECT %s, s, 0, now() FROM unnest(%s) s"
    )
    with pytest.raises(psycopg2.errors.UniqueViolation):
        veza.sql(twice, track, ["processing", "processing"])
    veza.sql(twice, track, ["done", "failed"])


@pytest.mark.usefixtures("broker_after")
def test_an_outage_loses_events_and_ends_by_itself(lab: Lab, veza: Veza) -> None:
    before = apps.health(lab, "backend-1")
    broker.kill(lab)
    started = time.monotonic()
    waited = veza.upload(title="waits for the backoff")
    assert lab.options.backoff * 0.5 < time.monotonic() - started < lab.options.backoff + 15
    assert apps.health(lab, "backend-1")["eventbus"] == "degraded"
    # The quickest of several: any of them may be held up by whatever else the machine does.
    took = []
    for _upload in range(5):
        started = time.monotonic()
        lost = veza.upload(title="given up at once")
        took.append(time.monotonic() - started)
    assert min(took) < lab.options.backoff / 4
    drops = {drop["key"]: drop for drop in veza.drops("backend-1")}
    assert {f"{kind}:{track}:1" for kind in ("transcode", "search") for track in (waited, lost)} <= set(drops)
    assert drops[f"transcode:{lost}:1"].items() >= {
        ("level", "warn"),
        ("logger", "eventbus"),
        ("eventbus.status", "degraded"),
        ("kind", "transcode"),
        ("entity_id", str(lost)),
        ("queue", "transcode_jobs"),
        ("instance", "backend-1"),
    }
    broker.start(lab)
    eventually(lambda: apps.health(lab, "backend-1")["eventbus"] == "connected")
    after = apps.health(lab, "backend-1")
    assert (after["pid"], after["started_at"]) == (before["pid"], before["started_at"])
    assert after["buffered"] == 0
    track = veza.upload(title="after the outage")
    eventually(lambda: veza.effects(f"transcode:{track}:1"))
    assert veza.attempts(f"transcode:{lost}:1") == []


@pytest.mark.usefixtures("broker_after")
def test_what_was_queued_survives_a_kill_and_is_worked_off(lab: Lab, veza: Veza) -> None:
    apps.stop(lab, "worker-transcode")
    tracks = [veza.upload(title=f"queued {number}") for number in range(10)]
    broker.kill(lab)
    broker.start(lab)
    apps.start(lab, "worker-transcode")
    eventually(lambda: all(veza.effects(f"transcode:{track}:1") for track in tracks))


def test_a_wedged_worker_holds_its_queue_until_it_is_restarted(lab: Lab, veza: Veza) -> None:
    worker = lab.running("worker-search")
    assert worker is not None
    worker.freeze()
    track = veza.upload(title="unsearchable")
    eventually(lambda: veza.effects(f"transcode:{track}:1"))
    assert veza.effects(f"search:{track}:1") == []
    apps.restart(lab, "worker-search")
    eventually(lambda: veza.effects(f"search:{track}:1"))


def sentry_events(lab: Lab, **parameters: Any) -> requests.Response:
    url = f"{lab.urls['sentry']}/api/0/organizations/veza/events/"
    headers = {"Authorization": f"Bearer {lab.credentials['sentry_token']}"}
    parameters = {"field": ["id", "timestamp", "kind"], "query": "eventbus.status:degraded", **parameters}
    return requests.get(url, params=parameters, headers=headers, timeout=30)


def test_sentry_answers_page_by_page(lab: Lab) -> None:
    for number in range(5):
        event = {"event_id": f"{number:032x}", "timestamp": "2020-01-02T03:04:05Z", "message": "m", "level": "error"}
        event["tags"] = {"eventbus.status": "degraded", "kind": f"k{number}"}  # type: ignore[assignment]
        assert requests.post(f"{lab.urls['sentry']}/api/1/store/", json=event, timeout=30).status_code == 200
    window = {"start": "2020-01-02T03:00:00Z", "end": "2020-01-02T04:00:00Z", "per_page": "2"}
    seen: list[str] = []
    answer = sentry_events(lab, **window)
    while True:
        seen += [row["kind"] for row in answer.json()["data"]]
        following = answer.links["next"]
        if following["results"] == "false":
            break
        answer = sentry_events(lab, **window, cursor=following["cursor"])
    assert sorted(seen) == [f"k{number}" for number in range(5)]


def test_sentry_limits_its_rate_when_told_to(lab: Lab) -> None:
    requests.post(f"{lab.urls['sentry']}/_lab/limit", json={"reads": 1, "retry_after": 7}, timeout=30)
    limited = sentry_events(lab)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert sentry_events(lab).status_code == 200


def test_the_inventory_gives_ansible_what_it_needs(lab: Lab) -> None:
    argv = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(lab.inventory), "--list"]
    document = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout)
    hosts = document["_meta"]["hostvars"]
    assert set(hosts) == {"rabbitmq", "backend-1", "backend-2", "workers"}
    assert hosts["backend-2"]["veza_api_url"] == lab.urls["backends"]["backend-2"]
    assert hosts["rabbitmq"]["veza_rabbitmq_password"] == lab.credentials["veza"]["password"]
    for path in (lab.inventory / "group_vars" / "all.yml", lab.dir / "lab.json"):
        assert path.stat().st_mode & 0o077 == 0
    monitor = (hosts["workers"]["veza_rabbitmq_management_user"], lab.credentials["monitor"]["password"])
    queues = requests.get(f"{lab.urls['management']}/api/queues/%2Fveza", auth=monitor, timeout=30).json()
    assert {queue["name"] for queue in hosts["rabbitmq"]["veza_queues"]} < {queue["name"] for queue in queues}


def test_unfinished_work_can_be_listed(lab: Lab, veza: Veza) -> None:
    variables = yaml.safe_load((lab.inventory / "group_vars" / "all.yml").read_text())
    connection = psycopg2.connect(variables["veza_database_url"])
    window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    veza.sql("INSERT INTO tracks (title, created_at) VALUES ('old', '2020-01-01T12:00:00Z')")
    with connection, connection.cursor() as cursor:
        found = {}
        for queue in variables["veza_queues"]:
            cursor.execute(queue["unfinished_sql"], window)
            assert cursor.description is not None
            assert [column.name for column in cursor.description] == ["entity_id", "at"]
            found[queue["kind"]] = cursor.rowcount
    connection.close()
    assert found == {"transcode": 1, "search": 1, "distribution": 0, "dmca": 0}


def test_the_broker_is_driven_by_commands(bare_lab: Lab) -> None:
    variables = yaml.safe_load((bare_lab.inventory / "group_vars" / "all.yml").read_text())
    commands = variables["veza_rabbitmq_service_commands"]

    def run(verb: str) -> int:
        return subprocess.run(commands[verb], cwd="/", env={}, capture_output=True, timeout=240, check=False).returncode

    assert run("status") == 0
    assert run("stop") == 0
    assert run("status") == 3
    assert not broker.serves(bare_lab)
    assert run("start") == 0
    assert run("status") == 0
    assert broker.serves(bare_lab)
    log = Path(bare_lab.paths["broker_log"]).read_text()
    assert "SIGTERM received - shutting down" in log
    broker.kill(bare_lab)
    assert run("status") == 3
    assert run("start") == 0


@contextlib.contextmanager
def bus_of(lab: Lab, *, confirms: bool, limit: float = 0.5) -> Iterator[EventBus]:
    logger = Logger("eventbus", "test")
    bus = EventBus(lab.urls["amqp"], limit=limit, confirms=confirms, heartbeat=2, level="warn", logger=logger)
    try:
        eventually(lambda: bus.state == "connected")
        yield bus
    finally:
        bus.close()


@pytest.mark.parametrize("confirms", [True, False])
def test_a_dying_broker_takes_events_unseen_only_without_confirms(
    bare_lab: Lab, confirms: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    process = bare_lab.running("broker")
    assert process is not None
    with bus_of(bare_lab, confirms=confirms) as bus:
        process.freeze()
        try:
            # Written into a socket from which nobody reads any more.
            published = bus.publish(Event("search", 77))
        finally:
            broker.kill(bare_lab)
            broker.start(bare_lab)
    dropped = [line for line in capfd.readouterr().out.splitlines() if "publish dropped" in line]
    assert published is not confirms
    assert len(dropped) == (1 if confirms else 0)
    depth = bare_lab.rabbitmqctl("-q", "list_queues", "-p", "/veza", "name", "messages").splitlines()
    assert "search_index_updates\t0" in depth


def test_an_event_for_a_missing_queue_is_dropped_not_forgotten(
    bare_lab: Lab, capfd: pytest.CaptureFixture[str]
) -> None:
    # So late a limit that a busy machine confirms in time.
    with bus_of(bare_lab, confirms=True, limit=5.0) as bus:
        broker.api(bare_lab, "DELETE", "/api/queues/%2Fveza/search_index_updates")
        try:
            assert bus.publish(Event("search", 78)) is False
        finally:
            broker.define(bare_lab)
        assert '"key": "search:78:1"' in capfd.readouterr().out
        assert bus.publish(Event("search", 79)) is True
    broker.api(bare_lab, "DELETE", "/api/queues/%2Fveza/search_index_updates/contents")


def test_a_lab_is_brought_up_once(bare_lab: Lab) -> None:
    with pytest.raises(LabError, match="is up already"):
        stack.up(bare_lab.name)
    assert bare_lab.running("broker") is not None


@pytest.mark.parametrize("started", ["broker", "postgres"])
def test_nothing_stays_of_a_lab_that_was_killed_while_it_came_up(started: str) -> None:
    """Killed as soon as it has begun to start the first server, and with both of them running."""
    name = f"killed-{os.getpid()}"
    directory = state.state_directory(name)
    child = subprocess.Popen([sys.executable, "-m", "tests.lab", "up", "--name", name], cwd=state.CHECKOUT)
    try:
        eventually(lambda: (directory / "logs" / f"{started}.log").exists() and list(processes.marked(str(directory))))
    finally:
        child.kill()
        child.wait()
    left = list(processes.marked(str(directory)))
    assert left, "it was killed before it started anything: the test shows nothing"
    numbers = json.loads((directory / "lab.json").read_text())["ports"]
    stack.down(name)
    assert not any(process.alive() for process in left)
    assert list(processes.marked(str(directory))) == []
    assert not directory.exists()
    assert all(ports.is_free(port) for port in numbers.values())
    assert stack.down(name) is False


def test_down_ends_only_what_the_lab_started(bare_lab: Lab) -> None:
    bystander = subprocess.Popen(["sleep", "60"], cwd=bare_lab.dir)
    other = socket.create_server(("127.0.0.1", 0))
    try:
        lab = stack.up(f"small-{os.getpid()}", stack.Options(apps=False))
        lab.record("forged", processes.Process(bystander.pid, 1))
        lab.down()
        assert bystander.poll() is None
        assert broker.serves(bare_lab)
        assert not lab.dir.exists()
    finally:
        bystander.kill()
        bystander.wait()
        other.close()
