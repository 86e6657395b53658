# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two at once: the broker crashed, and a worker has hung since."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.game_day.faults import crash, wedged_worker

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Let the worker hang, and the broker die and stay down."""
    params = wedged_worker.inject(lab, rng)
    return {**params, **crash.inject(lab, rng)}


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker has crashed; the worker's container runs, and its process is stopped."""
    seen = crash.present(lab, params)
    running = means.container(lab, means.WORKERS, params["worker"])["State"]["Running"]
    states = set(workers.processes(lab, params["worker"]).values())
    if seen and running and states == {"T"}:
        return f"{seen}; {params['worker']} runs for docker, its process is stopped"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Heal both."""
    crash.heal(lab, params)
    wedged_worker.heal(lab, params)


FAULT = Fault(
    name="wedged_worker_after_crash",
    title="Two at once: the broker crashed, and a worker hangs",
    source="two faults at once",
    causes=crash.FAULT.causes | wedged_worker.FAULT.causes,
    each=(crash.FAULT.causes, wedged_worker.FAULT.causes),
    inject=inject,
    present=present,
    heal=heal,
    mended=wedged_worker.mended,
    recovers=True,
)
