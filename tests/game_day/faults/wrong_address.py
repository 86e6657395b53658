# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container's own hosts file sends the broker's name to another host."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Add a line to it: at that address nothing listens, or nobody is; the connection that lives is closed."""
    backend = rng.choice(means.BACKENDS)
    address = rng.choice((lab.hosts[means.other_backend(backend)], lab.hosts["postgres"]))
    file = means.container(lab, backend, "api")["HostsPath"]
    means.shell(lab, backend, f"cp {file} {file}.game-day; echo {address} rabbitmq.lxd >>{file}")
    means.close_connections(lab, backend)
    return {"backend": backend, "address": address, "file": file}


def present(lab: IncusLab, params: Params) -> str | None:
    """Its bus is not connected, and the other backend's is."""
    backend = params["backend"]
    bus = means.bus(lab, backend)
    if bus != "connected" and means.bus(lab, means.other_backend(backend)) == "connected":
        return f"{backend} goes to {params['address']} and its bus is {bus}; the other's is connected"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Put the file back; docker has mounted it, so it must stay the same file."""
    file = params["file"]
    means.shell(lab, params["backend"], f"cat {file}.game-day >{file}; rm {file}.game-day")


FAULT = Fault(
    name="wrong_address",
    title="A container takes another address for the broker's",
    source="written down nowhere: /etc/hosts of a container",
    causes=frozenset({"backend_wrong_address"}),
    inject=inject,
    present=present,
    heal=heal,
)
