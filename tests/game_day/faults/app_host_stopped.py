# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The instance of all workers, or of a backend, is stopped or paused: nobody is there to say why."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def _idle(lab: IncusLab) -> dict[str, str]:
    """Return which of these instances do not run, and their status."""
    states = means.instances(lab)
    return {host: states[host] for host in (means.WORKERS, *means.BACKENDS) if states[host] != "RUNNING"}


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Stop or pause it."""
    params = {"host": rng.choice((means.WORKERS, *means.BACKENDS)), "how": rng.choice(("stop", "pause"))}
    lab.incus(params["how"], params["host"], timeout=180)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """No queue has a consumer, or the backend's API answers nothing."""
    status = _idle(lab).get(params["host"])
    if params["host"] == means.WORKERS:
        gone = not any(workers.depth(lab, name)["consumers"] for name in QUEUES.values())
    else:
        gone = means.attempt(lambda: means.bus(lab, params["host"])) is None
    return f"Incus: {params['host']} is {status}, and nothing of it answers" if status and gone else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Start it, or let it go on; its containers come with it."""
    for host, status in _idle(lab).items():
        lab.incus("resume" if status == "FROZEN" else "start", host)


FAULT = Fault(
    name="app_host_stopped",
    title="The instance of a host of the application is stopped or paused",
    source="incus stop, incus pause",
    causes=frozenset({"app_instance_idle"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=60.0,
    sticky=True,  # a frozen instance can't be stopped, and so not be reset
)
