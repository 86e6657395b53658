# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker's host was restored from a snapshot: what was done since comes again, what was given since is gone."""

from __future__ import annotations

import random
import time
from datetime import datetime
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab import evidence
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

SNAPSHOT = "before-the-upgrade"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Take a snapshot while messages wait for a worker; have these done and others wait; go back to the snapshot."""
    kind = rng.choice(means.KINDS)
    params: Params = {"worker": workers.service(kind), "queue": QUEUES[kind], "seconds": round(rng.uniform(3, 5), 1)}
    means.compose(lab, means.WORKERS, "stop", params["worker"])
    workers.burst(lab, params["seconds"])
    lab.incus("snapshot", "create", means.BROKER, SNAPSHOT, "--reuse")
    means.compose(lab, means.WORKERS, "start", params["worker"])
    means.until(lambda: not _waiting(lab, params), 60)
    means.compose(lab, means.WORKERS, "stop", params["worker"])
    workers.burst(lab, params["seconds"])
    params["waited"] = _waiting(lab, params)
    lab.incus("snapshot", "restore", means.BROKER, SNAPSHOT)
    params["restored_at"] = time.time()
    lab.incus("snapshot", "delete", means.BROKER, SNAPSHOT)
    means.until(lambda: means.hello(lab) == "start", 90)
    means.compose(lab, means.WORKERS, "start", params["worker"])
    return params


def _waiting(lab: IncusLab, params: Params) -> int:
    depth = workers.depth(lab, params["queue"])
    return depth["messages_ready"] + depth["messages_unacknowledged"]


def present(lab: IncusLab, params: Params) -> str | None:
    """Messages that the worker had acknowledged before were given to it again."""
    done = {key for key, _dispatch, at in evidence.query(lab, evidence.EFFECTS) if at < params["restored_at"]}
    came = {
        line["key"]
        for line in workers.attempts(lab, params["worker"])
        if datetime.fromisoformat(line["at"]).timestamp() > params["restored_at"]
    }
    again = len(done & came)
    return f"{params['worker']} was given {again} tasks again that it had done" if again else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Nothing brings back what the broker has forgotten: an audit against the database finds it."""
    means.start_broker(lab)


FAULT = Fault(
    name="data_restored",
    title="The broker's data were restored from an earlier snapshot",
    source="data restored from a snapshot",
    causes=frozenset({"data_restored"}),
    inject=inject,
    present=present,
    heal=heal,
)
