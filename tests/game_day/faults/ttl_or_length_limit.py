# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A policy lets messages expire, or keeps only a few: what a slow worker has not taken in time is dropped, silently."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

POLICY = "tidy-queues"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Limit the queue of the transcodes and the dead letter queue that would keep what is dropped.

    It does harm as soon as messages wait, so the transcodes are made to take as long as transcodes do.
    """
    reason, definition = rng.choice(
        (
            ("expired", {"message-ttl": rng.randrange(300, 1200)}),
            ("maxlen", {"max-length": rng.randrange(1, 4), "overflow": "drop-head"}),
        )
    )
    params: Params = {
        "worker": workers.service("transcode"),
        "reason": reason,
        "policy": definition,
        "task_seconds": round(rng.uniform(1.5, 3.0), 1),
        "dropped": workers.dropped(lab, reason),
    }
    slow = {"environment": {"WORKER_TASK_SECONDS": str(params["task_seconds"])}}
    workers.change(lab, params["worker"], slow)
    policy = {"pattern": f"^{QUEUES['transcode']}", "definition": definition, "apply-to": "queues", "priority": 10}
    means.api(lab, "PUT", f"/api/policies/{workers.VHOST}/{POLICY}", policy)
    workers.burst(lab, 4.0)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker counts messages that it dropped for this reason, with no dead letter queue to put them in."""
    count = workers.dropped(lab, params["reason"]) - params["dropped"]
    return f"the broker has dropped {count:.0f} messages ({params['reason']})" if count > 0 else None


def heal(lab: IncusLab, params: Params) -> None:
    """Remove the policy, let transcodes be short again so that the lab drains soon, and bring the dead letters back.

    While any are left, an audit queues no transcode again: they may still be brought back.
    """
    if POLICY in _policies(lab):
        means.api(lab, "DELETE", f"/api/policies/{workers.VHOST}/{POLICY}")
    workers.restore(lab, params["worker"])
    workers.bring_back(lab, "transcode")


def _policies(lab: IncusLab) -> set[str]:
    return {policy["name"] for policy in means.api(lab, "GET", f"/api/policies/{workers.VHOST}")}


def mended(lab: IncusLab, _params: Params) -> bool:
    """No policy limits the queues, and what is in them will stay."""
    queues = (QUEUES["transcode"], f"{QUEUES['transcode']}.dlq")
    return not any(workers.queue_of(lab, queue).get("effective_policy_definition") for queue in queues)


FAULT = Fault(
    name="ttl_or_length_limit",
    title="A TTL or length limit drops messages silently",
    source="a TTL or length limit that drops messages",
    causes=frozenset({"messages_expire"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
)
