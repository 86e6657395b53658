# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hypervisor lets the broker's instance have next to no processor: all of it is slow, and nothing is broken."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

OPTION = "limits.cpu.allowance"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Limit it."""
    params = {"allowance": f"{rng.choice((2, 3))}ms/100ms"}
    lab.incus("config", "set", means.BROKER, f"{OPTION}={params['allowance']}")
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """A program that takes some hundredths of a second of a processor takes seconds."""
    began = time.monotonic()
    lab.on(means.BROKER, "python3", "-c", "sum(range(1000000))", check=True, timeout=60)
    seconds = time.monotonic() - began
    return f"a sum took {seconds:.1f} s" if seconds > 1.0 else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Let it have what it needs again."""
    lab.incus("config", "unset", means.BROKER, OPTION)


FAULT = Fault(
    name="cpu_starved",
    title="The broker's host gets next to no processor time",
    source="written down nowhere: limits.cpu.allowance",
    causes=frozenset({"broker_starved"}),
    inject=inject,
    present=present,
    heal=heal,
    sticky=True,  # a reset would take long, too
)
