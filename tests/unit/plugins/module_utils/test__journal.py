# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils import _journal

BEGAN = 1_795_000_000
UNIT = "rabbitmq-server.service"


def entry(second: float, text: Any, identifier: str = "systemd", unit: str = UNIT, **fields: Any) -> str:
    known = {
        "__REALTIME_TIMESTAMP": str(int((BEGAN + second) * 1e6)), "__MONOTONIC_TIMESTAMP": str(int(second * 1e6)),
        "_BOOT_ID": "b", "SYSLOG_IDENTIFIER": identifier, "UNIT": unit, "MESSAGE": text,
    }  # fmt: skip
    return json.dumps({**known, **fields})


def read(*lines: str) -> list[_journal.Entry]:
    return _journal.parse("\n".join(lines))


def test_what_can_not_be_read_is_left_out_and_bytes_are_text() -> None:
    entries = read("", "{", entry(1, list(b"caf\xc3\xa9")), '{"MESSAGE": "no time"}')
    assert [one.text for one in entries] == ["café"]


def test_how_runs_ended() -> None:
    entries = read(
        entry(1, "rabbitmq-server.service: Main process exited, code=killed, status=9/KILL"),
        entry(2, "x.service: Main process exited, code=killed, status=9/KILL", unit="x.service"),
        entry(3, "rabbitmq-server.service: Main process exited, code=dumped, status=11/SEGV"),
        entry(4, "rabbitmq-server.service: Main process exited, code=exited, status=0/SUCCESS"),
    )
    found = _journal.exits(entries, "rabbitmq-server")
    assert [end["status"] for end in found] == ["9/KILL", "11/SEGV"]
    assert found[0]["at"].endswith("Z")


def test_who_stopped_it() -> None:
    sudo = "ansible : TTY=pts/0 ; PWD=/home/ansible ; USER=root ; COMMAND=/usr/bin/systemctl stop rabbitmq-server"
    stopping = "Stopping rabbitmq-server.service - RabbitMQ Messaging Server..."
    by_sudo = _journal.stopped_by(read(entry(1, sudo, "sudo", ""), entry(2, stopping)), "rabbitmq-server")
    assert by_sudo is not None
    assert (by_sudo["who"], by_sudo["how"]) == ("ansible", "sudo /usr/bin/systemctl stop rabbitmq-server")
    long_before = read(entry(1, sudo, "sudo", ""), entry(60, stopping))
    assert _journal.stopped_by(long_before, "rabbitmq-server") is None
    halted = read(entry(1, "System is powering down.", "systemd-logind", ""), entry(2, stopping))
    assert (_journal.stopped_by(halted, "rabbitmq-server") or {})["who"] == "the shutdown of the host"
    assert _journal.stopped_by([], "rabbitmq-server") is None


def test_oom_kills_of_the_broker() -> None:
    kernel = {"_TRANSPORT": "kernel"}
    entries = read(
        entry(1, "Memory cgroup out of memory: Killed process 712 (beam.smp) total-vm:1kB", "kernel", "", **kernel),
        entry(2, "Out of memory: Killed process 900 (postgres)", "kernel", "", **kernel),
        entry(3, "rabbitmq-server.service: A process of this unit has been killed by the OOM killer."),
    )
    assert [kill["source"] for kill in _journal.oom_kills(entries, "rabbitmq-server")] == ["kernel", "journal"]


def test_a_clock_that_was_set() -> None:
    steady = read(entry(1, "a"), entry(2, "b"))
    assert _journal.stepped_at(steady) is None
    stepped = read(entry(1, "a"), entry(100, "b", __MONOTONIC_TIMESTAMP="2000000"))
    assert _journal.stepped_at(stepped) is not None
    rebooted = read(entry(1, "a"), entry(100, "b", __MONOTONIC_TIMESTAMP="2000000", _BOOT_ID="c"))
    assert _journal.stepped_at(rebooted) is None


def test_what_the_service_wrote_itself() -> None:
    entries = read(entry(1, "Starting"), entry(2, "BOOT FAILED", "rabbitmq-server"), entry(3, "x", "cron", "cron"))
    assert _journal.own_lines(entries, "rabbitmq-server") == "BOOT FAILED"
