# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module amqp_probe against a real broker in each of its states, with the broker's log as a second witness."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import TimedOut
from ansible_collections.veza.rabbitmq.plugins.modules import amqp_probe
from tests.lab import broker, processes
from tests.lab.state import Lab

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")

LOG_DELAY = 2.0
"""Seconds after which the broker has written what it has to say (seen: 0.1)."""

PATIENCE = 120.0
"""Seconds after which something has gone wrong, however busy the machine is."""

LONG = {"timeout": 60.0, "slow_after": 60.0}
"""Limits that a busy machine does not break."""

AT_ONCE = 20.0
"""What takes less than this has not waited for a deadline of LONG."""


def look(lab: Lab, user: str | None = "veza", *, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    """Run the module's own code as a user of the lab."""
    defaults = {name: option.get("default") for name, option in amqp_probe.argument_spec().items()}
    login = {"login_user": None, "login_password": None}
    if user is not None:
        credentials = lab.credentials[user]
        login = {"login_user": credentials["user"], "login_password": credentials["password"]}
    where = {"login_host": "127.0.0.1", "login_port": lab.ports["amqp"], "vhost": broker.VHOST}
    return amqp_probe.run({**defaults, **where, **login, **LONG, **given}, check_mode)


class BrokerLog:
    """What the broker's log has got since a moment."""

    def __init__(self, lab: Lab) -> None:
        self.path = broker.log_file(lab)
        self.size = -1
        assert processes.wait_until(self._is_quiet, PATIENCE, LOG_DELAY), "the log never comes to rest"

    def _is_quiet(self) -> bool:
        """Tell whether nothing was written since the last question: what was before must not be counted."""
        before, self.size = self.size, self.path.stat().st_size
        return before == self.size

    def lines(self) -> list[str]:
        return self.path.read_bytes()[self.size :].decode().splitlines()

    def complaints(self) -> list[str]:
        return [
            line for line in self.lines() if any(f"[{level}]" in line for level in ("warning", "error", "critical"))
        ]

    def wait_for(self, words: str, times: int = 1) -> None:
        assert processes.wait_until(lambda: self.count(words) >= times, PATIENCE), self.lines()

    def count(self, words: str) -> int:
        return sum(words in line for line in self.lines())


def connections(lab: Lab) -> list[dict[str, Any]]:
    """Return the probe's connections, which the broker lists with some delay."""
    rows = broker.api(lab, "GET", "/api/connections")
    return [
        row for row in rows if row.get("client_properties", {}).get("connection_name") == "veza.rabbitmq.amqp_probe"
    ]


def test_a_message_goes_through_and_the_broker_has_nothing_to_complain_about(bare_lab: Lab) -> None:
    log = BrokerLog(bare_lab)
    for _time in range(5):
        found = look(bare_lab, publish=True)
        assert (found["outcome"], found["changed"]) == ("ok", False)
    assert [stage["name"] for stage in found["stages"]] == [
        "resolve", "connect", "header", "login", "vhost", "publish", "get",
    ]  # fmt: skip
    assert found["server"]["product"] == "RabbitMQ"
    assert found["server"]["version"] == broker.api(bare_lab, "GET", "/api/overview")["rabbitmq_version"]
    log.wait_for("authenticated and granted access", times=5)
    time.sleep(LOG_DELAY)
    assert log.count("veza.rabbitmq.amqp_probe") > 0
    assert log.count("authenticated and granted access") == 5
    assert log.complaints() == []


def test_nothing_of_it_stays_in_the_broker(bare_lab: Lab) -> None:
    def queues() -> list[str]:
        return sorted(row["name"] for row in broker.api(bare_lab, "GET", "/api/queues/%2Fveza?columns=name"))

    before = queues()
    assert look(bare_lab, publish=True)["ok"]
    assert queues() == before
    assert processes.wait_until(lambda: connections(bare_lab) == [], PATIENCE)


def test_a_login_without_publishing_leaves_no_complaint_either(bare_lab: Lab) -> None:
    log = BrokerLog(bare_lab)
    assert look(bare_lab)["stages"][-1]["name"] == "vhost"
    checked = look(bare_lab, publish=True, check_mode=True)
    assert (checked["stages"][-1]["name"], checked["stages"][-1]["ok"]) == ("publish", None)
    time.sleep(LOG_DELAY)
    assert log.complaints() == []


def test_without_a_login_the_broker_writes_the_one_warning_that_is_documented(bare_lab: Lab) -> None:
    log = BrokerLog(bare_lab)
    found = look(bare_lab, user=None)
    assert (found["outcome"], found["stages"][-1]["name"]) == ("ok", "header")
    assert found["server"]["cluster_name"] == f"veza-{bare_lab.name}"
    log.wait_for("client unexpectedly closed TCP connection")
    time.sleep(LOG_DELAY)
    assert len(log.complaints()) == 2, "the warning has two lines"
    assert "client unexpectedly closed" in amqp_probe.DOCUMENTATION


@pytest.mark.parametrize(
    ("user", "given", "outcome", "stage", "words"),
    [
        ("veza", {"login_password": "rotated"}, "login_refused", "login", "403 ACCESS_REFUSED"),
        ("veza", {"login_user": "nobody"}, "login_refused", "login", "403 ACCESS_REFUSED"),
        ("veza", {"vhost": "/nosuch"}, "vhost_missing", "vhost", "vhost /nosuch not found"),
        ("veza", {"vhost": "veza"}, "vhost_missing", "vhost", "530"),
        ("veza", {"vhost": "/"}, "vhost_refused", "vhost", "access to vhost '/' refused for user"),
        ("monitor", {"publish": True}, "vhost_refused", "publish", "access to queue 'amq.gen-"),
        ("veza", {"tls": True, "validate_certs": False}, "tls_failed", "tls", "does not speak TLS"),
        ("veza", {"login_host": "no-such-host.invalid"}, "name_not_resolved", "resolve", "no-such-host.invalid"),
    ],
)
def test_what_is_wrong_is_said_as_such(
    bare_lab: Lab, user: str, given: dict[str, Any], outcome: str, stage: str, words: str
) -> None:
    broker.api(bare_lab, "PUT", "/api/vhosts/%2F")  # the lab has none of this name; nobody has a permission there
    try:
        found = look(bare_lab, user, **given)
    finally:
        broker.api(bare_lab, "DELETE", "/api/vhosts/%2F")
    assert (found["outcome"], found["stages"][-1]["name"]) == (outcome, stage)
    assert words in found["message"]
    assert found["elapsed"] < AT_ONCE
    assert bare_lab.credentials[user]["password"] not in json.dumps(found)


def test_another_server_is_not_amqp_or_silent(bare_lab: Lab) -> None:
    found = look(bare_lab, login_port=bare_lab.ports["management"], timeout=1.0)
    assert found["outcome"] in ("not_amqp", "timed_out", "reset")
    assert found["elapsed"] < AT_ONCE


@contextmanager
def alarm(lab: Lab) -> Iterator[None]:
    """Put the broker under a disk alarm: more free space is wanted than any disk has."""
    control = [str(lab.dir / "bin" / "rabbitmqctl"), "--quiet", "set_disk_free_limit"]
    subprocess.run([*control, "999999GB"], check=True, timeout=120, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*control, "50MB"], check=True, timeout=120, capture_output=True)


