# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A firewall refuses one backend's connections to the broker: the answer is a reset, at once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import EXTRA_VARS, Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Refuse them at the broker's host; what was connected is reset too."""
    params = {"backend": rng.choice(means.BACKENDS), "ports": rng.choice(("5672", "5672, 15672"))}
    match = f"ip saddr {lab.hosts[params['backend']]} tcp dport {{ {params['ports']} }}"
    means.drop_packets(lab, means.BROKER, match, chain="input", verdict="reject with tcp reset")
    return {**params, EXTRA_VARS: means.allowed_mend("backend_path_refused", params["backend"], host=means.BROKER)}


def present(lab: IncusLab, params: Params) -> str | None:
    """Its connection attempts are refused at once, its bus is not connected; the other backend's is."""
    backend = params["backend"]
    other = means.other_backend(backend)
    argv = ("timeout", "2", "nc", "-zv", lab.hosts[means.BROKER], "5672")
    tried = lab.on(backend, *argv, check=False)
    bus = means.bus(lab, backend)
    if "refused" in tried.stderr and bus != "connected" and means.bus(lab, other) == "connected":
        return f"{backend}: connections to port 5672 are refused, its bus is {bus}; {other} is connected"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Let them pass."""
    means.undo_packets(lab, means.BROKER)


FAULT = Fault(
    name="path_refused",
    title="One backend's connections to the broker are refused",
    source="LAB: path refused",
    causes=frozenset({"backend_cannot_reach", "backend_path_refused"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_mend_network=true"),
)
