# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One message ends the worker that takes it: restarted, the worker is given it again, and again."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import EXTRA_VARS, Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Publish an event whose kind ends in a NUL byte, which PostgreSQL's text can't hold and no worker foresaw."""
    kind = rng.choice(("distribution", "search"))
    params: Params = {
        "worker": workers.service(kind),
        "queue": QUEUES[kind],
        "message": f"poison-{rng.getrandbits(64):016x}",
        "restarts": _restarts(lab, workers.service(kind)),
        # What a person types who has read the verdict.
        EXTRA_VARS: {"outage_recover_set_aside": {"queue": QUEUES[kind], "count": 1}},
    }
    workers.publish(lab, params["queue"], workers.poisonous(lab, kind), params["message"])
    return params


def _restarts(lab: IncusLab, worker: str) -> int:
    return int(means.container(lab, means.WORKERS, worker)["RestartCount"])


def _taken(lab: IncusLab, params: Params) -> int:
    return sum(line["message_id"] == params["message"] for line in workers.attempts(lab, params["worker"]))


def present(lab: IncusLab, params: Params) -> str | None:
    """The worker took it at least twice, was restarted by docker each time, and it is still in the queue."""
    taken, restarts = _taken(lab, params), _restarts(lab, params["worker"]) - params["restarts"]
    depth = workers.depth(lab, params["queue"])
    if taken >= 2 and restarts >= 2 and depth["messages_ready"] + depth["messages_unacknowledged"]:
        return f"{params['worker']} took one message {taken} times and was restarted {restarts} times; {depth}"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """While the worker is stopped, put the message aside; what waits behind it is left as it is."""
    means.compose(lab, means.WORKERS, "stop", params["worker"])
    workers.set_aside(lab, params["queue"], params["message"])
    means.compose(lab, means.WORKERS, "start", params["worker"])


def mended(lab: IncusLab, params: Params) -> bool:
    """The worker consumes, and nobody takes the message any more."""
    consumers, taken = workers.depth(lab, params["queue"])["consumers"], _taken(lab, params)
    time.sleep(1.0)
    state = means.container(lab, means.WORKERS, params["worker"])["State"]
    return bool(consumers) and state["Status"] == "running" and taken == _taken(lab, params)


FAULT = Fault(
    name="poison_message",
    title="A poison message: it ends the worker each time",
    source="FACTS 6: poison, crash loop",
    causes=frozenset({"poison_message"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
    recovers=True,
)