def test_an_alarm_blocks_a_probe_that_publishes_and_no_other(bare_lab: Lab) -> None:
    with alarm(bare_lab):
        assert look(bare_lab)["outcome"] == "ok", "everybody may log in under an alarm"
        found = look(bare_lab, publish=True)
        assert (found["outcome"], found["stages"][-1]["name"]) == ("blocked", "publish")
        assert "low on disk" in found["message"]
        assert found["elapsed"] < AT_ONCE
    assert look(bare_lab, publish=True, wait_timeout=PATIENCE)["outcome"] == "ok"
    assert processes.wait_until(lambda: connections(bare_lab) == [], PATIENCE), "a blocked connection stays"


def test_a_broker_that_hangs_times_out_within_the_deadline(bare_lab: Lab) -> None:
    running = bare_lab.running("broker")
    assert running is not None
    running.freeze()
    try:
        found = look(bare_lab, timeout=1.0)
    finally:
        os.kill(running.pid, signal.SIGCONT)
    assert (found["outcome"], found["stages"][-1]["name"]) == ("timed_out", "header")
    assert 0.9 < found["elapsed"] < AT_ONCE
    assert look(bare_lab, publish=True, wait_timeout=PATIENCE)["ok"]


def test_a_killed_broker_refuses_and_a_wait_sees_it_come_back(bare_lab: Lab) -> None:
    broker.kill(bare_lab)
    try:
        # The sockets of a dead process live until its last thread is gone.
        assert processes.wait_until(lambda: look(bare_lab)["outcome"] == "refused", PATIENCE)
        found = look(bare_lab)
        assert (found["outcome"], found["stages"][-1]["name"]) == ("refused", "connect")
        with pytest.raises(TimedOut, match="refused"):
            look(bare_lab, wait_timeout=0.5)
    finally:
        broker.launch(bare_lab)
        back = look(bare_lab, publish=True, wait_timeout=PATIENCE)
        broker.start(bare_lab)
    assert back["outcome"] in ("ok", "slow")
    assert back["attempts"] > 1


def test_a_task_shows_no_password_at_any_verbosity(bare_lab: Lab, tmp_path: Path) -> None:
    password = bare_lab.credentials["veza"]["password"]
    login = {
        "login_host": "127.0.0.1", "login_port": bare_lab.ports["amqp"], "vhost": broker.VHOST,
        "login_user": bare_lab.credentials["veza"]["user"], "login_password": "{{ secret }}", "publish": True,
    }  # fmt: skip
    tasks = [
        {"veza.rabbitmq.amqp_probe": login, "register": "probe"},
        {"veza.rabbitmq.amqp_probe": {**login, "vhost": "/nosuch", "wait_timeout": 0.1}, "ignore_errors": True},
        {"ansible.builtin.copy": {"content": "{{ probe }}", "dest": str(tmp_path / "answer.json"), "mode": "0600"}},
    ]
    (tmp_path / "secret.yml").write_text(yaml.safe_dump({"secret": password}))
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": sys.executable}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = [PLAYBOOK, "-vvvv", "-e", f"@{tmp_path / 'secret.yml'}", str(tmp_path / "play.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert password not in done.stdout + done.stderr
    assert "vhost /nosuch not found" in done.stdout
    assert json.loads((tmp_path / "answer.json").read_text())["outcome"] == "ok"
