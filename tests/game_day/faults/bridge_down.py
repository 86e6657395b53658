# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network between the hosts is down: the whole bridge, or the port of one host."""

from __future__ import annotations

import json
import random
import subprocess
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import EXTRA_VARS, Fault, Params
from tests.lab.incus.daemon import BRIDGE

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

HOSTS = (means.BROKER, *means.BACKENDS)


def _link(lab: IncusLab, *arguments: str) -> None:
    """Change a link of the hosts' network, whoever is in it."""
    network = f"--net=/proc/{lab.init.pid}/ns/net"
    subprocess.run(["nsenter", network, "ip", "link", "set", *arguments], check=True, capture_output=True, timeout=20)


def _port(lab: IncusLab, host: str) -> str:
    """Return the bridge's end of a host's cable."""
    state = json.loads(lab.incus("query", f"/1.0/instances/{host}/state"))
    return str(state["network"]["eth0"]["host_name"])


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Set the bridge down, or pull the cable of the broker or of a backend."""
    host = rng.choice((None, *HOSTS))
    if host is None:
        _link(lab, BRIDGE, "down")
    else:
        _link(lab, _port(lab, host), "nomaster")
    params: Params = {"what": f"the port of {host}" if host else "the bridge", "host": host}
    if host:
        # The hypervisor is this machine; where the whole bridge is down, nobody reaches the incidents' host either.
        plug = ["ip", "link", "set", _port(lab, host), "master", BRIDGE]
        params[EXTRA_VARS] = means.allowed_mend("network_down", host, "localhost", plug)
    return params


def _reaches(lab: IncusLab, host: str, target: str, port: str) -> bool:
    return lab.on(host, "timeout", "2", "nc", "-z", lab.hosts[target], port, check=False).returncode == 0


def present(lab: IncusLab, params: Params) -> str | None:
    """Whoever is cut off does not reach the broker (or its backends), though it listens; the others do."""
    cut = set(HOSTS) if params["host"] is None else {params["host"]}
    if lab.on(means.BROKER, "nc", "-z", "127.0.0.1", "5672", check=False).returncode != 0:
        return None
    ways = [(backend, means.BROKER, "5672") for backend in means.BACKENDS]
    reached = {f"{one} -> {other}": _reaches(lab, one, other, port) for one, other, port in ways}
    wanted = {f"{one} -> {other}": not {one, other} & cut for one, other, _port in ways}
    return f"reached, though the broker listens: {reached}" if reached == wanted else None


def heal(lab: IncusLab, params: Params) -> None:
    """Set all up again."""
    _link(lab, BRIDGE, "up")
    if params.get("host"):
        _link(lab, _port(lab, params["host"]), "master", BRIDGE)


def mended(lab: IncusLab, _params: Params) -> bool:
    """Both backends reach the broker."""
    return all(_reaches(lab, backend, means.BROKER, "5672") for backend in means.BACKENDS)


FAULT = Fault(
    name="bridge_down",
    title="The hosts' bridge, or one host's port of it, is down",
    source="LAB: bridge",
    # One backend's port looks from everywhere else like a backend that cannot be reached, which it is.
    causes=frozenset({"network_down"}),
    inject=inject,
    present=present,
    heal=heal,
    mended=mended,
    sticky=True,
    flags=("-e", "outage_recover_mend_network=true"),
)
