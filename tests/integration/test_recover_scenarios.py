# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of an outage when the recovery is previewed, repeated, doubled or interrupted; and two controls.

Every scenario has a lab of its own, a real outage under load, and the ledger for a judge. The controls show that the
ledger can say no: they must fail.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg2

from tests.integration.recovery import assert_good, interrupt, records
from tests.lab import broker, processes, scenario, stack
from tests.lab.outage import PATIENCE, Outage, outage
from tests.lab.scenario import Playbook
from tests.lab.stack import Lab, Options

RUNBOOK_SQL = """
    INSERT INTO transcode_jobs (track_id, status, attempts, created_at)
    SELECT id, 'pending', 0, NOW() FROM tracks
    WHERE created_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)
    AND hls_status IS NULL
"""
"""As it stands in the runbook; only the bounds are filled in."""

START = "Start it with the operator's own command"
PHASES = (
    "Look at the broker's own host",
    "Take the lease, and open the incident or go on with the open one",
    START,
    "Flush the DMCA cache of each API instance",
    "backlog_drain : Wait until the queues have drained",
    "Insert the transcode jobs that are missing",
    "Write the report for people",
)
"""The name of a task of each phase, in the order in which they come."""


def changed(text: str) -> int:
    figures = scenario.recap(text)
    assert figures, text
    return sum(host["changed"] for host in figures.values())


def incident(lab: Lab) -> dict[str, Any]:
    """Return the one incident of a lab."""
    found = [path for path in Path(lab.paths["incidents"]).glob("*/*.json") if path.stem != "lease"]
    assert len(found) == 1, found
    document: dict[str, Any] = json.loads(found[0].read_text())
    return document


def test_check_mode_foretells_the_actions_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    with outage() as it:
        plan = tmp_path / "plan.json"
        preview = it.run("recover_rabbitmq", "--check", "-e", f"outage_recover_plan_file={plan}")
        foretold = set(re.findall(r"would (\S+) on (\S+)", preview))
        assert records(it.lab) == {}, "check mode wrote a record"
        assert broker.status(it.lab) == "stopped", "check mode started the broker"

        other = json.loads(plan.read_text())
        other["outage_recover_approved"]["steps"] = []
        text, status = attempt(it.lab, "-e", json.dumps(other))
        assert status != 0
        assert "not what was approved" in text, text
        assert records(it.lab) == {}, "it did something else than what was approved"
        assert broker.status(it.lab) == "stopped"

        # Who saw it begin knows better than the evidence, also in a recovery.
        began = datetime.fromtimestamp(it.killed_at - 2, UTC).isoformat(timespec="milliseconds")
        first = it.run("recover_rabbitmq", "-e", f"@{plan}", "-e", f"outage_audit_start={began}")
        known = incident(it.lab)["record"]["outage"]
        assert (known["start"], known["start_source"]) == (began.replace("+00:00", "Z"), "given by a person")
        taken = {(action["name"], action["target"]) for action in incident(it.lab)["record"]["actions"]}
        assert foretold == taken
        assert changed(first) > 0
        before = records(it.lab)

        second = it.run("recover_rabbitmq")
        assert changed(second) == 0, second
        assert records(it.lab) == before, "a run on a healthy broker wrote into the record"
        assert_good(it.judge_audited())

        # Somebody audits it again, then a window of their own, each twice. What was replayed is done by now, so that
        # the first of two may have something else to say.
        it.run("audit_rabbitmq")
        assert changed(again := it.run("audit_rabbitmq")) == 0, again
        ended = datetime.fromtimestamp(time.time() - 1, UTC).isoformat()
        window = ("-e", f"outage_audit_start={began}", "-e", f"outage_audit_end={ended}")
        before = records(it.lab)
        rehearsed = it.run("audit_rabbitmq", "--check", *window)
        assert records(it.lab) == before, "check mode wrote into the record"
        for backend in ("backend-1", "backend-2"):
            assert f"flush the DMCA cache of {backend}" in rehearsed, rehearsed
        assert "transcodes: " in rehearsed, rehearsed
        # It may say that a message could still be on its way, but not that it does not know its own variables.
        assert "is undefined" not in rehearsed, rehearsed
        assert changed(it.run("audit_rabbitmq", *window)) > 0
        before = records(it.lab)
        assert changed(it.run("audit_rabbitmq", *window)) == 0
        assert records(it.lab) == before
        assert_good(it.judge_audited())


