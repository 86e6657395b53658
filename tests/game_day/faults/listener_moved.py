# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A configuration is deployed that the broker likes, and by which it listens where no client looks for it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

FILE = "/etc/rabbitmq/rabbitmq.conf"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Add a listener to the file that is there, which takes the default one's place, and restart."""
    params = {"listener": rng.choice(("listeners.tcp.local = 127.0.0.1:5672", "listeners.tcp.default = 5673"))}
    script = f"systemctl stop {means.UNIT}; cp -p {FILE} {FILE}.game-day; echo '{params['listener']}' >>{FILE}"
    means.shell(lab, means.BROKER, f"{script}; systemctl start {means.UNIT}", timeout=120)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """Its unit is active, its management API answers, and its port is closed."""
    unit, greeting = means.unit(lab), means.hello(lab)
    if unit["ActiveState"] == "active" and greeting == "refused":
        return f"the unit is active; port 5672: {greeting} ({params['listener']})"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Put the file back, and restart."""
    means.put_back(lab, means.BROKER, FILE)
    means.shell(lab, means.BROKER, f"systemctl restart {means.UNIT}", timeout=120)


FAULT = Fault(
    name="listener_moved",
    title="The broker listens where no client looks for it",
    source="written down nowhere: a listener on another port or address",
    causes=frozenset({"broker_listens_elsewhere"}),
    inject=inject,
    present=present,
    heal=heal,
)
