# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An outage as AWX's workflow mends it: each node is a job of ansible-runner, of which only artifacts are kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.awx import job
from tests.awx.tables import tables
from tests.lab import broker, inventory, scenario, stack
from tests.lab.stack import Lab, Options

NODES = {node["identifier"]: node for node in tables()["controller_workflow"]["nodes"]}
QUEUES = tuple(queue["name"] for queue in inventory.QUEUES)


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = stack.up(f"scenario-{os.getpid()}", Options())
    try:
        yield lab
    finally:
        lab.down()


def incidents(lab: Lab) -> list[Path]:
    return list(Path(lab.paths["incidents"]).glob("*/*.jsonl"))


def drains(event: job.Event) -> bool:
    """Tell whether it is a live line of the drain: printed while its task runs, so an event by itself."""
    return event["event"] == "verbose" and event["stdout"].startswith(QUEUES)


def test_the_workflow_mends_an_outage_and_a_job_that_was_killed_is_launched_again(lab: Lab) -> None:
    site = job.site(inventory.hosts(lab), inventory.variables(lab))
    secrets = [value for name, value in site.environment.items() if name.startswith("VEZA_")]
    assert len(secrets) == 5
    assert not [secret for secret in secrets if secret in json.dumps(site.inventory)]
    ended: list[job.Ended] = []
    artifacts: dict[str, Any] = {}

    def node(name: str, **more: Any) -> job.Ended:
        one = job.run(
            site,
            NODES[name]["template"],
            job_type=NODES[name]["job_type"],
            artifacts=artifacts,
            environment=lab.ansible_environment(),
            **more,
        )
        ended.append(one)
        return one

    with scenario.Load(lab):
        time.sleep(4)
    scenario.kill_broker(lab).stop()

    diagnosed = node("diagnose")
    assert diagnosed.status == "successful", diagnosed.stdout
    assert incidents(lab) == [], "a check wrote a record"
    artifacts |= diagnosed.artifacts
    assert artifacts["rabbitmq_outage_verdict"]["cause"] == "broker_crashed"
    assert [step["remedy"] for step in artifacts["rabbitmq_outage_plan"]["steps"]] == ["start_broker"]
    assert broker.status(lab) == "stopped"

    # Somebody cancels it while it waits for the queues.
    lines: list[float] = []
    cancelled = node(
        "recover",
        see=lambda event: lines.append(time.time()) if drains(event) else None,
        stop=lambda: len(lines) >= 2,
    )
    assert cancelled.status == "canceled", cancelled.stdout
    assert lines, "no line of the drain was seen while it went on"

    # What is launched again has the same variables, and finds what was done on the incident's host.
    recovered = node("recover")
    assert recovered.status == "successful", recovered.stdout
    assert len(incidents(lab)) == 1
    shown = [event for event in recovered.events if drains(event)]
    waited = [
        one
        for one in recovered.events
        if one["event"] == "runner_on_ok" and "queue_drain_wait" in one["event_data"]["task_action"]
    ]
    assert shown
    assert waited
    assert shown[0]["seen"] < waited[0]["seen"]
    artifacts |= recovered.artifacts

    audited = node("audit")
    assert audited.status == "successful", audited.stdout
    artifacts |= audited.artifacts
    assert set(artifacts["rabbitmq_outage_accounting"]["lost"]) == {queue["name"] for queue in inventory.QUEUES}
    reported = node("report")
    assert reported.status == "successful", reported.stdout
    assert len(incidents(lab)) == 1

    record = json.loads(incidents(lab)[0].with_suffix(".json").read_text())["record"]
    assert record["open"] is False
    assert [action["name"] for action in record["actions"]].count("start_broker") == 1
    for one in ended:
        assert not [secret for secret in secrets if secret in one.files]
