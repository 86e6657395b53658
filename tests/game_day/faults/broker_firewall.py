# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker's own host drops or refuses all that is sent to the broker, also from itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Shut its ports by its own firewall; the connections that live are shut too."""
    params = {"verdict": rng.choice(("drop", "reject with tcp reset"))}
    means.drop_packets(lab, means.BROKER, "tcp dport { 5672, 15672, 15692 }", chain="input", verdict=params["verdict"])
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """Its unit is active, and its port does not answer."""
    unit, greeting = means.unit(lab), means.hello(lab)
    if unit["ActiveState"] == "active" and greeting in ("refused", "timeout"):
        return f"the unit is active; port 5672: {greeting} ({params['verdict']})"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Let them pass."""
    means.undo_packets(lab, means.BROKER)


FAULT = Fault(
    name="broker_firewall",
    title="The broker's own firewall shuts its ports",
    source="written down nowhere: the broker's own firewall",
    causes=frozenset({"broker_filtered"}),
    inject=inject,
    present=present,
    heal=heal,
)
