# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One backend's host gets no answer from its name server: the broker's name is unknown there, and only there."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import EXTRA_VARS, Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Drop the backend's questions; what is connected lives on until it must connect anew."""
    params = {"backend": rng.choice(means.BACKENDS)}
    means.drop_packets(lab, params["backend"], "meta l4proto { tcp, udp } th dport 53")
    means.close_connections(lab, params["backend"])
    return {**params, EXTRA_VARS: means.allowed_mend("backend_unreachable_dns", params["backend"])}


def present(lab: IncusLab, params: Params) -> str | None:
    """The name does not resolve on its host, its bus is not connected; the other backend has both."""
    backend = params["backend"]
    other = means.other_backend(backend)
    # 2: no such name; 124: still trying.
    here, there = (
        lab.on(host, "timeout", "8", "getent", "hosts", "rabbitmq.lxd", check=False).returncode
        for host in (backend, other)
    )
    bus = means.bus(lab, backend)
    if here in (2, 124) and there == 0 and bus != "connected" and means.bus(lab, other) == "connected":
        return f"{backend}: rabbitmq.lxd does not resolve, its bus is {bus}; {other} resolves it and is connected"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Let the questions pass."""
    means.undo_packets(lab, params["backend"])


FAULT = Fault(
    name="dns_of_one_backend",
    title="One backend cannot resolve the broker's name",
    source="LAB: DNS of one host",
    causes=frozenset({"backend_cannot_reach", "backend_unreachable_dns"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_mend_network=true"),
)
