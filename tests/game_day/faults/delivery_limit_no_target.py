# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A queue without a dead letter target: what is given up after its last delivery is dropped, silently."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab import broker
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Make the queue anew, without dead letter target, as a migration would; then let some messages be given up.

    Either it is a quorum queue with a delivery limit and a message ends the worker again and again, with all that
    the worker holds besides; or it is as before, and tasks fail as often as the worker tries them.
    """
    kind = rng.choice(("distribution", "search"))
    how, reason = rng.choice((("delivery-limit", "delivery_limit"), ("last-attempt", "rejected")))
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": rng.randrange(2, 5)}
    params: Params = {
        "worker": workers.service(kind),
        "queue": QUEUES[kind],
        "how": how,
        "arguments": arguments if how == "delivery-limit" else {},
        "messages": rng.randrange(1, 4),
        "reason": reason,
        "dropped": workers.dropped(lab, reason),
    }
    workers.redeclare(lab, params["queue"], params["arguments"])
    # A quorum queue younger than a few seconds may lose its leader.
    means.until(lambda: workers.depth(lab, params["queue"])["consumers"] > 0, 30)
    for number in range(params["messages"]):
        body = workers.poisonous(lab, kind) if how == "delivery-limit" else workers.failing(lab, kind)
        workers.publish(lab, params["queue"], body, f"given-up-{number}")
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker counts messages that it dropped for this reason, and the queue has no dead letter target."""
    count = workers.dropped(lab, params["reason"]) - params["dropped"]
    if count > 0 and not _has_target(lab, params):
        return f"the broker has dropped {count:.0f} messages ({params['reason']}); {params['queue']} has no target"
    return None


def _has_target(lab: IncusLab, params: Params) -> bool:
    queue = workers.queue_of(lab, params["queue"])
    policy = queue.get("effective_policy_definition") or {}
    return "x-dead-letter-exchange" in queue["arguments"] or "dead-letter-exchange" in policy


def heal(lab: IncusLab, params: Params) -> None:
    """Give it a target by a policy, which needs no new queue."""
    definition = {
        "dead-letter-exchange": broker.DEAD_LETTER_EXCHANGE,
        "dead-letter-routing-key": f"{params['queue']}.dlq",
    }
    policy = {"pattern": f"^{params['queue']}$", "definition": definition, "apply-to": "queues"}
    means.api(lab, "PUT", f"/api/policies/{workers.VHOST}/dead-letters-of-{params['queue']}", policy)


def mended(lab: IncusLab, params: Params) -> bool:
    """The queue has a target."""
    return _has_target(lab, params)


FAULT = Fault(
    name="delivery_limit_no_target",
    title="Messages are given up, and no dead letter target keeps them",
    source="a delivery limit without a dead-letter target",
    causes=frozenset({"delivery_limit_drops"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
)
