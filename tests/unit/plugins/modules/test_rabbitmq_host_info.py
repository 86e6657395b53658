# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._command import Ended
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.module_utils._host import Beam, Disk, Host, Tail, Unreadable
from ansible_collections.veza.rabbitmq.plugins.module_utils._log_signatures import SIGNATURES
from ansible_collections.veza.rabbitmq.plugins.modules import rabbitmq_host_info as module
from tests.unit.plugins.module_utils.broker_logs import BOOT, BOOT_BEGUN, CTL_STOP, MAIN, SIGTERM, seconds, tail

NOW = seconds("2026-11-23T21:30:00+00:00")
STARTED = seconds("2026-11-23T21:09:04+00:00")

BEAM = Beam(
    pid=712, parent=1, started=STARTED, suspended=False, home="/var/lib/rabbitmq", places=(), files=(MAIN,),
    sockets=frozenset({4711}), contained=False,
)  # fmt: skip

RUNNING = "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=712\nNRestarts=0\nResult=success\n"
STOPPED = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nMainPID=0\nNRestarts=0\nResult=success\n"


class FakeHost(Host):
    """A host as data; an exception stands for what can't be read."""

    def __init__(self, **changes: Any) -> None:
        self.seen: dict[str, Any] = {
            "run": Ended(0, RUNNING, ""), "brokers": [BEAM], "listening": {5672: {4711}, 15672: {4712}},
            "tails": [tail(BOOT)], "disk": Disk(50, 100, True, "rabbitmq", "asked as root"), "boot_id": "1234",
            "booted": STARTED - 3600, "last_write": NOW - 1, **changes,
        }  # fmt: skip
        self.commands: list[list[str]] = []
        self.proc = "/nowhere"

    def _get(self, name: str) -> Any:
        if isinstance(self.seen[name], Exception):
            raise self.seen[name]
        return self.seen[name]

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 1000.0

    def boot_id(self) -> str:
        return str(self._get("boot_id"))

    def booted(self) -> float:
        return float(self._get("booted"))

    def run(self, command: list[str], timeout: float) -> Ended:
        self.commands.append(command)
        ran = self._get("run")
        assert isinstance(ran, Ended)
        return ran

    def find(self, patterns: Any) -> list[str]:
        return [entry.path if isinstance(entry, Tail) else MAIN for entry in self.seen["tails"]]

    def tail(self, path: str, limit: int) -> Tail:
        for entry in self.seen["tails"]:
            if isinstance(entry, Tail) and entry.path == path:
                return entry
        raise Unreadable(f"{path} can't be read: Permission denied.")

    def disk(self, path: str) -> Disk:
        disk = self._get("disk")
        assert isinstance(disk, Disk)
        return disk

    def last_write(self, path: str) -> float | None:
        return float(self._get("last_write"))

    def brokers(self) -> list[Beam]:
        return list(self._get("brokers"))

    def listening(self) -> dict[int, set[int]]:
        return dict(self._get("listening"))


def look(host: FakeHost | None = None, **params: Any) -> dict[str, Any]:
    known = {name: entry.get("default") for name, entry in module.argument_spec().items()}
    return module.run({**known, **params}, host or FakeHost())


def test_a_broker_that_serves() -> None:
    found = look()
    assert found["service"]["state"] == "running"
    assert found["process"] == {
        "running": True, "pid": 712, "started_at": "2026-11-23T21:09:04.000Z", "suspended": False,
    }  # fmt: skip
    assert (found["lifecycle"]["last"], found["lifecycle"]["clean_stop"]) == ("started", None)
    assert [(entry["port"], entry["listening"], entry["ours"]) for entry in found["listeners"]] == [
        (5672, True, True),
        (15672, True, False),
    ]
    assert found["clock"]["now"] == "2026-11-23T21:30:00.000Z"
    assert found["last_log_at"] == "2026-11-23T21:09:08.159Z"
    assert (found["unknown"], found["changed"]) == ([], False)


def test_one_that_was_killed_and_one_that_was_stopped() -> None:
    dead = {"brokers": [], "listening": {}, "run": Ended(0, STOPPED, "")}
    killed = look(FakeHost(**dead))
    assert killed["process"]["running"] is False
    assert killed["lifecycle"]["clean_stop"] is False
    assert "without an orderly stop" in killed["message"]
    assert killed["listeners"][0]["listening"] is False
    stopped = look(FakeHost(**dead, tails=[tail(BOOT + SIGTERM)]))
    assert stopped["lifecycle"]["clean_stop"] is True
    assert "orderly stop at 2026-11-23T21:09:18.379Z" in stopped["message"]


