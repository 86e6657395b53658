# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody ran ``rabbitmqctl stop_app`` and left it so: the process lives, the broker in it does not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, _rng: random.Random) -> Params:
    """Stop the application."""
    lab.rabbitmqctl("stop_app", timeout=60)
    return {}


def present(lab: IncusLab, _params: Params) -> str | None:
    """The unit is active, the node answers, and the application is not among those that run."""
    answer = means.evaluate(lab, "lists:keymember(rabbit, 1, application:which_applications()).")
    if means.unit(lab)["ActiveState"] == "active" and answer == "false" and means.hello(lab) == "refused":
        return "the unit is active; the application rabbit does not run in the node; port 5672 refuses"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Start it."""
    lab.rabbitmqctl("start_app", timeout=120)


FAULT = Fault(
    name="app_stopped",
    title="The application was stopped (stop_app) and left so",
    source="LAB: app stopped",
    causes=frozenset({"app_stopped"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_start_stopped=true"),
)
