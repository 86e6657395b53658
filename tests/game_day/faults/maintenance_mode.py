# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node was put into maintenance mode, for an upgrade say, and was never taken out of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, _rng: random.Random) -> Params:
    """Drain it."""
    lab.on(means.BROKER, "rabbitmq-upgrade", "drain", check=True, timeout=90)
    return {}


def present(lab: IncusLab, _params: Params) -> str | None:
    """The unit is active, the application runs, the node says that it is drained, and the port refuses."""
    drained = means.evaluate(
        lab,
        "{rabbit_maintenance:is_being_drained_local_read(node()),"
        " lists:keymember(rabbit, 1, application:which_applications())}.",
    )
    if means.unit(lab)["ActiveState"] == "active" and drained == "{true,true}" and means.hello(lab) == "refused":
        return "the unit is active and rabbit runs in the node, which is drained; port 5672 refuses"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Revive it."""
    lab.on(means.BROKER, "rabbitmq-upgrade", "revive", check=True, timeout=90)


FAULT = Fault(
    name="maintenance_mode",
    title="Maintenance mode was left on",
    source="FACTS 4.3: maintenance (drain)",
    causes=frozenset({"maintenance_mode"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_start_stopped=true"),
)
