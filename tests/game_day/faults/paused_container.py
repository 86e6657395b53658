# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container is paused: the engine has frozen it, and calls it paused."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Pause a backend or a worker."""
    host = rng.choice((*means.BACKENDS, means.WORKERS))
    service = workers.service(rng.choice(means.KINDS)) if host == means.WORKERS else "api"
    means.compose(lab, host, "pause", service)
    return {"host": host, "service": service}


def present(lab: IncusLab, params: Params) -> str | None:
    """Docker says so."""
    state = means.container(lab, params["host"], params["service"])["State"]["Status"]
    return f"{params['service']} on {params['host']} is {state}" if state == "paused" else None


def heal(lab: IncusLab, params: Params) -> None:
    """Let it go on."""
    means.compose(lab, params["host"], "unpause", params["service"])


FAULT = Fault(
    name="paused_container",
    title="A container is paused",
    source="written down nowhere: docker pause",
    causes=frozenset({"backend_frozen", "worker_wedged"}),
    inject=inject,
    present=present,
    heal=heal,
    sticky=True,  # a host with a frozen process can't be stopped, and so not be reset
)
