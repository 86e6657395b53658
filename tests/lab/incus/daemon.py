# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private Incus daemon, in namespaces of its own: it shares no bridge, pool, instance or socket with any other.

It is ended by killing process 1 of its PID namespace, whatever else was killed before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .. import processes
from ..processes import Process
from ..state import LabError, write_private

INCUSD = Path("/usr/libexec/incus/incusd")
PROGRAMS = ("incus", "lxcfs", "dnsmasq", "nft", "ip", "unshare", "nsenter", "mmdebstrap", "zstd", "ssh", "ssh-keygen")

UNSHARE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
"""Begins a command line that runs in mount, network and PID namespaces of its own, which end with it."""

BRIDGE = "vezabr0"
DOMAIN = "lxd"
NETWORK = "198.18.77"
"""The first three numbers of all addresses. 198.18.0.0/15 is reserved for tests."""
GATEWAY = f"{NETWORK}.1"
POOL = "veza"

IDS = 1_000_000
"""User and group ids that a lab has: 65536 for each host."""

START_TIMEOUT = 30.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


INOTIFY = "/proc/sys/fs/inotify/max_user_instances"
INOTIFY_OF_A_LAB = 32
"""What six hosts were seen to use, and a little more; without them systemd starts half of its units."""


def needs() -> list[str]:
    """Return what this machine lacks for a lab of real hosts, in words; empty when it has all."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=_PATH) is None]
    lacks = []
    if os.getuid() != 0:
        # Nothing else can be asked without it.
        return ["root"]
    if missing or not INCUSD.exists():
        lacks.append("programs: " + ", ".join([*missing, *([] if INCUSD.exists() else [str(INCUSD)])]))
    trial = [*UNSHARE, "sh", "-c", "mount --make-rprivate / && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run"]
    tried = subprocess.run(trial, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    if tried.returncode != 0:
        lacks.append(f"mount, network and PID namespaces ({tried.stderr.strip()})")
    if not Path("/proc/self/ns/user").exists() or _number("/proc/sys/user/max_user_namespaces") == 0:
        lacks.append("user namespaces")
    if not Path("/sys/fs/cgroup").is_dir() or not any(Path("/sys/fs/cgroup").iterdir()):
        lacks.append("control groups (/sys/fs/cgroup)")
    if not Path("/dev/fuse").exists():
        lacks.append("/dev/fuse")
    if "overlay" not in Path("/proc/filesystems").read_text():
        lacks.append("the file system overlay, which Docker needs")
    most = _number(INOTIFY)
    free = None if most is None else most - inotify_instances()
    if free is not None and free < INOTIFY_OF_A_LAB:
        lacks.append(f"inotify instances ({free} free of {INOTIFY}, {INOTIFY_OF_A_LAB} needed: take another lab down)")
    return lacks


def inotify_instances() -> int:
    """Return how many inotify instances there are: systemd on each host wants some, and all count as ours."""
    count = 0
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            count += os.readlink(handle) == "anon_inode:inotify"
    return count


def require() -> None:
    """Raise LabError when this machine can't run the lab; the message is one line."""
    lacks = needs()
    if lacks:
        raise LabError("This machine can't run real hosts. It lacks " + "; ".join(lacks) + ".")


def start(directory: Path, cgroup: str, names: dict[str, str]) -> Process:
    """Start the daemon and return process 1 of its namespaces. ``names``: host name -> address.

    LabError when it does not answer.
    """
    write_private(
        directory / "resolv.conf", f"nameserver {GATEWAY}\nsearch {DOMAIN}\noptions timeout:1 attempts:2\n", 0o644
    )
    write_private(directory / "subid", f"root:{first_id(directory)}:{IDS}\n", 0o644)
    script = str(Path(__file__).with_name("namespace.sh"))
    argv = [*UNSHARE, script, str(directory), cgroup]
    log = directory / "logs" / "incus.log"
    parent = processes.spawn(argv, mark=str(directory), log=log, cwd=directory, environment={"PATH": _PATH})
    init = _child(parent)
    if init is None:
        raise LabError(f"The namespaces could not be made; see {log}.")
    socket = directory / "incus" / "unix.socket"
    if not processes.wait_until(lambda: socket.exists() or not init.alive(), START_TIMEOUT):
        raise LabError(f"The Incus daemon does not start; see {log}.")
    command(directory, "admin", "waitready", f"--timeout={START_TIMEOUT:.0f}")
    command(directory, "admin", "init", "--preseed", stdin=json.dumps(_preseed(names)))
    return init


