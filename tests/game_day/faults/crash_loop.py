# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker dies a few seconds after each start, and systemd starts it again for ever."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

LOOKS = 3
"""Ends after which it is a loop."""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Have each start followed by a signal."""
    params = {"signal": rng.choice(("SEGV", "KILL", "ABRT")), "after": rng.choice((1, 3))}
    killer = f"(sleep {params['after']}; kill -{params['signal']} $MAINPID) &"
    means.drop_in(lab, f"[Service]\nExecStartPost=/bin/sh -c '{killer}'\n")
    lab.on(means.BROKER, "systemctl", "kill", "-s", "KILL", "--kill-whom=main", means.UNIT, check=True)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """systemd has started it some times by itself."""
    restarts = int(means.unit(lab)["NRestarts"])
    return f"systemd has started it {restarts} times by itself" if restarts >= LOOKS else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Remove what kills it, and start it."""
    means.remove_drop_in(lab)
    means.start_broker(lab)


FAULT = Fault(
    name="crash_loop",
    title="The broker dies after each start, and is started for ever",
    source="FACTS 0, row 6: a loop that never becomes failed",
    causes=frozenset({"broker_crash_loop"}),
    inject=inject,
    present=present,
    heal=heal,
    fails=True,
    timeout=120.0,
)
