# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker crashes, and a worker hangs only when it is back: no diagnosis can have seen that."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.game_day.faults import crash, wedged_worker
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

WATCH = """
until bash -c '</dev/tcp/rabbitmq.lxd/5672' 2>/dev/null; do sleep 0.5; done
sleep 4
kill -STOP {pids}
"""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Let the broker die and stay down, and have the workers' host wait for it to serve again."""
    kind = rng.choice(means.KINDS)
    params = {"worker": workers.service(kind), "queue": QUEUES[kind], **crash.inject(lab, rng)}
    means.until(lambda: means.hello(lab) == "refused", 30)
    script = WATCH.format(pids=" ".join(workers.processes(lab, params["worker"])))
    lab.on(
        means.WORKERS,
        "systemd-run",
        "--quiet",
        "--collect",
        "timeout",
        "600",
        "sh",
        "-c",
        script,
        check=True,
        timeout=30,
    )
    return params


def heal(lab: IncusLab, params: Params) -> None:
    """Heal both."""
    crash.heal(lab, params)
    wedged_worker.heal(lab, params)


FAULT = Fault(
    name="worker_hangs_late",
    title="The broker crashed, and a worker hangs when it is back",
    source="the runbook's third step of recovery: a queue that is stuck after it",
    causes=crash.FAULT.causes,
    inject=inject,
    present=crash.present,
    heal=heal,
    mended=wedged_worker.mended,
    recovers=True,
)
