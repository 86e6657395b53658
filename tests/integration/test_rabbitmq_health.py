# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module rabbitmq_health against a real broker in each of its states."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _health
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import TimedOut
from ansible_collections.veza.rabbitmq.plugins.modules import rabbitmq_health
from tests.lab import broker, processes
from tests.lab.state import Lab

QUEUES = ["transcode_jobs", "dmca_propagation"]

PATIENCE = 120.0
"""Seconds after which something has gone wrong, however busy the machine is."""

LONG = 60.0
"""Seconds that a request may take: a busy machine does not need so many."""

AT_ONCE = 20.0
"""What takes less than this has not waited for a deadline of LONG."""


def look(lab: Lab, user: str | tuple[str, str] = "monitor", **given: Any) -> dict[str, Any]:
    """Run the module's own code as a user of the lab."""
    defaults = {name: option.get("default") for name, option in rabbitmq_health.argument_spec().items()}
    account = lab.credentials[user] if isinstance(user, str) else {"user": user[0], "password": user[1]}
    params = {
        **defaults,
        "login_host": "127.0.0.1",
        "login_port": lab.ports["management"],
        "login_user": account["user"],
        "login_password": account["password"],
        "amqp_port": lab.ports["amqp"],
        "vhost": broker.VHOST,
        "queues": QUEUES,
        "timeout": LONG,
        **given,
    }
    result = rabbitmq_health.run(params, rabbitmq_health.rungs_of(params))
    assert account["password"] not in repr(result)
    return result


def check(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in result["checks"] if check["name"] == name)


def failed(result: dict[str, Any]) -> list[str]:
    return [check["name"] for check in result["checks"] if check["result"] == "fail"]


@contextmanager
def account(lab: Lab, *, tag: str, vhost: str | None) -> Iterator[tuple[str, str]]:
    """A user for one test."""
    name = "short-lived"
    broker.api(lab, "PUT", f"/api/users/{name}", {"password": "s3cret-never-shown", "tags": tag})
    if vhost:
        nothing = {"configure": "^$", "write": "^$", "read": "^$"}
        broker.api(lab, "PUT", f"/api/permissions/{vhost.replace('/', '%2F')}/{name}", nothing)
    try:
        yield name, "s3cret-never-shown"
    finally:
        broker.api(lab, "DELETE", f"/api/users/{name}")


@contextmanager
def down(lab: Lab) -> Iterator[None]:
    """Kill the broker; it serves again afterwards."""
    broker.kill(lab)
    try:
        yield
    finally:
        broker.start(lab)


def test_a_healthy_broker(bare_lab: Lab) -> None:
    mine = [{"name": "mine", "query": "queues.transcode_jobs.state", "expect": "running"}]
    result = look(bare_lab, settled=True, wait_timeout=PATIENCE, node=broker.node_name(bare_lab), checks=mine)
    assert (result["verdict"], result["rung"], result["unknown"]) == ("healthy", "management", []), result["reason"]
    assert result["broker"]["node"] == broker.node_name(bare_lab)
    assert check(result, "mine")["result"] == "pass"
    assert result["elapsed"] < PATIENCE


