# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hypervisor has paused the broker's instance: its ports take connections no more, and nothing in it answers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, _rng: random.Random) -> Params:
    """Pause it."""
    lab.incus("pause", means.BROKER)
    return {}


def present(lab: IncusLab, _params: Params) -> str | None:
    """Incus says so, and the broker's port tells nothing."""
    status, answer = means.instances(lab)[means.BROKER], means.hello(lab)
    return f"Incus: {status}; port 5672: {answer}" if status == "FROZEN" and answer in ("silent", "timeout") else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Let it go on."""
    if means.instances(lab)[means.BROKER] == "FROZEN":
        lab.incus("resume", means.BROKER)


FAULT = Fault(
    name="instance_frozen",
    title="The broker's instance is paused by the hypervisor",
    source="incus pause",
    causes=frozenset({"instance_frozen"}),
    inject=inject,
    present=present,
    heal=heal,
    sticky=True,  # a frozen instance can't be stopped, and so not be reset
)
