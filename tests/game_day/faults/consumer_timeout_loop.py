# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task takes longer than consumer_timeout: the broker takes it back, and gives it out again, without end."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

TIMED_OUT = "has timed out waiting for"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Lower consumer_timeout (half an hour by default) to seconds, and let a worker's tasks take longer."""
    kind = rng.choice(means.KINDS)
    allowed = rng.randrange(4, 7)
    params: Params = {
        "worker": workers.service(kind),
        "queue": QUEUES[kind],
        "allowed_seconds": allowed,
        "task_seconds": allowed + rng.randrange(3, 6),
        "timeout": _setting(lab, "consumer_timeout"),
        "tick": _setting(lab, "channel_tick_interval"),
        "seen": workers.logged(lab, TIMED_OUT),
    }
    # The broker looks once a minute by default.
    _set(lab, "channel_tick_interval", "1000")
    _set(lab, "consumer_timeout", str(allowed * 1000))
    workers.change(lab, params["worker"], {"environment": {"WORKER_TASK_SECONDS": str(params["task_seconds"])}})
    workers.burst(lab, 4.0)
    return params


def _setting(lab: IncusLab, name: str) -> str:
    return means.evaluate(lab, f"{{ok, Value}} = application:get_env(rabbit, {name}), Value.")


def _set(lab: IncusLab, name: str, value: str) -> None:
    means.evaluate(lab, f"application:set_env(rabbit, {name}, {value}).")


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker's log tells of more than one timeout, and the worker has had the same task more than once."""
    times = workers.logged(lab, TIMED_OUT) - params["seen"]
    again = sum(line["redelivered"] for line in workers.attempts(lab, params["worker"]))
    if times >= 2 and again >= 2:
        return f"{times} times {params['worker']} took longer than consumer_timeout; {again} tasks were redelivered"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Put consumer_timeout back, which holds for the channels opened from then on; and the tasks' time."""
    _set(lab, "consumer_timeout", params["timeout"])
    _set(lab, "channel_tick_interval", params["tick"])
    workers.restore(lab, params["worker"])


def mended(lab: IncusLab, params: Params) -> bool:
    """The worker is at new tasks, or has none left."""
    depth = workers.depth(lab, params["queue"])
    last = workers.attempts(lab, params["worker"], last=200)[-1:]
    empty = not depth["messages_ready"] + depth["messages_unacknowledged"]
    return bool(depth["consumers"]) and (empty or (bool(last) and not last[0]["redelivered"]))


FAULT = Fault(
    name="consumer_timeout_loop",
    title="Tasks take longer than consumer_timeout: a redelivery loop",
    source="a transcode longer than consumer_timeout",
    causes=frozenset({"consumer_timeout"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
    timeout=90.0,
)
