# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module rabbitmq_host_info on the host of a real broker, in each state of its life."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._host import Host
from ansible_collections.veza.rabbitmq.plugins.module_utils._record import instant, stamp
from ansible_collections.veza.rabbitmq.plugins.modules import rabbitmq_host_info
from tests.lab import broker, inventory, processes
from tests.lab.state import Lab

PATIENCE = 120.0
"""Seconds after which something has gone wrong, however busy the machine is."""


def look(lab: Lab, **given: Any) -> dict[str, Any]:
    """Run the module's own code with what the lab's inventory says."""
    known = inventory.variables(lab)
    defaults = {name: option.get("default") for name, option in rabbitmq_host_info.argument_spec().items()}
    params = {
        **defaults,
        "service_manager": known["veza_rabbitmq_service_manager"],
        "status_command": known["veza_rabbitmq_service_commands"]["status"],
        "log_files": known["veza_rabbitmq_log_files"],
        "data_dir": known["veza_rabbitmq_data_dir"],
        "ports": [lab.ports["amqp"], lab.ports["management"]],
        "timeout": PATIENCE,
        **given,
    }
    return rabbitmq_host_info.run(params, Host())


def control(lab: Lab, *arguments: str) -> None:
    """Run the lab's rabbitmqctl."""
    command = [str(lab.dir / "bin" / "rabbitmqctl"), "--quiet", *arguments]
    subprocess.run(command, check=True, timeout=120, capture_output=True)


def listening(found: dict[str, Any]) -> list[bool]:
    return [entry["listening"] for entry in found["listeners"]]


@pytest.fixture
def serving(bare_lab: Lab) -> Iterator[Lab]:
    """The lab; whatever a test does to the broker, it serves afterwards."""
    try:
        yield bare_lab
    finally:
        broker.start(bare_lab)


def test_a_broker_that_serves(bare_lab: Lab) -> None:
    began = datetime.now(UTC)
    found = look(bare_lab)
    running = bare_lab.running("broker")
    assert running is not None
    assert found["unknown"] == []
    assert (found["service"]["state"], found["lifecycle"]["last"]) == ("running", "started")
    assert (found["process"]["running"], found["process"]["pid"]) == (True, running.pid)
    assert found["process"]["suspended"] is False
    assert listening(found) == [True, True]
    assert found["lifecycle"]["clean_stop"] is None
    order = [found["clock"]["booted_at"], found["process"]["started_at"], found["lifecycle"]["started_at"]]
    assert order == sorted(order)
    assert abs((instant(found["clock"]["now"]) - began).total_seconds()) < 60
    assert 0 < found["disk"]["free"] < found["disk"]["total"]
    assert instant(found["disk"]["last_write_at"]) <= datetime.now(UTC)


def test_looking_changes_nothing_and_makes_no_connection(bare_lab: Lab) -> None:
    log = broker.log_file(bare_lab)
    sizes = [-1]

    def is_quiet() -> bool:
        """Tell whether nothing was written since the last question: the test before may have left something to say."""
        sizes.append(log.stat().st_size)
        return sizes[-1] == sizes[-2]

    assert processes.wait_until(is_quiet, PATIENCE, 2.0)
    before = log.read_bytes()
    look(bare_lab)
    time.sleep(1.0)
    assert log.read_bytes() == before


def test_a_port_where_nothing_listens_and_a_directory_that_is_not_there(bare_lab: Lab) -> None:
    found = look(bare_lab, ports=[bare_lab.ports["amqp"], 1], data_dir="/nonexistent/data")
    assert listening(found) == [True, False]
    assert found["disk"]["free"] is None
    assert any("/nonexistent/data" in sentence for sentence in found["unknown"])
    assert found["process"]["running"] is True, "its sockets and its log tell who it is"