def first_id(directory: Path) -> int:
    """Return where the lab's user and group ids begin.

    The kernel counts keys by user: labs with the same users would take them away from each other, and then Docker
    starts no container any more.
    """
    number = int(hashlib.sha256(str(directory).encode()).hexdigest(), 16) % 3000
    return (1 + number) * IDS


def command(directory: Path, *arguments: str, stdin: str | bytes | None = None, timeout: float = 120.0) -> str:
    """Run ``incus`` against the daemon in ``directory``; return what it printed, LabError with what it said."""
    done = run(directory, *arguments, stdin=stdin, timeout=timeout)
    if done.returncode != 0:
        raise LabError(f"incus {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def run(
    directory: Path, *arguments: str, stdin: str | bytes | None = None, timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run ``incus`` against the daemon in ``directory``, and return how it ended. Its output is taken as UTF-8."""
    # A configuration directory of its own: the person's remotes and projects are not ours.
    environment = {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "INCUS_DIR": str(directory / "incus"),
        "INCUS_CONF": str(directory / "incus-client"),
    }
    argv = ["incus", *arguments]
    given = stdin.encode() if isinstance(stdin, str) else stdin or b""
    try:
        done = subprocess.run(argv, check=False, capture_output=True, input=given, env=environment, timeout=timeout)
    except subprocess.TimeoutExpired:
        # What stands in its input is no one's business; its arguments hold no secrets.
        raise LabError(f"incus {' '.join(arguments)[:200]}: no end within {timeout:g} s.") from None
    return subprocess.CompletedProcess(
        argv, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def remove_cgroups(cgroup: str) -> None:
    """Remove the control groups of a daemon that has ended; LabError when a process is in one of them for long."""

    def gone() -> bool:
        tops = [top for top in Path("/sys/fs/cgroup").glob(f"*/{cgroup}") if top.is_dir()]
        for top in tops:
            for path in sorted((path for path in [top, *top.rglob("*")] if path.is_dir()), reverse=True):
                # Busy while a process that was killed is in its last breath.
                with contextlib.suppress(OSError):
                    path.rmdir()
        return not any(top.exists() for top in tops)

    if not processes.wait_until(gone, 20.0):
        raise LabError(f"Control groups of {cgroup} could not be removed: processes in them would not end.")


def await_loop_devices(directory: Path) -> None:
    """Wait until the kernel has given back the loop devices of a daemon that has ended; LabError if it does not.

    It unmounts in the background what process 1 held.
    """

    def gone() -> bool:
        files = Path("/sys/block").glob("loop*/loop/backing_file")
        return not any(file.read_text().startswith(f"{directory}/") for file in files if file.exists())

    if not processes.wait_until(gone, 30.0):
        raise LabError(f"A loop device still has a file of {directory}; see losetup --list.")


def _preseed(names: dict[str, str]) -> dict[str, Any]:
    records = "\n".join(f"host-record={name}.{DOMAIN},{name},{address}" for name, address in names.items())
    driver = "btrfs" if "btrfs" in Path("/proc/filesystems").read_text() and shutil.which("mkfs.btrfs") else "dir"
    network = {
        "ipv4.address": f"{GATEWAY}/24",
        "ipv4.nat": "false",
        "ipv6.address": "none",
        "dns.domain": DOMAIN,
        "raw.dnsmasq": records,
    }
    return {
        "networks": [{"name": BRIDGE, "type": "bridge", "config": network}],
        "storage_pools": [{"name": POOL, "driver": driver, "config": {"size": "30GiB"} if driver == "btrfs" else {}}],
        "profiles": [
            {
                "name": "default",
                # Without isolation all hosts share the kernel keys of one user, and Docker runs out of them.
                "config": {"security.nesting": "true", "security.idmap.isolated": "true"},
                "devices": {
                    "root": {"type": "disk", "path": "/", "pool": POOL},
                    "eth0": {"type": "nic", "network": BRIDGE, "name": "eth0"},
                },
            }
        ],
    }


def _child(parent: Process) -> Process | None:
    found: list[int] = []

    def look() -> bool:
        if parent.alive():
            found[:] = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
        return bool(found) or not parent.alive()

    processes.wait_until(look, 5.0)
    started = processes.start_time(found[0]) if found else None
    return None if started is None else Process(found[0], started)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
