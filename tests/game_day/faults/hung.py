# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker's process is frozen: it accepts connections and never answers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, _rng: random.Random) -> Params:
    """Stop the process without ending it."""
    lab.on(means.BROKER, "systemctl", "kill", "-s", "STOP", "--kill-whom=main", means.UNIT, check=True)
    return {}


def present(lab: IncusLab, _params: Params) -> str | None:
    """The unit is active and the port accepts, but AMQP does not begin."""
    if means.unit(lab)["ActiveState"] == "active" and means.hello(lab) == "silent":
        return "the unit is active; port 5672 accepts and says nothing"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Restart it."""
    if means.hello(lab) != "start":
        means.restart_broker(lab)


FAULT = Fault(
    name="hung",
    title="The broker hangs: connections are accepted, nothing answers",
    source="LAB: hung",
    causes=frozenset({"broker_hung"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
)
