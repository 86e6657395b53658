# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a service manager says about a service: the commands that ask it, and pure functions over their answers."""

from __future__ import annotations

import signal
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from ._command import Ended
from ._record import stamp

STATES = ("running", "stopped", "starting", "stopping", "failed", "restarting", "unknown")

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "MainPID", "ExecMainCode", "ExecMainStatus",
    "StateChangeTimestampMonotonic", "StatusText", "UnitFileState", "User",
)  # fmt: skip

# systemd's ActiveState and SubState (empty: any); the first that fits wins. A boot loop never becomes "failed".
_SYSTEMD = (
    ("activating", "auto-restart", "restarting"),
    ("activating", "auto-restart-queued", "restarting"),
    ("activating", "", "starting"),
    ("active", "", "running"),
    ("reloading", "", "running"),
    ("deactivating", "", "stopping"),
    ("failed", "", "failed"),
    ("inactive", "", "stopped"),
)

# Exit codes of an init script's status, after the Linux Standard Base.
_SYSVINIT = {0: "running", 1: "failed", 2: "failed", 3: "stopped"}
# The same for a command of the operator's: 1 and 2 are what any command says when it fails itself.
_COMMAND = {0: "running", 3: "stopped"}

_ENABLED = {"enabled": True, "disabled": False, "masked": False}
"""Whether a boot starts a unit, by its UnitFileState, of which the rest is how long that lasts."""

_EXITED, _KILLED, _DUMPED = 1, 2, 3
"""systemd's ExecMainCode."""

_LENGTH = 300


def command(manager: str, service: str, status_command: list[str]) -> list[str]:
    """Return the command that asks the manager; it changes nothing."""
    if manager == "systemd":
        return ["systemctl", "show", "--no-pager", "--property=" + ",".join(_PROPERTIES), "--", service]
    if manager == "sysvinit":
        return [f"/etc/init.d/{service}", "status"]
    return status_command


def unknown(manager: str, detail: str) -> dict[str, Any]:
    """Return the state of a service about which nothing is known."""
    return {
        "manager": manager,
        "state": "unknown",
        "since": None,
        "restarts": None,
        "result": None,
        "exit_code": None,
        "exit_signal": None,
        "main_pid": None,
        "user": None,
        "enabled": None,
        "detail": detail,
    }


def judge(manager: str, service: str, ran: Ended, now: float, monotonic: float) -> dict[str, Any]:
    """Return the state that the manager's answer means; ``detail`` says why it is unknown, if it is."""
    if manager == "systemd":
        return _judge_systemd(service, ran, now, monotonic)
    codes = _SYSVINIT if manager == "sysvinit" else _COMMAND
    said = _short(ran.out) or _short(ran.err)
    if ran.code not in codes:
        return unknown(manager, f"The status command of {service} ended with exit code {ran.code}: {said or 'silence'}")
    return {**unknown(manager, said), "state": codes[ran.code]}


def _judge_systemd(service: str, ran: Ended, now: float, monotonic: float) -> dict[str, Any]:
    values = dict(line.split("=", 1) for line in ran.out.splitlines() if "=" in line)
    if ran.code != 0 or "ActiveState" not in values:
        return unknown("systemd", f"systemctl ended with exit code {ran.code}: {_short(ran.err) or 'silence'}")
    if values.get("LoadState") == "not-found":
        return unknown("systemd", f"systemd knows no unit {service}.")
    active, sub = values["ActiveState"], values.get("SubState", "")
    state = next((state for name, part, state in _SYSTEMD if name == active and part in ("", sub)), "unknown")
    code, status = _number(values.get("ExecMainCode")), _number(values.get("ExecMainStatus"))
    changed = _number(values.get("StateChangeTimestampMonotonic"))
    masked = "masked, so that nothing starts it" if values.get("LoadState") == "masked" else ""
    # Counted from the boot, because systemd's other form is in the local time zone.
    since = datetime.fromtimestamp(now - monotonic + changed / 1e6, timezone.utc) if changed else None
    return {
        "manager": "systemd",
        "state": state,
        "since": stamp(since) if since else None,
        "restarts": _number(values.get("NRestarts")),
        "result": values.get("Result"),
        "exit_code": status if code == _EXITED else None,
        "exit_signal": _signal_name(status) if code in (_KILLED, _DUMPED) else None,
        "main_pid": _number(values.get("MainPID")) or None,
        "user": values.get("User") or None,
        "enabled": _ENABLED.get(values.get("UnitFileState", "").partition("-")[0]),
        "detail": ", ".join(filter(None, [f"{active}/{sub}", masked, _short(values.get("StatusText", ""))])),
    }


def _number(text: str | None) -> int | None:
    with suppress(ValueError):
        return int(text or "")
    return None


def _signal_name(number: int | None) -> str | None:
    with suppress(ValueError):
        return None if number is None else signal.Signals(number).name
    return str(number)


def _short(text: str) -> str:
    return " ".join(text.split())[:_LENGTH]
