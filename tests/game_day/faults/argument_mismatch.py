# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker declares its queue with other arguments than it has, is refused (406), ends and begins again."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

MISTAKES = {
    "x-max-priority": 10,
    "x-message-ttl": 86_400_000,
    "x-dead-letter-routing-key": "dead",
    "x-single-active-consumer": True,
}

DECLARING = """
import json, os, runpy, sys
import pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
connection.channel().queue_declare(sys.argv[1], durable=True, arguments=json.loads(sys.argv[2]))
connection.close()
runpy.run_module("tests.lab.veza.workers", run_name="__main__")
"""
"""A worker that declares its queue before it consumes, as most do."""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Deploy a worker that declares its queue; either it or the queue has an argument that the other hasn't."""
    kind, argument = rng.choice(means.KINDS), rng.choice(sorted(MISTAKES))
    params: Params = {"worker": workers.service(kind), "queue": QUEUES[kind], "kind": kind, "argument": argument}
    params["wrong"] = rng.choice(("release", "queue"))
    proper = workers.proper_arguments(kind)
    mistaken = {**proper, argument: MISTAKES[argument]}
    params["refusals"] = workers.logged(lab, _pattern(params))
    if params["wrong"] == "queue":
        workers.redeclare(lab, params["queue"], mistaken)
    declared = mistaken if params["wrong"] == "release" else proper
    command = ["python3", "-c", DECLARING, params["queue"], json.dumps(declared)]
    workers.change(lab, params["worker"], {"command": command})
    return params


def _pattern(params: Params) -> str:
    return f"inequivalent arg '{params['argument']}' for queue '{params['queue']}'"


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker has refused it more than once, and the queue has no consumer."""
    refusals = workers.logged(lab, _pattern(params)) - params["refusals"]
    depth = workers.depth(lab, params["queue"])
    if refusals >= 2 and not depth["consumers"]:
        return f"{refusals} declarations refused: {_pattern(params)}; {depth}"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Go back to the release before; a queue that is not as it should be is made anew, with what is in it."""
    workers.restore(lab, params["worker"])
    proper = workers.proper_arguments(params["kind"])
    if workers.queue_of(lab, params["queue"])["arguments"] != proper:
        means.compose(lab, means.WORKERS, "stop", params["worker"])
        workers.redeclare(lab, params["queue"], proper)
        means.compose(lab, means.WORKERS, "start", params["worker"])


def mended(lab: IncusLab, params: Params) -> bool:
    """The queue has a consumer."""
    return bool(workers.depth(lab, params["queue"])["consumers"])


FAULT = Fault(
    name="argument_mismatch",
    title="A worker's declaration of its queue is refused (406), in a loop",
    source="an argument mismatch (406)",
    causes=frozenset({"queue_arguments_mismatch"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
)
