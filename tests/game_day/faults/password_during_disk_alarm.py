# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two at once: the password was rotated while the disk alarm is on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params
from tests.game_day.faults import disk_alarm, rotated_password

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Fill the disk first: the small disk wants a broker that serves."""
    params = disk_alarm.inject(lab, rng)
    return {**params, **rotated_password.inject(lab, rng)}


def present(lab: IncusLab, params: Params) -> str | None:
    """Both are to be seen."""
    seen = [fault.present(lab, params) for fault in (disk_alarm, rotated_password)]
    return "; ".join(text for text in seen if text) if all(seen) else None


def heal(lab: IncusLab, params: Params) -> None:
    """Heal both."""
    disk_alarm.heal(lab, params)
    rotated_password.heal(lab, params)


def mended(lab: IncusLab, _params: Params) -> bool:
    """No alarm is in effect, and each backend is connected."""
    return means.alarms(lab) == "[]" and all(means.bus(lab, backend) == "connected" for backend in means.BACKENDS)


FAULT = Fault(
    name="password_during_disk_alarm",
    title="Two at once: a rotated password during a disk alarm",
    source="two faults at once",
    causes=disk_alarm.FAULT.causes | rotated_password.FAULT.causes,
    each=(disk_alarm.FAULT.causes, rotated_password.FAULT.causes),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
    recovers=True,
    flags=rotated_password.FAULT.flags,
    may_change=rotated_password.FAULT.may_change,
)