def test_a_broker_that_was_stopped_is_started_only_when_a_person_says_so() -> None:
    lab = stack.up(f"scenario-{os.getpid()}", Options())
    try:
        broker.stop(lab)
        with webhook() as (url, calls):
            hook = ("-e", f"veza_notify_url={url}")
            for answer, arguments in ((204, ()), (500, ("-e", "outage_recover_start_stopped=false"))):
                calls.status = answer
                text, status = attempt(lab, *hook, *arguments)
                assert status != 0
                assert "[broker_stopped_on_purpose]" in text
                assert "outage_recover_start_stopped=true" in text
                assert broker.status(lab) == "stopped"
                assert records(lab) == {}, "a run that only asks wrote a record"
                assert ("could not be told: 500" in text) == (answer == 500), text
                assert url not in text, "the address of a webhook is a secret"
            assert [call["cause"] for call in calls.bodies] == ["broker_stopped_on_purpose"] * 2
            assert "outage_recover_start_stopped=true" in calls.bodies[0]["text"]
            text, status = attempt(lab, *hook, "-e", "outage_recover_start_stopped=true")
            assert status == 0, text
            assert len(calls.bodies) == 2, "nobody is called for what went well"
        assert broker.status(lab) == "running"
    finally:
        lab.down()


@dataclass
class Calls:
    """What a webhook was told, and what it answers."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    status: int = 204


@contextmanager
def webhook() -> Iterator[tuple[str, Calls]]:
    """Yield the address of a webhook that is listened to, and its calls."""
    calls = Calls()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            calls.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(calls.status)
            self.end_headers()

        def log_message(self, *_unused: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hooks/a-token-that-nobody-may-see", calls
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def attempt(lab: Lab, *arguments: str) -> tuple[str, int]:
    """Run a recovery; return what it printed, and its exit status."""
    log = lab.dir / "logs" / f"attempt-{time.monotonic_ns()}.log"
    playbook = Playbook(lab, "recover_rabbitmq", *arguments, log=log)
    status = playbook.start().wait(PATIENCE)
    return playbook.text(), status


def test_two_recoveries_at_the_same_time() -> None:
    with outage() as it:
        one, two = it.playbook("recover_rabbitmq").start(), it.playbook("recover_rabbitmq").start()
        statuses = (one.wait(PATIENCE), two.wait(PATIENCE))
        assert 0 in statuses, one.text() + two.text()
        for playbook, status in zip((one, two), statuses, strict=True):
            # Who was refused is told why: who holds the lease, or that the look was overtaken.
            assert status == 0 or re.search(r"\blease\b", playbook.text()), playbook.text()
        # The record is whole: every line can be read, and one incident was opened, not two.
        for text in records(it.lab).values():
            assert [json.loads(line)["seq"] for line in text.splitlines()] == list(range(1, text.count("\n") + 1))
        assert incident(it.lab)["record"]["open"] is False
        assert_good(it.judge_audited())


def test_interrupted_in_every_phase_and_run_again() -> None:
    with outage() as it:
        ask_to_stop(it)
        for number, phase in enumerate(PHASES):
            # A start that was interrupted may have started it all the same, and only a dead broker is started.
            if number <= PHASES.index(START) and broker.status(it.lab) != "stopped":
                broker.kill(it.lab)
            interrupt(it, phase)
        it.run("recover_rabbitmq")
        assert incident(it.lab)["record"]["open"] is False
        assert_good(it.judge_audited())


def ask_to_stop(it: Outage) -> None:
    """Ask a recovery to stop while it starts the broker: it does no more than that."""
    playbook = it.playbook("recover_rabbitmq").start()
    try:
        reached = processes.wait_until(lambda: playbook.ended() or f"{START}]" in playbook.text(), PATIENCE)
        assert reached, playbook.text()
        it.run("status_rabbitmq", "-e", "outage_report_abort=true")
        assert playbook.wait(PATIENCE) != 0, playbook.text()
    finally:
        playbook.end()
    assert "asked this run to stop" in playbook.text()
    assert "Flush the DMCA cache of each API instance]" not in playbook.text()


def test_the_controls() -> None:
    """Without an audit events are missing; with the runbook's INSERT run twice they are doubled."""
    # Two jobs for one track: only a schema without the index lets that happen.
    with outage(Options(unique_index=False)) as it:
        broker.start(it.lab)
        no_audit = it.judge(listed=frozenset())
        assert no_audit.invalid == ()
        assert {kind for kind, _id in no_audit.missing} == {"transcode", "dmca", "distribution", "search"}
        assert len(no_audit.missing) > 0
        assert no_audit.doubled == {}

        bounds = (it.killed_at - 5, time.time())
        for _time in range(2):
            execute(it.lab, RUNBOOK_SQL, *bounds)
        twice = it.judge(listed=frozenset())
        assert twice.invalid == ()
        assert len(twice.doubled) > 0
        # It did bring back what it was made for.
        assert "transcode" not in {kind for kind, _id in twice.missing}


def execute(lab: Lab, statement: str, *arguments: Any) -> None:
    connection = psycopg2.connect(lab.urls["database"], connect_timeout=30)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments)
    finally:
        connection.close()
