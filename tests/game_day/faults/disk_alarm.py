# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk of the broker's data runs full: below the limit every publisher is blocked, and all else looks well."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

MIB = 1024 * 1024


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Give the data a small disk of their own, as many a host has; then fill it to below the limit of 50 MB."""
    params = {"left_mb": rng.randrange(15, 42), "disk_mb": rng.randrange(512, 700)}
    means.small_disk(lab, params["disk_mb"])
    free = means.free_bytes(lab)
    means.fill(lab, free - params["left_mb"] * MIB)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The broker says so itself."""
    alarms = means.alarms(lab)
    return f"alarms in effect: {alarms}; {means.free_bytes(lab) // MIB} MiB free" if "disk" in alarms else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Make the disk larger while all runs on: nothing is deleted."""
    means.grow_disk(lab)
    means.until(lambda: means.alarms(lab) == "[]", 40)


FAULT = Fault(
    name="disk_alarm",
    title="Disk alarm: publishers are blocked",
    source="LAB: disk alarm",
    causes=frozenset({"disk_alarm", "resource_alarm"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
)