def test_another_brokers_process_is_not_ours(bare_lab: Lab) -> None:
    found = look(bare_lab, ports=[1], data_dir="/nonexistent/data", log_files=["/nonexistent/x.log"],
                 status_command=["sh", "-c", "exit 3"])  # fmt: skip
    assert found["process"]["running"] is not True
    assert found["lifecycle"]["last"] == "none"


def test_killed_then_booting_then_serving(serving: Lab) -> None:
    before = look(serving)
    broker.kill(serving)
    killed = look(serving)
    assert (killed["service"]["state"], killed["process"]["running"]) == ("stopped", False)
    assert (killed["lifecycle"]["last"], killed["lifecycle"]["clean_stop"]) == ("started", False)
    assert killed["lifecycle"]["started_at"] == before["lifecycle"]["started_at"]
    assert killed["last_log_at"] >= killed["lifecycle"]["started_at"]
    # The sockets of a dead process live until its last thread is gone.
    assert processes.wait_until(lambda: listening(look(serving)) == [False, False], PATIENCE)

    # From the first moment of the process on, and until it serves, it is booting.
    broker.launch(serving)
    seen: list[dict[str, Any]] = []

    def boot_has_ended() -> bool:
        seen.append(look(serving))
        return bool(seen[-1]["lifecycle"]["last"] == "started")

    assert processes.wait_until(lambda: look(serving)["process"]["running"] is True, PATIENCE)
    assert processes.wait_until(boot_has_ended, PATIENCE)
    assert len(seen) > 1
    assert {(found["lifecycle"]["last"], found["process"]["running"]) for found in seen[:-1]} == {("starting", True)}
    assert {found["lifecycle"]["clean_stop"] for found in seen} == {None}
    assert listening(seen[0]) == [False, False]
    assert seen[-1]["lifecycle"]["started_at"] > before["lifecycle"]["started_at"]


def test_stopped_by_sigterm(serving: Lab) -> None:
    began = instant(stamp(datetime.now(UTC)))  # to the millisecond, as the results are
    broker.stop(serving)
    found = look(serving)
    assert (found["lifecycle"]["last"], found["lifecycle"]["clean_stop"]) == ("stopped", True)
    assert found["lifecycle"]["by"] == "SIGTERM"
    assert began <= instant(found["lifecycle"]["stopped_at"]) <= datetime.now(UTC)
    assert found["process"]["running"] is False
    assert [entry["count"] for entry in found["signatures"] if entry["name"] == "sigterm"] == [1]


def test_stopped_by_rabbitmqctl(serving: Lab) -> None:
    control(serving, "stop")
    assert processes.wait_until(lambda: serving.running("broker") is None, PATIENCE)
    found = look(serving)
    assert (found["lifecycle"]["last"], found["lifecycle"]["clean_stop"]) == ("stopped", True)
    assert found["lifecycle"]["by"] == "a stop command"
    assert found["process"]["running"] is False


def test_the_application_stopped_in_a_process_that_lives(serving: Lab) -> None:
    control(serving, "stop_app")
    try:
        found = look(serving)
    finally:
        control(serving, "start_app")
    assert (found["process"]["running"], found["lifecycle"]["last"]) == (True, "stopped")
    assert listening(found) == [False, False]
    assert look(serving)["lifecycle"]["last"] == "started"


def test_suspended(serving: Lab) -> None:
    running = serving.running("broker")
    assert running is not None
    running.freeze()
    try:
        found = look(serving)
    finally:
        os.kill(running.pid, signal.SIGCONT)
    assert (found["process"]["running"], found["process"]["suspended"]) == (True, True)
    assert listening(found) == [True, True], "the kernel still accepts for it"


def test_an_alarm_stands_in_the_log(serving: Lab) -> None:
    def alarms() -> int:
        return sum(entry["count"] for entry in look(serving)["signatures"] if entry["name"] == "disk_alarm_set")

    before = alarms()
    control(serving, "set_disk_free_limit", "999999GB")
    control(serving, "set_disk_free_limit", "50MB")
    assert processes.wait_until(lambda: alarms() == before + 1, PATIENCE)
