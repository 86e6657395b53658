# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A policy lets a queue refuse what is published once it is full, and its worker is slow; else all is green."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

POLICY = "bounded"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Bound the queue of the transcodes, by messages or by bytes, and let them take as long as transcodes do."""
    bound = rng.choice(({"max-length": rng.randrange(0, 5)}, {"max-length-bytes": rng.randrange(100, 900)}))
    params: Params = {
        "worker": workers.service("transcode"),
        "policy": {**bound, "overflow": "reject-publish"},
        "task_seconds": round(rng.uniform(5.0, 9.0), 1),
    }
    slow = {"environment": {"WORKER_TASK_SECONDS": str(params["task_seconds"])}}
    workers.change(lab, params["worker"], slow)
    policy = {"pattern": f"^{QUEUES['transcode']}$", "definition": params["policy"], "apply-to": "queues"}
    means.api(lab, "PUT", f"/api/policies/{workers.VHOST}/{POLICY}", {**policy, "priority": 10})
    workers.burst(lab, 4.0)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """What is published for it comes back as refused."""
    refused = workers.refuses(lab, "transcode")
    return "a message for the queue was published, and refused (basic.nack)" if refused else None


def heal(lab: IncusLab, params: Params) -> None:
    """Remove the bound, and let transcodes be short again so that the lab drains soon."""
    if POLICY in {policy["name"] for policy in means.api(lab, "GET", f"/api/policies/{workers.VHOST}")}:
        means.api(lab, "DELETE", f"/api/policies/{workers.VHOST}/{POLICY}")
    workers.restore(lab, params["worker"])


def mended(lab: IncusLab, _params: Params) -> bool:
    """No policy bounds the queue."""
    return not workers.queue_of(lab, QUEUES["transcode"]).get("effective_policy_definition")


FAULT = Fault(
    name="queue_full",
    title="A bounded queue is full, and refuses what is published",
    source="a length limit with reject-publish",
    causes=frozenset({"queue_full"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
)
