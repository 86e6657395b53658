# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts on a real broker while nobody watches: what is done alone, what waits, and what an alert that repeats does."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab import broker, scenario, stack
from tests.lab.stack import Lab, Options

PATIENCE = 300.0
SAFE = ["broker_crashed"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = stack.up(f"scenario-{os.getpid()}", Options())
    try:
        yield lab
    finally:
        lab.down()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def answer(lab: Lab, since: str, *fingerprints: str) -> tuple[int, str]:
    """Answer these alerts that fire; return the exit status and what was printed."""
    firing = [{"fingerprint": one, "startsAt": since, "alertname": "RabbitMQUnreachable"} for one in fingerprints]
    variables = {
        "outage_alert_firing": firing,
        "outage_alert_safe_causes": SAFE,
        # Whatever an inventory says: an alert is no person.
        "veza_alertmanager_url": "",
    }
    log = lab.dir / "logs" / f"answer-{len(list((lab.dir / 'logs').glob('answer-*')))}.log"
    playbook = scenario.Playbook(lab, "answer_rabbitmq", "-e", json.dumps(variables), log=log)
    return playbook.start().wait(PATIENCE), playbook.text()


def records(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    """Return the events of each incident, oldest incident first."""
    found = sorted(Path(lab.paths["incidents"]).glob("*/*.jsonl"))
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in found}


@contextlib.contextmanager
def somebody_at_it(lab: Lab) -> Iterator[None]:
    """Have a run of another controller hold the lease."""
    (site,) = Path(lab.paths["incidents"]).iterdir()
    file = site / "lease.json"
    before = file.read_text()
    until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    holder = {"user": "ann", "host": "ops-1", "boot_id": "x", "pid_namespace": "x", "pid": 1, "started": "1"}
    lease = {**json.loads(before), "holder": {**holder, "playbook": "recover"}, "phase": "drain", "ttl": 300}
    file.write_text(json.dumps({**lease, "acquired_at": now(), "renewed_at": now(), "expires_at": until}))
    yield
    file.write_text(before)


def count(events: list[dict[str, Any]], kind: str, key: str = "") -> int:
    return sum(1 for event in events if event["type"] == kind and event["key"].startswith(key))


def test_an_alert_is_answered_once_alone_only_where_it_is_safe_and_within_the_budget(lab: Lab) -> None:
    # Somebody stopped it: that waits for a person, however often the alert comes.
    since = now()
    broker.stop(lab)
    status, text = answer(lab, since, "00aa")
    assert status == 0, text
    assert "broker_stopped_on_purpose: not in outage_alert_safe_causes" in text
    status, text = answer(lab, since, "00aa")
    assert status == 0, text
    assert broker.status(lab) == "stopped"
    ((_name, events),) = records(lab).items()
    assert events[0]["data"]["started_at"] == since
    assert [count(events, "note", key) for key in ("alert:00aa", "asked:")] == [1, 1]
    assert count(events, "action") == 0

    # It serves again, and the alert is resolved: the incident is accounted for and closed.
    broker.start(lab)
    status, text = answer(lab, since)
    assert status == 0, text
    ((first, events),) = records(lab).items()
    assert [count(events, kind) for kind in ("audit", "closed")] == [1, 1]
    report = json.loads(next(Path(lab.paths["incidents"]).glob(f"*/{first}.json")).read_text())
    assert report["record"]["outage"]["start"] == since

    # It crashed: that was listed. But while somebody else is at it, that is said, and it is no failure.
    broker.kill(lab)
    fired = now()
    with somebody_at_it(lab):
        status, text = answer(lab, fired, "00bb")
    assert status == 0, text
    assert "ann on ops-1" in text
    assert broker.status(lab) == "stopped"
    status, text = answer(lab, fired, "00bb")
    assert status == 0, text
    assert broker.status(lab) == "running"
    second = list(records(lab).values())[1]
    assert count(second, "closed") == 1
    assert count(second, "note", "alert:00bb") == 1

    # Another alert tells of the restart that this has been: it is no new outage, and nobody is called for it.
    before = records(lab)
    status, text = answer(lab, now(), "00cc")
    assert status == 0, text
    assert "WAITS" not in text
    assert "PLAN      nothing to do: It serves, and" in text, text
    assert records(lab) == before

    # It crashes again within the hour: one start was its budget.
    broker.kill(lab)
    status, text = answer(lab, now(), "00bb")
    assert status != 0
    assert broker.status(lab) == "stopped", text
