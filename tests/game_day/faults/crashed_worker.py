# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker's container has ended and stays so: what docker itself was told to kill it does not restart."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Kill it."""
    kind = rng.choice(means.KINDS)
    params = {"worker": workers.service(kind), "queue": QUEUES[kind]}
    name = means.container(lab, means.WORKERS, params["worker"])["Id"]
    # Of other signals docker takes the end for the container's own, and restarts it; after a TERM it looks stopped.
    lab.on(means.WORKERS, "docker", "kill", "-s", "KILL", name, check=True)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """The container has exited, and its queue has no consumer."""
    state = means.container(lab, means.WORKERS, params["worker"])["State"]
    queue = workers.depth(lab, params["queue"])
    if state["Status"] == "exited" and not queue["consumers"]:
        return f"{params['worker']} has exited ({state['ExitCode']}); {params['queue']}: {queue}"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Start it."""
    means.compose(lab, means.WORKERS, "up", "-d", params["worker"])


def mended(lab: IncusLab, params: Params) -> bool:
    """Its queue has a consumer."""
    return bool(workers.depth(lab, params["queue"])["consumers"])


FAULT = Fault(
    name="crashed_worker",
    title="A worker's container has ended and is not restarted",
    source="LAB: crashed worker",
    causes=frozenset({"worker_crashed"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
    recovers=True,
)
