# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Memory is above the watermark: every publisher is blocked, and all else looks well."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Lower the watermark below what a process in the node then takes."""
    params = {
        "limit_mb": rng.randrange(180, 230),
        "hog_mb": rng.randrange(260, 340),
        "watermark": means.evaluate(lab, "vm_memory_monitor:get_vm_memory_high_watermark()."),
    }
    lab.rabbitmqctl("set_vm_memory_high_watermark", "absolute", f"{params['limit_mb']}MB", timeout=30)
    hog = f"B = binary:copy(<<1>>, {params['hog_mb']} * 1024 * 1024), receive stop -> size(B) end"
    means.evaluate(lab, f"register(game_day_hog, spawn(fun() -> {hog} end)).")
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The broker says so itself."""
    alarms = means.alarms(lab)
    return f"alarms in effect: {alarms}" if "memory" in alarms else None


def heal(lab: IncusLab, params: Params) -> None:
    """End what takes the memory, and put the watermark back."""
    means.evaluate(lab, "case whereis(game_day_hog) of undefined -> ok; Pid -> Pid ! stop end.")
    means.evaluate(lab, f"vm_memory_monitor:set_vm_memory_high_watermark({params['watermark']}).")
    means.until(lambda: means.alarms(lab) == "[]", 30)


FAULT = Fault(
    name="memory_alarm",
    title="Memory alarm: publishers are blocked",
    source="LAB: memory alarm",
    causes=frozenset({"memory_alarm", "resource_alarm"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    # What fills the memory stays until it is healed, so the watermark stays raised: to set it back would block all.
    may_change=frozenset({"limits_changed"}),
)