def test_one_that_boots_is_booting_from_its_first_moment() -> None:
    assert look(FakeHost(tails=[tail(BOOT_BEGUN)]))["lifecycle"]["last"] == "starting"
    boots = {"brokers": [replace(BEAM, started=NOW - 1)], "run": Ended(0, STARTING, "")}
    assert look(FakeHost(**boots))["lifecycle"]["last"] == "starting"
    assert look(FakeHost(**boots, tails=[tail(BOOT + SIGTERM)]))["lifecycle"]["last"] == "starting"


STARTING = "LoadState=loaded\nActiveState=activating\nSubState=start\nMainPID=712\nNRestarts=3\nResult=success\n"


@pytest.mark.parametrize(
    ("changes", "tried"),
    [
        ({}, False),
        ({"listening": Unreadable("No.")}, False),
        ({"listening": {15672: {4712}}}, True),
        ({"run": Ended(0, STARTING, "")}, True),
        ({"run": Ended(0, STOPPED, ""), "brokers": [], "listening": {}}, True),
    ],
)
def test_writing_is_tried_unless_the_broker_is_at_work(
    changes: dict[str, Any], tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._host_state, "write_error", lambda _path: "EDQUOT")
    assert look(FakeHost(**changes))["disk"]["write_error"] == ("EDQUOT" if tried else None)


def test_one_that_has_booted_and_logs_elsewhere() -> None:
    started = replace(BEAM, started=NOW - 100)
    found = look(FakeHost(brokers=[started], tails=[tail(BOOT + SIGTERM)], run=Ended(0, RUNNING, "")))
    assert found["lifecycle"]["last"] == "none"
    assert "in none of the log files" in found["unknown"][0]
    booting = look(FakeHost(brokers=[started], tails=[tail(BOOT + SIGTERM)], run=Ended(0, STARTING, "")))
    assert booting["lifecycle"]["last"] == "starting"


def test_one_that_is_suspended() -> None:
    found = look(FakeHost(brokers=[replace(BEAM, suspended=True)]))
    assert found["process"]["suspended"] is True
    assert "suspended" in found["message"]


def test_an_application_that_is_stopped_in_a_process_that_lives() -> None:
    found = look(FakeHost(tails=[tail(BOOT + CTL_STOP)], listening={}))
    assert (found["process"]["running"], found["lifecycle"]["last"]) == (True, "stopped")


def test_a_host_without_rabbitmq() -> None:
    nothing = FakeHost(
        run=Ended(0, "LoadState=not-found\nActiveState=inactive\nSubState=dead\n", ""), brokers=[], listening={},
        tails=[], disk=Unreadable("/var/lib/rabbitmq can't be looked at: No such file or directory."),
    )  # fmt: skip
    found = look(nothing)
    assert "no sign of RabbitMQ" in found["message"]
    assert found["service"]["state"] == "unknown"
    assert found["process"]["running"] is False
    assert found["lifecycle"]["clean_stop"] is None
    assert len(found["unknown"]) == 3


def test_a_host_of_which_nothing_can_be_read_gives_sentences_and_no_traceback() -> None:
    no = Unreadable("It can't be read.")
    blind = FakeHost(
        run=no, brokers=no, listening=no, tails=["unreadable"], disk=no, boot_id=no, booted=no, last_write=no
    )
    found = look(blind)
    assert set(found) == set(look())
    assert found["process"]["running"] is None
    assert found["service"]["state"] == "unknown"
    assert found["listeners"][0]["listening"] is None
    assert found["disk"] == {
        "path": "/var/lib/rabbitmq", "free": None, "total": None, "writable": None, "owner": None, "detail": None,
        "limit": None, "snapshot_since": None, "write_error": None, "inodes_free": None,
        "inodes_total": None, "last_write_at": None, "copy_dir": None, "held": [], "reclaimable": [],
        "data_bytes": found["disk"]["data_bytes"],
    }  # fmt: skip
    assert found["lifecycle"]["clean_stop"] is None
    assert len(found["unknown"]) == 10
    assert all(sentence.endswith(".") for sentence in found["unknown"])


OTHER = replace(BEAM, pid=900, home="/home/me", places=("/home/me/data",), files=("/home/me/log",), sockets=frozenset())
HIDDEN = replace(OTHER, home="/home/me", places=None, files=None, sockets=None, contained=None)

