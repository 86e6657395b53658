# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A quota is used up that df does not show: the broker dies of it with gigabytes free."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params
from tests.game_day.faults import disk_full_loop
from tests.lab.state import LabError

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


ROOM = 1024**3


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Let Incus limit the whole host's disk to a little more than it has; then have all of it used up."""
    params = {"room_mb": rng.randrange(200, 500), "message_kb": rng.randrange(100, 600)}
    used = int(means.shell(lab, means.BROKER, "du -xsm / | cut -f1"))
    lab.incus("config", "device", "override", means.BROKER, "root", f"size={used + params['room_mb']}MiB")
    if not means.until(lambda: enforced(lab, params["room_mb"]), 30):
        raise LabError("the quota was set, and more than it allows can be written")
    disk_full_loop.use_up(lab, params["message_kb"])
    return params


def enforced(lab: IncusLab, room_mb: int) -> bool:
    """Whether the quota holds: for a while after a reset Btrfs counts anew, and lets everything pass."""
    attempt = f"{means.DATA}/attempt"
    tried = lab.on(means.BROKER, "fallocate", "--length", f"{room_mb + 1024}MiB", attempt, check=False, timeout=20)
    lab.on(means.BROKER, "rm", "-f", attempt, check=True, timeout=20)
    return "quota" in tried.stderr.lower()


def present(lab: IncusLab, _params: Params) -> str | None:
    """df has plenty, no byte can be written, and the broker serves nobody. No log tells: it is on the same disk.

    It dies of it, again and again; one of before 4 may live on, with its port closed.
    """
    free, unit = means.free_bytes(lab), means.unit(lab)
    attempt = f"head -c 65536 /dev/zero >{means.DATA}/attempt; sync {means.DATA}/attempt"
    tried = lab.on(means.BROKER, "sh", "-c", attempt, check=False, timeout=20)
    lab.on(means.BROKER, "rm", "-f", f"{means.DATA}/attempt", check=False, timeout=20)
    over = unit["ActiveState"] != "active" or means.hello(lab) == "refused"
    if free > ROOM and over and "quota" in tried.stderr.lower():
        said = tried.stderr.splitlines()[0]
        return f"{free // 1024**2} MiB free by df; writing fails: {said}; the unit is {unit['SubState']}"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Raise the quota, then start. Btrfs itself can't note a new quota before something is given back."""
    lab.on(means.BROKER, "truncate", "--size=0", f"{means.DATA}/fill", check=False, timeout=30)
    lab.on(means.BROKER, "rm", "-f", f"{means.DATA}/fill", check=False, timeout=30)
    means.until(lambda: not lab.incus("config", "device", "set", means.BROKER, "root", "size=20GiB"), 20)
    disk_full_loop.tidy(lab)


FAULT = Fault(
    name="disk_quota_hidden",
    title="A quota that df cannot see is used up: the broker dies, and dies at each start",
    source="LAB: disk alarm (quota invisible to df)",
    causes=frozenset({"disk_quota"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    timeout=75.0,
    sticky=True,
)
