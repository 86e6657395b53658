# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A desk far from the lab: a network of its own, and a line into the lab's network on which a round trip takes time.

    with line.laid(0.02) as desk:
        subprocess.run([*desk, "ssh", "rabbitmq.lxd", "true"])

Two TUN devices with a process between them that holds each packet back for half of the round trip: not each kernel has
netem. What crosses the line is whatever IP carries; the hosts see an address that their router knows a way to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator

from tests.lab.incus.lab import CLONE_NEWNET, system_call

NEAR, FAR = "198.18.78.1", "198.18.78.2"
"""The line's ends, of the block for benchmarks (RFC 2544) beside the lab's own: at the lab, and at the desk."""

# From linux/if_tun.h.
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

_LARGEST = 65536


@contextlib.contextmanager
def laid(round_trip: float) -> Iterator[list[str]]:
    """Lay the line from the lab's network, in which the caller is; yield what to put before a command at the desk.

    ``round_trip``: seconds. The line ends with the caller, however that ends.
    """
    argv = [sys.executable, "-m", "tests.bench.line", str(round_trip / 2)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        try:
            if not process.stdout.readline():
                raise SystemExit("the line to the lab could not be laid")
            yield ["nsenter", f"--net=/proc/{process.pid}/ns/net", "--"]
        finally:
            process.stdin.close()


def _end(name: str, address: str, peer: str) -> int:
    """Make one end of the line in the network where this process is; return its file descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    for command in (f"address add {address} peer {peer} dev {name}", f"link set {name} up"):
        subprocess.run(["ip", *command.split()], check=True)
    return device


def _carry(ends: tuple[int, int], delay: float) -> None:
    """Carry packets both ways, each after ``delay`` seconds, until standard input is closed."""
    there = {ends[0]: ends[1], ends[1]: ends[0]}
    held: deque[tuple[float, int, bytes]] = deque()
    while True:
        left = max(held[0][0] - time.monotonic(), 0.0) if held else None
        ready, _unused, _unused_too = select.select([*ends, sys.stdin], [], [], left)
        if sys.stdin in ready:
            return
        now = time.monotonic()
        held.extend((now + delay, there[end], os.read(end, _LARGEST)) for end in ready)
        while held and held[0][0] <= time.monotonic():
            _due, end, packet = held.popleft()
            os.write(end, packet)


def main() -> None:
    """Be the line: one end where this process starts, the other in a network of its own, in which it stays."""
    delay = float(sys.argv[1])
    near = _end("veza-near", NEAR, FAR)
    system_call("unshare", CLONE_NEWNET)
    far = _end("veza-far", FAR, NEAR)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "route", "add", "default", "via", NEAR], check=True)
    print("laid", flush=True)
    _carry((near, far), delay)


if __name__ == "__main__":
    main()
