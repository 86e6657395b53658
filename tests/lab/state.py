# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab's state: its options, its directory and what stands in its lab.json."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import processes
from .processes import Process

CHECKOUT = Path(__file__).resolve().parents[2]


class LabError(Exception):
    """The lab cannot do what was asked; the message says why."""


@dataclass(frozen=True)
class Options:
    """How a lab is brought up."""

    apps: bool = True
    """The stand-in Veza too; without it only the broker and the database."""
    confirms: bool = True
    """The API publishes with publisher confirms."""
    backoff: float = 2.0
    """Seconds that the API tries to publish before it falls into degraded mode (30 in production)."""
    log_level: str = "warn"
    """EVENTBUS_DEGRADED_LOG_LEVEL: only ``error`` reaches Sentry."""
    instances: int = 2
    """API instances."""
    unique_index: bool = True
    """A partial unique index over the live transcode jobs of a track."""
    heartbeat: int = 3
    """AMQP heartbeat in seconds."""
    task_seconds: float = 0.02
    """What one task costs a worker."""
    poison: str = ""
    """Keys, separated by commas, whose tasks always fail (``transcode:12:1``)."""


def state_directory(name: str) -> Path:
    """Return where the lab of this name, this user and this checkout keeps its state.

    VEZA_LAB_DIR names another parent than /tmp.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise LabError(f"'{name}' is not a lab's name: lower case letters, digits and hyphens, at most 31.")
    checkout = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
    parent = Path(os.environ.get("VEZA_LAB_DIR", "/tmp")).resolve()
    return parent / f"veza-lab-{os.getuid()}-{name}-{checkout}"


class Lab:
    """A lab that was brought up; all that is known of it stands in lab.json."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.data: dict[str, Any] = json.loads((directory / "lab.json").read_text())
        self.name: str = self.data["name"]
        self.options = Options(**self.data["options"])
        self.ports: dict[str, int] = self.data["ports"]
        self.urls: dict[str, Any] = self.data["urls"]
        self.credentials: dict[str, Any] = self.data["credentials"]
        self.paths: dict[str, str] = self.data["paths"]

    @classmethod
    def load(cls, name: str) -> Lab:
        """Return the lab of this name; LabError when it is not up."""
        return cls.at(state_directory(name))

    @classmethod
    def at(cls, directory: Path) -> Lab:
        """Return the lab whose state is in ``directory``; LabError when there is none."""
        try:
            return cls(directory)
        except (OSError, ValueError) as error:
            raise LabError(f"No lab at {directory}: bring it up first.") from error

    @property
    def inventory(self) -> Path:
        """The directory to give to ``ansible-playbook -i``."""
        return Path(self.paths["inventory"])

    @property
    def processes(self) -> dict[str, Process]:
        """The processes as last recorded, by name, whether they still run or not."""
        recorded = json.loads((self.dir / "lab.json").read_text())["processes"]
        return {name: Process(item["pid"], item["started"]) for name, item in recorded.items()}

    def running(self, name: str) -> Process | None:
        """Return the process of this name, None when it does not run."""
        process = self.processes.get(name)
        return process if process is not None and process.alive() else None

    @contextlib.contextmanager
    def _change(self) -> Iterator[dict[str, Any]]:
        with lock(self.dir / "lab.lock"):
            data = json.loads((self.dir / "lab.json").read_text())
            yield data
            write_private(self.dir / "lab.json", json.dumps(data, indent=2) + "\n")

    def record(self, name: str, process: Process) -> None:
        """Write a process that was just started into lab.json."""
        with self._change() as data:
            data["processes"][name] = asdict(process)

    def mark_ready(self) -> None:
        """Note that all of it came up."""
        with self._change() as data:
            data["ready"] = True

    def spawn(self, name: str, argv: list[str], **options: Any) -> Process:
        """Start a process of this lab, and record it."""
        process = processes.spawn(argv, mark=str(self.dir), log=self.dir / "logs" / f"{name}.log", **options)
        self.record(name, process)
        return process

    def rabbitmqctl(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run rabbitmqctl against this lab's broker; return what it printed, or raise CalledProcessError."""
        argv = [self.paths["rabbitmqctl"], *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=timeout).stdout

    @property
    def broker_address(self) -> tuple[str, int]:
        """Host and port at which the broker's clients reach it."""
        where = urlsplit(self.urls["amqp"])
        return where.hostname or "", where.port or 5672

    def attempts_text(self) -> str:
        """Return the workers' sink: a line of JSON for each attempt."""
        sink = Path(self.paths["attempts"])
        return sink.read_text() if sink.exists() else ""

    def log_text(self, name: str) -> str:
        """Return what a process of the stand-in Veza has logged."""
        return (self.dir / "logs" / f"{name}.log").read_text()

    def incident_documents(self) -> list[dict[str, Any]]:
        """Return the JSON file that each incident leaves beside its report."""
        return [json.loads(path.read_text()) for path in sorted(Path(self.paths["incidents"]).glob("*/*.json"))]

    def ansible_environment(self) -> dict[str, str]:
        """Return what a playbook's environment needs for this lab."""
        # The hosts are this machine: what Ansible writes on them goes with the lab too.
        return {"ANSIBLE_REMOTE_TMP": str(self.dir / "ansible" / "remote")}

    def tcp_tables(self) -> list[str]:
        """Return the kernel's tables of connections, wherever one end of a connection to the broker is."""
        return [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6") if Path(f"/proc/net/{name}").exists()]

    def down(self) -> None:
        """Take the lab down: nothing of it stays."""
        remove(self.dir)


def orphans(kinds: str) -> Iterator[Path]:
    """Yield the directories of labs that killed test sessions left.

    A lab of the tests is called KIND-PID or KIND-PID-..., by the process that brought it up; ``kinds`` is a regular
    expression for KIND.
    """
    example = state_directory("x")
    before, after = example.name.split("-x-")
    pattern = re.compile(rf"{before}-(?:{kinds})-(\d+)(?:-[a-z]+)?-{after}")
    for directory in example.parent.iterdir():
        match = pattern.fullmatch(directory.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            yield directory


def remove(directory: Path) -> bool:
    """End every process of the lab in ``directory``, and remove the directory; False when there was nothing."""
    known = list(processes.marked(str(directory)))
    for process in known:
        # PostgreSQL gives its shared memory back, unless it is killed.
        if process.command() == "initdb":
            process.stop(signal.SIGINT, timeout=3.0)
    with contextlib.suppress(LabError, KeyError, TypeError):
        lab = Lab.at(directory)
        postgres = lab.running("postgres")
        if postgres is not None:
            postgres.stop(signal.SIGQUIT, timeout=6.0)
        for process in lab.processes.values():
            process.send(signal.SIGKILL)
    left = processes.kill_marked(str(directory))
    if left:
        raise LabError(f"Processes {left} of {directory} would not end; its state stays.")
    # Their zombies are for process 1 to collect, which on some machines takes a moment; who looks now sees them.
    processes.wait_until(lambda: not any(Path(f"/proc/{process.pid}").exists() for process in known), 5.0)
    existed = directory.exists()
    # A process in its last breath may still write a file.
    for _attempt in range(5):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return existed or bool(known)
    raise LabError(f"{directory} could not be removed.")


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step; nobody else ever sees half of it, or may read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.chmod(mode)
    temporary.replace(path)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the kernel frees it when its holder dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
