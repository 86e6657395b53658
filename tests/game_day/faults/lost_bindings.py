# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bindings are gone: the broker takes events, finds no queue for them, and returns or drops them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import EXCHANGE, QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Take away the bindings of some of the queues, or of all."""
    kinds = rng.sample(means.KINDS, rng.choice((1, 2, len(means.KINDS))))
    params = {"queues": sorted(QUEUES[kind] for kind in kinds)}
    for queue in params["queues"]:
        workers.unbind(lab, queue)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """A message for each such queue is returned; it is published only where it could not arrive."""
    if _bound(lab) & set(params["queues"]):
        return None
    if any(workers.publish(lab, queue, b"{}") for queue in params["queues"]):
        return None
    return f"what is published for {', '.join(params['queues'])} is returned as unroutable"


def _bound(lab: IncusLab) -> set[str]:
    bindings = means.api(lab, "GET", f"/api/exchanges/{workers.VHOST}/{EXCHANGE}/bindings/source")
    return {binding["routing_key"] for binding in bindings if binding["destination"] == binding["routing_key"]}


def heal(lab: IncusLab, params: Params) -> None:
    """Bind them again."""
    for queue in params["queues"]:
        workers.bind(lab, queue)


def mended(lab: IncusLab, _params: Params) -> bool:
    """Each queue is bound."""
    return set(QUEUES.values()) <= _bound(lab)


FAULT = Fault(
    name="lost_bindings",
    title="Bindings are gone: events are unroutable",
    source="lost bindings (unroutable)",
    causes=frozenset({"bindings_missing"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
)
