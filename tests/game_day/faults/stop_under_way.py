# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody stops the broker, and it does not end: systemd waits for a process that hangs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


STEPS = {"freezes": "kill -STOP $MAINPID", "stops the application": "/usr/sbin/rabbitmqctl stop_app"}
"""What the unit's own command for a stop does, and then waits for what never comes."""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Stop it by a command that gets half-way only, with no end to systemd's patience."""
    step = rng.choice(sorted(STEPS))
    command = f"/bin/sh -c '{STEPS[step]}; exec sleep infinity'"
    means.drop_in(lab, f"[Service]\nTimeoutStopSec=infinity\nExecStop=\nExecStop=+{command}\n")
    lab.on(means.BROKER, "systemctl", "stop", "--no-block", means.UNIT, check=True)
    return {"step": step}


def present(lab: IncusLab, _params: Params) -> str | None:
    """The unit is being stopped, and the process lives."""
    unit = means.unit(lab)
    if unit["ActiveState"] == "deactivating" and means.beam(lab) != "0":
        return f"the unit is {unit['ActiveState']}/{unit['SubState']}, and the broker's process lives"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """End it, and start it."""
    means.remove_drop_in(lab)
    if means.unit(lab)["ActiveState"] == "deactivating":
        lab.on(means.BROKER, "systemctl", "kill", "-s", "KILL", means.UNIT, check=True)
        means.until(lambda: means.unit(lab)["ActiveState"] != "deactivating", 30)
    means.start_broker(lab)


FAULT = Fault(
    name="stop_under_way",
    title="The broker is being stopped, and does not end",
    source="a systemctl stop that hangs",
    causes=frozenset({"broker_stopping"}),
    inject=inject,
    present=present,
    heal=heal,
)
