# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest

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


STOPPING = "Stopping rabbitmq-server.service - RabbitMQ Messaging Server..."
OVER = "rabbitmq-server.service: Deactivated successfully."
STARTING = "Starting rabbitmq-server.service - RabbitMQ Messaging Server..."
SEGV = "rabbitmq-server.service: Main process exited, code=dumped, status=11/SEGV"
LOOK = "ansible : PWD=/home/ansible ; USER=root ; COMMAND=/usr/bin/systemctl status rabbitmq-server"
STOP = "ansible : TTY=pts/0 ; PWD=/home/ansible ; USER=root ; COMMAND=/usr/bin/systemctl stop rabbitmq-server"
ASK = " ansible : PWD=/home/ansible ; USER=root ; COMMAND=/usr/sbin/rabbitmqctl -q stop"
BECOME = "nico : PWD=/home/nico ; USER=root ; COMMAND=/bin/sh -c 'echo BECOME-SUCCESS-pbohuqwb ; /usr/bin/python3'"
MODULE = "ansible-ansible.builtin.systemd"
INVOKED = "Invoked with name=rabbitmq-server state=stopped daemon_reload=False scope=system no_block=False force=None"
RAW = "Invoked with _raw_params=systemctl restart rabbitmq-server --password=hunter2 _uses_shell=True expand=True"


def sudo(second: float, text: str) -> str:
    return entry(second, text, "sudo", "session-3.scope")


def asker(*lines: str, **given: Any) -> tuple[str, str] | None:
    found = _journal.stopped_by(read(*lines), "rabbitmq-server", **given)
    return found and (found["who"], found["how"])


BY_SUDO = ("ansible", "sudo /usr/bin/systemctl stop rabbitmq-server")
BY_MODULE = "Ansible: ansible.builtin.systemd name=rabbitmq-server state=stopped"

SERVICE = "rabbitmq-server.service: "
LOCATE = "Unable to locate executable '/usr/sbin/rabbitmq-srv': No such file or directory"
EXEC = "Failed at step EXEC spawning /usr/sbin/rabbitmq-srv: No such file or directory"


@pytest.mark.parametrize(
    ("lines", "status", "why"),
    [
        ([LOCATE, EXEC, "Main process exited, code=exited, status=203/EXEC"], "203/EXEC", EXEC),
        (["Main process exited, code=exited, status=2/INVALIDARGUMENT"], "2/INVALIDARGUMENT", None),
        (["Control process exited, code=exited, status=1/FAILURE"], "1/FAILURE", None),
        (
            [
                "Failed to load environment files: No such file or directory",
                "Failed to spawn 'start' task: No such file",
            ],
            "none",
            "Failed to load environment files: No such file or directory",
        ),
    ],
)
def test_why_a_run_never_began(lines: list[str], status: str, why: str | None) -> None:
    entries = read(
        entry(1, STOPPING),
        entry(2, SERVICE + "Control process exited, code=exited, status=1/FAILURE"),  # of what is run to stop it
        entry(3, STARTING),
        *(entry(4, SERVICE + line) for line in lines),
        entry(5, SERVICE + "Failed with result 'exit-code'."),
    )
    (end,) = _journal.exits(entries, "rabbitmq-server")
    assert (end["status"], end["why"]) == (status, why)
    assert end["started_at"] == (entries[2].stamp() if status != "none" else end["at"])


