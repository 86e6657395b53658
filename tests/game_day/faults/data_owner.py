# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data directory belongs to somebody else, as after a restore by root: the broker cannot boot."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

MNESIA = f"{means.DATA}/mnesia"

SAID = (
    "cannot_delete_plugins_expand_dir|Ra could not create its data directory|eacces|"
    "Failed to (create|write|open).*[Pp]ermission denied"
)


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Give all of it, or the node's own directory, to root."""
    params = {"path": rng.choice((MNESIA, f"{MNESIA}/{lab.data['node']}")), "mode": rng.choice(("0700", "0755"))}
    give = f"chown -R root:root {params['path']}; chmod {params['mode']} {params['path']}"
    means.shell(lab, means.BROKER, f"systemctl stop {means.UNIT}; {give}", timeout=90)
    means.begin_boot(lab)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The broker does not boot, and says why."""
    return means.boot_failure(lab, SAID)


def heal(lab: IncusLab, _params: Params) -> None:
    """Give it back to the broker's user."""
    means.shell(lab, means.BROKER, f"chown -R rabbitmq:rabbitmq {MNESIA}; chmod 0750 {MNESIA} {MNESIA}/rabbit@*")
    means.mend_boot(lab)


FAULT = Fault(
    name="data_owner",
    title="The data directory has the wrong owner: the broker cannot boot",
    source="LAB: boot failure (ownership)",
    causes=frozenset({"data_dir_not_writable"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_restore_boot=true"),
)
