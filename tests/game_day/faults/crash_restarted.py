# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker's process dies, and its service manager restarts it, as Debian's unit does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Kill it."""
    params = {"signal": rng.choice(("KILL", "ABRT"))}
    lab.on(means.BROKER, "systemctl", "kill", "-s", params["signal"], "--kill-whom=main", means.UNIT, check=True)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The unit waits for its restart; afterwards only the counter tells."""
    unit = means.unit(lab)
    if unit["SubState"] == "auto-restart" and unit["Result"] in ("signal", "core-dump"):
        return f"the unit awaits its restart ({unit['Result']}, status {unit['ExecMainStatus']})"
    if int(unit["NRestarts"]):
        return f"the unit was restarted {unit['NRestarts']} times by systemd"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Wait: the unit starts it again by itself."""
    means.until(lambda: means.hello(lab) == "start", 60)


FAULT = Fault(
    name="crash_restarted",
    title="The broker crashed and systemd restarts it",
    source="LAB: crash",
    # Depends on the moment: dead, booting, or back; healthy alone would hide that it crashed.
    causes=frozenset({"broker_crashed", "broker_booting", "broker_restarted"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    fleeting=True,
)