CLAIMS: list[tuple[str, Beam, bool | None]] = [
    ("by an open log", replace(OTHER, files=(MAIN,)), True),
    ("by an open data file", replace(OTHER, files=("/var/lib/rabbitmq/mnesia/rabbit@b/LATEST.LOG",)), True),
    ("by its environment", replace(OTHER, places=("/var/lib/rabbitmq/mnesia",)), True),
    ("by its home", replace(OTHER, home="/var/lib/rabbitmq", places=()), True),
    ("by its home, all else hidden", replace(HIDDEN, home="/var/lib/rabbitmq"), True),
    ("by its sockets", replace(OTHER, sockets=frozenset({4711})), True),
    ("by its sockets, in a container", replace(OTHER, contained=True, sockets=frozenset({4711})), True),
    ("by the manager", replace(OTHER, pid=712), True),
    ("by the manager, through a shell", replace(OTHER, parent=712), True),
    ("another one", OTHER, False),
    ("another one with a home above", replace(OTHER, home="/var/lib"), False),
    ("another one with a name alike", replace(OTHER, files=("/var/lib/rabbitmq2/x",)), False),
    ("hidden", HIDDEN, None),
    ("in a container with the same paths", replace(BEAM, pid=900, contained=True, sockets=frozenset()), None),
]


@pytest.mark.parametrize(("beam", "claim"), [row[1:] for row in CLAIMS], ids=[row[0] for row in CLAIMS])
def test_whose_process_it_is(beam: Beam, claim: bool | None) -> None:
    assert module.belongs(beam, 712, "/var/lib/rabbitmq", {MAIN}, {4711}) is claim
    found = look(FakeHost(brokers=[beam]), service="x")
    assert found["process"]["running"] is (True if claim else None), "the manager says that it runs"
    stopped = look(FakeHost(brokers=[beam], run=Ended(0, STOPPED, "")))
    expected = {True: beam.pid != 712 and beam.parent != 712, False: False, None: None}[claim]
    assert stopped["process"]["running"] is expected


def test_another_broker_on_the_host_is_not_taken_for_ours() -> None:
    found = look(FakeHost(brokers=[BEAM, OTHER]))
    assert found["process"]["pid"] == 712


def test_a_manager_that_says_running_without_a_process_is_no_proof_of_death() -> None:
    found = look(FakeHost(brokers=[]))
    assert found["process"]["running"] is None
    assert found["lifecycle"]["clean_stop"] is None
    assert any("no process of it can be found" in sentence for sentence in found["unknown"])


def test_the_operators_own_command_is_asked() -> None:
    host = FakeHost(run=Ended(3, "", ""), brokers=[])
    found = look(host, service_manager="command", status_command=["supervisorctl", "status", "rabbitmq"])
    assert host.commands[0] == ["supervisorctl", "status", "rabbitmq"]
    assert not any(command[0] in ("systemctl", "journalctl") for command in host.commands)
    assert found["service"]["state"] == "stopped"


@pytest.mark.parametrize(
    "params",
    [
        {"service_manager": "command", "status_command": []},
        {"service_manager": "command", "status_command": None},
        {"log_tail_bytes": 0},
        {"timeout": 0.0},
    ],
)
def test_parameters_that_make_no_sense_are_refused_before_anything_is_asked(params: dict[str, Any]) -> None:
    host = FakeHost()
    with pytest.raises(BadInput):
        look(host, **params)
    assert host.commands == []


def documented(entries: dict[str, Any]) -> dict[str, Any]:
    return {name: documented(entry["contains"]) if entry.get("contains") else None for name, entry in entries.items()}


def test_the_documentation_has_every_key_and_option() -> None:
    found = look(FakeHost(tails=[tail(BOOT + SIGTERM)]))
    del found["changed"]
    returned = documented(yaml.safe_load(module.RETURN))
    assert set(returned) == set(found)
    for name, keys in returned.items():
        value = found[name][0] if isinstance(found[name], list) and found[name] else found[name]
        assert keys is None or value in ([], None) or set(keys) == set(value), name
    names = yaml.safe_load(module.RETURN)["signatures"]["contains"]["name"]["choices"]
    assert names == [signature.name for signature in SIGNATURES]
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert set(options) == set(module.argument_spec())
    defaults = {name: entry.get("default") for name, entry in module.argument_spec().items()}
    assert {name: entry.get("default") for name, entry in options.items()} == defaults
