# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker's log file belongs to root, as after a careless rotation: the broker cannot boot."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Give the node's own log file to root; systemd opens the two others itself."""
    params = {"mode": rng.choice(("0600", "0640", "0644"))}
    path = f"{means.LOGS}/{lab.data['node']}.log"
    give = f"systemctl stop {means.UNIT}; chown root:root {path}; chmod {params['mode']} {path}"
    means.shell(lab, means.BROKER, give, timeout=90)
    means.begin_boot(lab)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The broker does not boot, and says why."""
    return means.boot_failure(lab, "failed to open log file at .*permission denied|cannot_log_to_file")


def heal(lab: IncusLab, _params: Params) -> None:
    """Give it back to the broker's user."""
    path = f"{means.LOGS}/{lab.data['node']}.log"
    means.shell(lab, means.BROKER, f"chown rabbitmq:rabbitmq {path}; chmod 0640 {path}")
    means.mend_boot(lab)


FAULT = Fault(
    name="log_owner",
    title="The broker's log file has the wrong owner: the broker cannot boot",
    source="LAB: boot failure (ownership)",
    causes=frozenset({"data_dir_not_writable"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_restore_boot=true"),
)
