# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets of one backend to the broker are dropped: nobody says no, nothing arrives."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import EXTRA_VARS, Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Drop them on the backend's own host, whose containers' packets pass there too."""
    params = {"backend": rng.choice(means.BACKENDS)}
    match = f"ip daddr {lab.hosts[means.BROKER]} tcp dport {{ 5672, 15672 }}"
    means.drop_packets(lab, params["backend"], match)
    return {**params, EXTRA_VARS: means.allowed_mend("backend_path_dropped", params["backend"])}


def present(lab: IncusLab, params: Params) -> str | None:
    """Its connection attempts time out, its bus is not connected, and the other backend's is."""
    backend = params["backend"]
    other = means.other_backend(backend)
    status = lab.on(backend, "timeout", "2", "nc", "-z", lab.hosts[means.BROKER], "5672", check=False).returncode
    if status == 124 and means.bus(lab, backend) != "connected" and means.bus(lab, other) == "connected":
        return (
            f"{backend}: connections to port 5672 time out, its bus is {means.bus(lab, backend)}; {other} is connected"
        )
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Let them pass."""
    means.undo_packets(lab, params["backend"])


FAULT = Fault(
    name="path_dropped",
    title="Packets of one backend to the broker are dropped",
    source="LAB: path dropped",
    causes=frozenset({"backend_cannot_reach", "backend_path_dropped"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_mend_network=true"),
)
