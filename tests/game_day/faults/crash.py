# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker's process dies, and nothing restarts it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Kill it; Debian's unit would start it again after 10 s, so that is switched off first."""
    params = {"signal": rng.choice(("KILL", "ABRT"))}
    means.drop_in(lab, "[Service]\nRestart=no\n")
    lab.on(means.BROKER, "systemctl", "kill", "-s", params["signal"], "--kill-whom=main", means.UNIT, check=True)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The unit has failed by a signal, and the port refuses."""
    unit = means.unit(lab)
    if unit["ActiveState"] == "failed" and unit["Result"] in ("signal", "core-dump") and means.hello(lab) == "refused":
        return f"the unit is failed ({unit['Result']}, status {unit['ExecMainStatus']}), port 5672 refuses"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Start it."""
    means.remove_drop_in(lab)
    means.start_broker(lab)


FAULT = Fault(
    name="crash",
    title="The broker crashed and stays down",
    source="LAB: crash (Restart=no)",
    causes=frozenset({"broker_crashed"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
)