ASKERS: list[tuple[str, list[str], tuple[str, str] | None]] = [
    ("nobody", [], None),
    ("sudo", [sudo(1, STOP), entry(2, STOPPING), entry(4, OVER)], BY_SUDO),
    ("long before", [sudo(1, STOP), entry(60, STOPPING)], None),
    ("one who only looked", [sudo(1, LOOK), entry(2, STOPPING)], None),
    ("another one's service", [sudo(1, STOP.replace("rabbitmq-server", "nginx")), entry(2, STOPPING)], None),
    ("one who looked after the stop was asked for", [sudo(1, STOP), sudo(2, LOOK), entry(3, STOPPING)], BY_SUDO),
    ("the broker was asked", [sudo(1, ASK), entry(3, OVER)], ("ansible", "sudo /usr/sbin/rabbitmqctl -q stop")),
    ("a crash since", [sudo(1, STOP), entry(2, STOPPING), entry(4, OVER), entry(5, STARTING), entry(9, SEGV)], None),
    ("a crash in the stop", [sudo(1, STOP), entry(2, STOPPING), entry(4, SEGV)], BY_SUDO),
    ("a stop since", [sudo(1, STOP), entry(2, STOPPING), entry(4, OVER), entry(5, STARTING), entry(90, OVER)], None),
    ("Ansible", [sudo(1, BECOME), entry(2, INVOKED, MODULE, ""), entry(3, STOPPING)], ("nico", BY_MODULE)),
    ("Ansible as root", [entry(2, INVOKED, MODULE, ""), entry(3, STOPPING)], ("Ansible", BY_MODULE)),
    ("Ansible starts", [entry(2, INVOKED.replace("stopped", "started"), MODULE, ""), entry(3, STOPPING)], None),
    ("a command of Ansible's", [entry(2, RAW, "ansible-ansible.legacy.command", ""), entry(3, STOPPING)],
     ("Ansible", "Ansible: ansible.legacy.command systemctl restart rabbitmq-server --password=***")),
    ("shutdown", [entry(1, "System is powering down.", "systemd-logind", ""), entry(2, STOPPING)],
     ("the shutdown of the host", "System is powering down.")),
    ("reboot by sudo", [sudo(1, STOP.replace("systemctl stop rabbitmq-server", "reboot")), entry(2, STOPPING)],
     ("ansible", "sudo /usr/bin/reboot")),
    ("a lie about a shutdown", [entry(1, "System is powering down.", "sudo", ""), entry(2, STOPPING)], None),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "who"), [row[1:] for row in ASKERS], ids=[row[0] for row in ASKERS])
def test_who_stopped_it(lines: list[str], who: tuple[str, str] | None) -> None:
    assert asker(*lines) == who


def test_who_stopped_it_by_the_brokers_own_word() -> None:
    """Of rabbitmqctl stop_app systemd knows nothing, and of a long stop only the end."""
    stop_app = ("ansible", "sudo /usr/sbin/rabbitmqctl stop_app")
    assert asker(sudo(1, ASK.replace("-q stop", "stop_app")), asked=BEGAN + 1.5) == stop_app
    assert asker(sudo(1, ASK), entry(40, OVER), asked=BEGAN + 1.5) == ("ansible", "sudo /usr/sbin/rabbitmqctl -q stop")


def test_a_package_that_was_changed_stopped_it() -> None:
    upgrade = "upgrade rabbitmq-server 4.0.5-6 -> 4.0.5-7"
    change = {"at": "2026-11-18T11:06:30.000Z", "kind": "package", "what": upgrade}
    stopped = entry(1, STOPPING)
    assert asker(stopped, changes=[change]) == ("the package manager", upgrade)
    assert asker(stopped, changes=[{**change, "at": "2026-11-18T11:00:30.000Z"}]) is None
    assert asker(stopped, changes=[{**change, "what": "upgrade openssl 1 -> 2"}]) is None
    assert asker(stopped, changes=[{**change, "kind": "configuration"}]) is None


def test_the_journal_is_asked_once_for_what_is_wanted() -> None:
    command = _journal.command("rabbitmq-server")
    assert command[: len(_journal.COMMAND)] == _journal.COMMAND
    matches = command[len(_journal.COMMAND) :]
    assert matches[::2][:3] == ["_TRANSPORT=kernel", f"UNIT={UNIT}", f"_SYSTEMD_UNIT={UNIT}"]
    assert set(matches[1::2]) == {"+"}
    assert "SYSLOG_IDENTIFIER=sudo" in matches


def test_a_journal_that_was_cut_says_where() -> None:
    lines = [entry(second, "x") for second in range(_journal.LINES)]
    assert _journal.cut_at(read(*lines)) == "2026-11-18T11:06:40.000Z"
    assert _journal.cut_at(read(*lines[1:])) is None


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
    said = "\nBOOT FAILED\n2026-11-23 21:09:05.361861+00:00 [notice] <0.223.0> x"
    entries = read(entry(1, "Starting"), entry(2, said, "rabbitmq-server"), entry(3, "x", "cron", "cron"))
    plain, own = _journal.own_lines(entries, "rabbitmq-server")
    assert (plain.text, plain.path, plain.at) == ("BOOT FAILED", "journal", None)
    assert plain.near is not None
    assert plain.near.timestamp() == BEGAN + 2
    assert own.at == own.near
    assert own.text == "x"
