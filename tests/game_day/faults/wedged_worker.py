# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker's process hangs: its container runs, and its messages lie."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Stop the worker's process, not the init above it, as seen from its host."""
    kind = rng.choice(means.KINDS)
    params = {"worker": workers.service(kind), "queue": QUEUES[kind]}
    pids = workers.processes(lab, params["worker"])
    lab.on(means.WORKERS, "kill", "-STOP", *pids, check=True)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """The container runs, its process is stopped; messages stay unacknowledged, or the broker has given it up."""
    running = means.container(lab, means.WORKERS, params["worker"])["State"]["Running"]
    states = set(workers.processes(lab, params["worker"]).values())
    queue = workers.depth(lab, params["queue"])
    if running and states == {"T"} and (queue["messages_unacknowledged"] or not queue["consumers"]):
        return f"{params['worker']} runs for docker, its process is stopped; {params['queue']}: {queue}"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Restart that worker."""
    means.compose(lab, means.WORKERS, "restart", params["worker"])


def mended(lab: IncusLab, params: Params) -> bool:
    """Its queue has a consumer, and the process lives."""
    return "T" not in workers.processes(lab, params["worker"]).values() and bool(
        workers.depth(lab, params["queue"])["consumers"]
    )


FAULT = Fault(
    name="wedged_worker",
    title="A worker hangs: docker calls it running, it does nothing",
    source="LAB: wedged worker",
    causes=frozenset({"worker_wedged"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
    recovers=True,
)
