# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exchange is gone: whoever publishes is refused."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import EXCHANGE, QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, _rng: random.Random) -> Params:
    """Delete it, with its bindings."""
    means.api(lab, "DELETE", f"/api/exchanges/{workers.VHOST}/{EXCHANGE}")
    return {"bindings": sorted(QUEUES.values())}


def present(lab: IncusLab, _params: Params) -> str | None:
    """The broker refuses what is published."""
    times = workers.logged(lab, f"no exchange '{EXCHANGE}'")
    return f"{times} times a publisher was told that there is no exchange {EXCHANGE}" if times >= 2 else None


def heal(lab: IncusLab, params: Params) -> None:
    """Declare it again, and bind the queues."""
    means.api(lab, "PUT", f"/api/exchanges/{workers.VHOST}/{EXCHANGE}", {"type": "direct", "durable": True})
    for queue in params["bindings"]:
        workers.bind(lab, queue)


FAULT = Fault(
    name="exchange_deleted",
    title="The exchange was deleted",
    source="written down nowhere: an exchange is gone",
    causes=frozenset({"exchange_missing"}),
    inject=inject,
    present=present,
    heal=heal,
)
