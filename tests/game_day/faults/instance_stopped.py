# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody has stopped the broker's instance: its address answers nothing, as if it had never been."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Stop it, as a person does or as the loss of its power would."""
    params = {"how": rng.choice(("shut down", "cut off"))}
    lab.incus("stop", means.BROKER, *(["--force"] if params["how"] == "cut off" else []), timeout=180)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """Incus says so, and nobody is there to answer."""
    status, answer = means.instances(lab)[means.BROKER], means.hello(lab)
    return f"Incus: {status}; port 5672: {answer}" if status == "STOPPED" and answer in ("timeout", "closed") else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Start it; its broker boots with it."""
    if means.instances(lab)[means.BROKER] == "STOPPED":
        lab.incus("start", means.BROKER)


FAULT = Fault(
    name="instance_stopped",
    title="The broker's instance is stopped",
    source="incus stop",
    causes=frozenset({"instance_stopped"}),
    inject=inject,
    present=present,
    heal=heal,
    sticky=True,  # restored, it would be as it was: stopped
)
