# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Erlang cookie was spoilt, as by a deployment or a restored backup: the broker cannot boot."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

COOKIE = f"{means.DATA}/.erlang.cookie"

SPOILT = {
    "mode": (f"chmod 0644 {COOKIE}", "Cookie file .* must be accessible by owner only"),
    "owner": (f"chown root:root {COOKIE}; chmod 0400 {COOKIE}", "Error when reading .*erlang.cookie: eacces"),
    "content": (f": >{COOKIE}", "Too short cookie string"),
}
"""What is wrong -> how it came, and what the broker then says."""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Keep a copy for the healing, spoil the cookie, start."""
    params = {"spoilt": rng.choice(sorted(SPOILT))}
    keep = f"systemctl stop {means.UNIT}; cp -p {COOKIE} {COOKIE}.game-day; chmod u+w {COOKIE}"
    means.shell(lab, means.BROKER, f"{keep}; {SPOILT[params['spoilt']][0]}", timeout=90)
    means.begin_boot(lab)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker does not boot, and says why."""
    return means.boot_failure(lab, SPOILT[params["spoilt"]][1])


def heal(lab: IncusLab, _params: Params) -> None:
    """Put the cookie back as it was."""
    means.put_back(lab, means.BROKER, COOKIE)
    means.mend_boot(lab)


FAULT = Fault(
    name="cookie_mode",
    title="The Erlang cookie is of the wrong mode, owner or content: the broker cannot boot",
    source="LAB: boot failure (cookie)",
    causes=frozenset({"cookie_broken"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_restore_boot=true"),
    may_change=frozenset({"configuration_changed"}),
)
