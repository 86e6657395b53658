# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports on loopback that are free, and stay free while a server of the lab is down."""

from __future__ import annotations

import random
import socket
from pathlib import Path

MAX_BACKENDS = 6

_OFFSETS = {
    "amqp": 0,
    "management": 1,
    "prometheus": 2,
    "dist": 3,
    "epmd": 4,
    "postgres": 5,
    "sentry": 6,
    # The Erlang command line tools listen too: a few, so that several can run at once.
    "ctl_min": 8,
    "ctl_max": 13,
    **{f"backend-{number}": 13 + number for number in range(1, MAX_BACKENDS + 1)},
}
_BLOCK = 20


def choose(seed: int | None = None) -> dict[str, int]:
    """Return a free port for each server of the lab.

    They lie below the range from which the kernel takes the ports of outgoing connections: there, the port of a
    broker that is down could be taken, or a client that keeps trying could even connect to itself.
    """
    rng = random.Random(seed)
    bases = list(range(16000, min(ephemeral_start(), 32768) - _BLOCK, _BLOCK))
    rng.shuffle(bases)
    for base in bases:
        if all(is_free(base + offset) for offset in range(_BLOCK)):
            return {name: base + offset for name, offset in _OFFSETS.items()}
    raise RuntimeError("No block of free ports on loopback.")


def ephemeral_start() -> int:
    """Return the first port that the kernel gives to outgoing connections."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32768


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port, on loopback and on all addresses."""
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
