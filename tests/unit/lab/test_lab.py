# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import broker, inventory, ports, processes, state
from tests.lab.processes import Process
from tests.lab.veza.events import QUEUES


def test_a_process_is_more_than_its_id() -> None:
    started = processes.start_time(os.getpid())
    assert started is not None
    assert Process(os.getpid(), started).alive()
    assert not Process(os.getpid(), started - 1).alive()


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = processes.start_time(child.pid)
    assert Process(child.pid, started or 0).wait(60.0)


def test_a_child_is_found_by_its_mark_and_has_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RABBITMQ_NODENAME", "somebody@else")
    log = tmp_path / "log"
    child = processes.spawn(["/bin/sh", "-c", "env; sleep 300"], mark=str(tmp_path), log=log, cwd=tmp_path)
    try:
        # The kernel shows the environment of a program a moment after it has begun.
        assert processes.wait_until(lambda: child in processes.marked(str(tmp_path)), 60.0)
        assert processes.wait_until(lambda: "LANG=" in log.read_text(), 60.0)
        assert "RABBITMQ_NODENAME" not in log.read_text()
    finally:
        assert processes.kill_marked(str(tmp_path)) == []
    assert not child.alive()


def test_ports_are_free_and_below_those_of_outgoing_connections() -> None:
    chosen = ports.choose(seed=1)
    assert len(set(chosen.values())) == len(chosen)
    assert max(chosen.values()) < ports.ephemeral_start()
    assert all(ports.is_free(port) for port in chosen.values())


def test_a_port_in_use_is_avoided() -> None:
    first = ports.choose(seed=1)
    with socket.create_server(("127.0.0.1", first["postgres"])):
        assert ports.choose(seed=1) != first


@pytest.mark.parametrize("name", ["", "Play", "../x", "a b", "x" * 32])
def test_a_lab_has_a_plain_name(name: str) -> None:
    with pytest.raises(state.LabError, match="not a lab's name"):
        state.state_directory(name)


def test_the_state_directory_can_be_put_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEZA_LAB_DIR", str(tmp_path))
    assert state.state_directory("x").parent == tmp_path
    assert state.state_directory("x") != state.state_directory("y")


def test_no_lab_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(state.LabError, match="bring it up first"):
        state.Lab.at(tmp_path)
    assert state.remove(tmp_path / "nothing") is False


def test_a_private_file_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    state.write_private(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_every_queue_is_durable_and_dead_letters_to_a_durable_queue() -> None:
    names = ("veza", "monitor", "admin")
    document = broker.definitions({name: {"user": name, "password": "p"} for name in names})
    queues = {queue["name"]: queue for queue in document["queues"]}
    routes = {(binding["source"], binding["routing_key"]): binding["destination"] for binding in document["bindings"]}
    for name in QUEUES.values():
        arguments = queues[name]["arguments"]
        dead = routes[arguments["x-dead-letter-exchange"], arguments["x-dead-letter-routing-key"]]
        assert dead == f"{name}.dlq"
        assert queues[name]["durable"]
        assert queues[dead]["durable"]
        assert routes[broker.EXCHANGE, name] == name
    (monitor,) = (entry for entry in document["permissions"] if entry["user"] == "monitor")
    assert {monitor[right] for right in ("configure", "write", "read")} == {"^$"}


def test_the_inventory_knows_every_queue() -> None:
    assert {queue["kind"]: queue["name"] for queue in inventory.QUEUES} == QUEUES
    # Only where the database knows when the work was done.
    assert len({frozenset(queue) - {"finished_sql"} for queue in inventory.QUEUES}) == 1
