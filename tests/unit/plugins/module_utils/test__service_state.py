# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _service_state as service
from ansible_collections.veza.rabbitmq.plugins.module_utils._command import Ended

NOW = 1795464900.0  # 2026-11-23T20:15:00Z


def show(**changes: str) -> str:
    """Return what systemctl show prints for a unit that runs, in the form of systemd 252."""
    values = {
        "Result": "success", "NRestarts": "0", "MainPID": "712", "ExecMainCode": "0", "ExecMainStatus": "0",
        "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "StatusText": "Initialized",
        "StateChangeTimestampMonotonic": "100000000", **changes,
    }  # fmt: skip
    return "".join(f"{name}={value}\n" for name, value in values.items())


def judge(text: str, code: int = 0, error: str = "", manager: str = "systemd") -> dict[str, Any]:
    return service.judge(manager, "rabbitmq-server", Ended(code, text, error), NOW, 160.0)


@pytest.mark.parametrize(
    ("active", "sub", "state"),
    [
        ("active", "running", "running"),
        ("reloading", "reload", "running"),
        ("activating", "start", "starting"),
        ("activating", "start-pre", "starting"),
        ("activating", "auto-restart", "restarting"),
        ("activating", "auto-restart-queued", "restarting"),
        ("deactivating", "stop-sigterm", "stopping"),
        ("inactive", "dead", "stopped"),
        ("failed", "failed", "failed"),
        ("maintenance", "new-in-systemd-999", "unknown"),
    ],
)
def test_systemds_states(active: str, sub: str, state: str) -> None:
    found = judge(show(ActiveState=active, SubState=sub))
    assert found["state"] == state
    assert found["state"] in service.STATES
    assert found["detail"].startswith(f"{active}/{sub}")


def test_a_unit_that_runs() -> None:
    found = judge(show())
    assert (found["main_pid"], found["restarts"], found["result"]) == (712, 0, "success")
    assert found["since"] == "2026-11-23T20:14:00.000Z"
    assert (found["exit_code"], found["exit_signal"]) == (None, None)
    assert found["detail"] == "active/running, Initialized"


@pytest.mark.parametrize(
    ("code", "status", "exit_code", "exit_signal"),
    [
        ("2", "9", None, "SIGKILL"),
        ("3", "11", None, "SIGSEGV"),
        ("2", "250", None, "250"),
        ("1", "1", 1, None),
        ("1", "0", 0, None),
        ("0", "0", None, None),
        ("", "", None, None),
    ],
)
def test_how_the_last_run_ended(code: str, status: str, exit_code: int | None, exit_signal: str | None) -> None:
    unit = show(ActiveState="activating", SubState="auto-restart", Result="signal", NRestarts="4", MainPID="0",
                ExecMainCode=code, ExecMainStatus=status)  # fmt: skip
    found = judge(unit)
    assert (found["exit_code"], found["exit_signal"]) == (exit_code, exit_signal)
    assert (found["restarts"], found["main_pid"], found["result"]) == (4, None, "signal")


def test_a_unit_that_does_not_exist() -> None:
    found = judge(show(LoadState="not-found", ActiveState="inactive", SubState="dead"))
    assert (found["state"], found["detail"]) == ("unknown", "systemd knows no unit rabbitmq-server.")


def test_a_host_without_systemd() -> None:
    found = judge("", 1, "System has not been booted with systemd as init system (PID 1). Can't operate.\n")
    assert found["state"] == "unknown"
    assert "has not been booted with systemd" in found["detail"]


@pytest.mark.parametrize("text", ["", "nonsense", "ActiveState", "=\n=\n", "\x00"])
def test_nonsense_of_systemctl_is_unknown(text: str) -> None:
    assert judge(text)["state"] == "unknown"


def test_an_old_systemd_that_lacks_properties() -> None:
    found = judge("LoadState=loaded\nActiveState=active\nSubState=running\n")
    assert (found["state"], found["since"], found["restarts"], found["main_pid"]) == ("running", None, None, None)


@pytest.mark.parametrize(
    ("manager", "code", "state"),
    [
        ("sysvinit", 0, "running"),
        ("sysvinit", 1, "failed"),
        ("sysvinit", 2, "failed"),
        ("sysvinit", 3, "stopped"),
        ("sysvinit", 4, "unknown"),
        ("command", 0, "running"),
        ("command", 3, "stopped"),
        ("command", 1, "unknown"),
        ("command", 2, "unknown"),
        ("command", 127, "unknown"),
        ("command", -9, "unknown"),
    ],
)
def test_exit_codes(manager: str, code: int, state: str) -> None:
    found = judge("", code, "it said this\n", manager)
    assert found["state"] == state
    assert "it said this" in found["detail"]
    assert found["manager"] == manager
    assert set(found) == set(judge(show()))


def test_the_commands_that_ask() -> None:
    asked = service.command("systemd", "rabbitmq-server", [])
    assert asked[:2] == ["systemctl", "show"]
    assert asked[-2:] == ["--", "rabbitmq-server"]
    assert service.command("sysvinit", "rabbitmq-server", []) == ["/etc/init.d/rabbitmq-server", "status"]
    assert service.command("command", "x", ["supervisorctl", "status"]) == ["supervisorctl", "status"]