ALARMS = {
    "memory": (("set_vm_memory_high_watermark", "absolute", "1MB"), ("set_vm_memory_high_watermark", "0.4")),
    "disk space": (("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "50MB")),
}


@pytest.mark.parametrize("resource", ALARMS)
def test_never_healthy_under_an_alarm(bare_lab: Lab, resource: str) -> None:
    set_it, clear_it = ALARMS[resource]
    bare_lab.rabbitmqctl(*set_it)
    try:
        result = look(bare_lab)
        assert result["verdict"] == "unhealthy"
        assert failed(result) == ["alarms", "local_alarms"]
        assert f"{resource} on {broker.node_name(bare_lab)}" in result["reason"]
    finally:
        bare_lab.rabbitmqctl(*clear_it)
    assert look(bare_lab, wait_timeout=PATIENCE)["verdict"] == "healthy"


def test_a_killed_broker(bare_lab: Lab) -> None:
    with down(bare_lab):
        result = look(bare_lab)
        assert (result["verdict"], result["rung"]) == ("unhealthy", "none")
        # For some milliseconds a killed process's listening socket still accepts, and then resets.
        assert result["management"]["outcome"] in ("refused", "reset")
        assert result["elapsed"] < AT_ONCE
        with pytest.raises(TimedOut) as timed_out:
            look(bare_lab, wait_timeout=2)
        assert 2 <= timed_out.value.details["elapsed"] < AT_ONCE
        assert set(timed_out.value.details) == set(result)


def test_after_a_boot_the_counts_come_late_and_are_waited_for(bare_lab: Lab) -> None:
    # The counts come five seconds after the boot; a busy machine may not let us look before: then once more.
    for _boot in range(3):
        with down(bare_lab):
            pass
        first = look(bare_lab, settled=True)
        early = look(bare_lab)
        assert early["verdict"] in ("healthy", "unknown")
        if first["verdict"] == "unknown":
            break
    assert first["verdict"] == "unknown"
    settled = look(bare_lab, settled=True, wait_timeout=PATIENCE)
    assert settled["verdict"] == "healthy"
    assert "count not yet" not in check(settled, "queues")["detail"]


def test_a_hung_broker_costs_two_timeouts(bare_lab: Lab) -> None:
    process = bare_lab.running("broker")
    assert process is not None
    process.freeze()
    try:
        began = time.monotonic()
        result = look(bare_lab, timeout=4.0)
        assert time.monotonic() - began < 12
        assert (result["verdict"], result["rung"]) == ("unhealthy", "none")
        assert result["management"]["outcome"] == "timed_out"
    finally:
        process.send(signal.SIGCONT)
    assert processes.wait_until(lambda: look(bare_lab)["verdict"] == "healthy", PATIENCE, 1.0)


def test_without_the_management_plugin_amqp_answers(bare_lab: Lab) -> None:
    result = look(bare_lab, login_port=bare_lab.ports["backend-5"])  # nothing listens there in this lab
    assert (result["verdict"], result["rung"]) == ("unknown", "amqp")
    assert result["broker"]["version"] == broker.api(bare_lab, "GET", "/api/overview")["rabbitmq_version"]
    assert {"alarms", "vhost", "queues"} <= set(result["unknown"])


def test_the_command_line_rung(bare_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_health, "CLI_TIMEOUT", PATIENCE)  # each command starts an Erlang VM
    tool = [str(bare_lab.dir / "bin" / "rabbitmq-diagnostics")]
    elsewhere: dict[str, Any] = {"login_port": bare_lab.ports["backend-5"], "cli": tool}
    result = look(bare_lab, **elsewhere)
    assert (result["verdict"], result["rung"]) == ("unknown", "cli")
    answered = {check(result, name)["result"] for name in ("reachable", "alarms", "local_alarms", "listeners")}
    assert answered == {"pass"}
    set_it, clear_it = ALARMS["memory"]
    bare_lab.rabbitmqctl(*set_it)
    try:
        result = look(bare_lab, **elsewhere)
        assert (result["verdict"], failed(result)) == ("unhealthy", ["alarms", "local_alarms"])
        assert "Memory alarm" in result["reason"]
    finally:
        bare_lab.rabbitmqctl(*clear_it)


def test_a_wrong_password_and_a_user_without_a_tag_are_not_down(bare_lab: Lab) -> None:
    monitor = bare_lab.credentials["monitor"]["user"]
    wrong = look(bare_lab, (monitor, "wrong-password"))
    assert (wrong["verdict"], wrong["management"]["outcome"], wrong["rung"]) == ("unknown", "login_refused", "amqp")
    assert failed(wrong) == ["authorised"]
    untagged = look(bare_lab, "veza")
    assert (untagged["verdict"], untagged["management"]["outcome"]) == ("unknown", "not_permitted")
    assert "needs the tag monitoring" in untagged["reason"]


def test_a_monitoring_user_without_the_vhost_does_not_see_nothing_for_all(bare_lab: Lab) -> None:
    with account(bare_lab, tag="monitoring", vhost=None) as user:
        result = look(bare_lab, user)
        assert (result["verdict"], result["unknown"]) == ("unknown", ["queues"])
        assert "set_permissions" in check(result, "queues")["detail"]
    with account(bare_lab, tag="management", vhost=broker.VHOST) as user:
        result = look(bare_lab, user)
        assert (result["verdict"], result["unknown"]) == (
            "unknown",
            ["nodes_running", "partitions", "file_descriptors"],
        )
    with account(bare_lab, tag="monitoring", vhost=broker.VHOST) as user:
        assert look(bare_lab, user)["verdict"] == "healthy"


def test_what_is_expected_and_missing(bare_lab: Lab) -> None:
    no_vhost = look(bare_lab, vhost="/nosuch")
    assert (no_vhost["verdict"], failed(no_vhost)) == ("unhealthy", ["vhost", "queues"])
    assert "'/nosuch' does not exist" in no_vhost["reason"]
    no_queue = look(bare_lab, queues=[*QUEUES, "nosuch"])
    assert (no_queue["verdict"], failed(no_queue)) == ("unhealthy", ["queues"])
    assert "'nosuch' does not exist" in no_queue["reason"]
    renamed = look(bare_lab, node="rabbit@before")
    assert (renamed["verdict"], failed(renamed)) == ("unhealthy", ["identity"])
    closed = look(bare_lab, amqp_port=1)
    assert (closed["verdict"], failed(closed)) == ("unhealthy", ["listeners"])
