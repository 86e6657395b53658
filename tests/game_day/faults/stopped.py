# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody stops the broker, and lets the recovery start it again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Stop it, by one of the commands that people use."""
    params = {"by": rng.choice(("systemctl stop", "rabbitmqctl stop"))}
    if params["by"] == "systemctl stop":
        lab.on(means.BROKER, "systemctl", "stop", means.UNIT, check=True, timeout=90)
    else:
        lab.rabbitmqctl("stop", timeout=90)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The unit is inactive without a failure, and the port refuses."""
    unit = means.unit(lab)
    if unit["ActiveState"] == "inactive" and unit["Result"] == "success" and means.hello(lab) == "refused":
        return "the unit is inactive (success), port 5672 refuses"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Start it."""
    means.start_broker(lab)


FAULT = Fault(
    name="stopped",
    title="Somebody stopped the broker; starting is wanted",
    source="LAB: stopped",
    causes=frozenset({"broker_stopped_on_purpose"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_start_stopped=true"),
)
