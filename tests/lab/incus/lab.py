# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab of real hosts that was brought up: what a test or a person does with it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .. import apps, evidence
from ..processes import Process
from ..state import Lab, LabError, remove, state_directory
from . import daemon

API_CONTAINER = "veza_backend_api"

CLEAN = "clean"
"""The snapshot to which reset() returns."""

RESET_TIMEOUT = 180.0


# From linux/sched.h and linux/mount.h.
CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2


def directory(name: str) -> Path:
    """Return where the lab of this name keeps its state: beside, not in place of, the local lab of that name."""
    return state_directory(f"incus-{name}")


class IncusLab(Lab):
    """As the local lab, with hosts instead of processes. All its names resolve in its own network only: see enter()."""

    @classmethod
    def load(cls, name: str) -> IncusLab:
        """Return the lab of this name; LabError when it is not up."""
        return cls.at(directory(name))

    @classmethod
    def at(cls, directory: Path) -> IncusLab:
        """Return the lab whose state is in ``directory``; LabError when there is none."""
        try:
            return cls(directory)
        except (OSError, ValueError) as error:
            raise LabError(f"No lab of real hosts at {directory}: bring it up first.") from error

    @property
    def hosts(self) -> dict[str, str]:
        """The hosts' addresses by name."""
        addresses: dict[str, str] = self.data["hosts"]
        return addresses

    @property
    def nodes(self) -> list[str]:
        """The hosts of the broker's nodes, the first one first."""
        return [host for host in self.hosts if host.startswith("rabbitmq")]

    @property
    def init(self) -> Process:
        """Process 1 of the lab's namespaces; LabError when the lab was taken down since."""
        try:
            return self.processes["incus"]
        except FileNotFoundError:
            raise LabError(f"The lab '{self.name}' was taken down: {self.dir} is gone.") from None

    def incus(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Run the command line of the lab's Incus; return what it printed, LabError with what it said."""
        return daemon.command(self.dir, *arguments, stdin=stdin, timeout=timeout)

    def on(
        self,
        host: str,
        *argv: str,
        check: bool = True,
        timeout: float = 60.0,
        input: str | bytes | None = None,  # noqa: A002 - as subprocess.run has it
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root on a host; with ``check`` LabError when it fails."""
        done = daemon.run(self.dir, "exec", host, "--", *argv, stdin=input, timeout=timeout)
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"{argv[0]} on {host} ended with {done.returncode}: {said[-1000:]}")
        return done

    def rabbitmqctl(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run rabbitmqctl on the broker's host; return what it printed, or raise CalledProcessError."""
        done = self.on("rabbitmq", "rabbitmqctl", *arguments, check=False, timeout=timeout)
        done.check_returncode()
        return done.stdout

    def inside(self, argv: list[str]) -> list[str]:
        """Return what runs ``argv`` in the lab's network, with the names of its hosts."""
        return [str(self.dir / "bin" / "run"), *argv]

    def is_inside(self) -> bool:
        """Tell whether this process is in the lab's network."""
        return os.stat("/proc/self/ns/net").st_ino == os.stat(f"/proc/{self.init.pid}/ns/net").st_ino

    def enter(self) -> None:
        """Move this process, and all that it starts from now on, into the lab's network, unless it is there.

        Threads that run already stay where they are: call it before anything else. LabError when the lab has ended.
        """
        if not self.init.alive():
            raise LabError(f"The lab '{self.name}' has ended: its process {self.init.pid} is gone.")
        if self.is_inside():
            return
        resolv_conf = os.path.realpath("/etc/resolv.conf").encode()
        with open(f"/proc/{self.init.pid}/ns/net") as network:
            system_call("setns", network.fileno(), CLONE_NEWNET)
        # Its own view of one file: the hosts' names, instead of this machine's.
        system_call("unshare", CLONE_NEWNS)
        system_call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
        # Of another lab that it had entered: mounted over, its file could not be removed.
        with contextlib.suppress(LabError):
            system_call("umount2", resolv_conf, MNT_DETACH)
        system_call("mount", str(self.dir / "resolv.conf").encode(), resolv_conf, None, MS_BIND, None)

    def attempts_text(self) -> str:
        """Return the workers' sink, which lies on their host."""
        return self.on("workers", "cat", self.paths["attempts"]).stdout

    def log_text(self, name: str) -> str:
        """Return what a container of the stand-in Veza has logged."""
        host, container = ("workers", f"veza-{name}-1") if name.startswith("worker-") else (name, API_CONTAINER)
        return self.on(host, "docker", "logs", container).stdout

    def incident_documents(self) -> list[dict[str, Any]]:
        """Return the JSON file that each incident leaves beside its report, on the host that keeps them."""
        paths = self.on("monitor", "sh", "-c", f"ls {self.paths['incidents']}/*/*.json 2>/dev/null || true").stdout
        return [json.loads(self.on("monitor", "cat", path).stdout) for path in paths.split()]

    def ansible_environment(self) -> dict[str, str]:
        """Return what a playbook's environment needs for this lab: the connection plugin incus finds its daemon."""
        return {"INCUS_DIR": str(self.dir / "incus"), "INCUS_CONF": str(self.dir / "incus-client")}

    def tcp_tables(self) -> list[str]:
        """Return the kernel's tables of connections of the broker's host and of each container that publishes."""
        tables = self._tables("rabbitmq", "self")
        for backend in self.urls["backends"]:
            pid = self.on(backend, "docker", "inspect", "-f", "{{.State.Pid}}", API_CONTAINER).stdout.strip()
            tables += self._tables(backend, pid)
        return tables

    def _tables(self, host: str, pid: str) -> list[str]:
        where = f"/proc/{pid}/net"
        return self.on(host, "sh", "-c", f"cat {where}/tcp && echo && cat {where}/tcp6").stdout.split("\n\n")

    def snapshot(self) -> None:
        """Note the state of all hosts, to which reset() returns."""
        self._each(lambda host: self.incus("snapshot", "create", host, CLEAN, "--reuse"))

    def reset(self) -> None:
        """Bring all hosts back to where they were when the lab was brought up, and wait until Veza works again.

        It must be called within the lab's network (see enter()).
        """
        self._each(lambda host: self.incus("snapshot", "restore", host, CLEAN))
        evidence.sink(self).unlink(missing_ok=True)
        apps.wait(self, RESET_TIMEOUT)

    def _each(self, action: object) -> None:
        assert callable(action)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(action, self.hosts))

    def down(self) -> None:
        """Take the lab down: nothing of it stays."""
        take_down(self.dir)


def system_call(name: str, *arguments: object) -> None:
    """Call into the C library: Python 3.11 has none of these."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise LabError(f"{name}: {os.strerror(number)}")


def take_down(directory: Path) -> bool:
    """End everything of the lab in ``directory``, and remove its state; False when there was nothing."""
    existed = remove(directory)
    daemon.remove_cgroups(directory.name)
    daemon.await_loop_devices(directory)
    return existed
