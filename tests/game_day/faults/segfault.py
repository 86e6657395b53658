# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker's process dies of a segmentation fault, and its service manager restarts it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Give it the signal, from its service manager or from its own host as the kernel would."""
    params = {"by": rng.choice(("systemctl", "kill"))}
    if params["by"] == "systemctl":
        lab.on(means.BROKER, "systemctl", "kill", "-s", "SEGV", "--kill-whom=main", means.UNIT, check=True)
    else:
        lab.on(means.BROKER, "kill", "-s", "SEGV", means.beam(lab), check=True)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """systemd says what the process died of: in the unit's state until the restart, in the journal for good."""
    said = f"journalctl -q -u {means.UNIT} -o cat | grep -m1 'status=11/SEGV'"
    line = means.shell(lab, means.BROKER, said, check=False).strip()
    return f"{line} (restarted {means.unit(lab)['NRestarts']} times)" if line else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Wait: the unit starts it again by itself."""
    means.until(lambda: means.hello(lab) == "start", 60)


FAULT = Fault(
    name="segfault",
    title="The broker died of a segmentation fault and systemd restarts it",
    source="LAB: crash (SEGV)",
    # While it is dead or booting nobody needs to know more: the remedy is to wait. Once it is back the crash must be
    # told.
    causes=frozenset({"broker_segfault", "broker_crashed", "broker_booting", "broker_restarted"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    fleeting=True,
)
