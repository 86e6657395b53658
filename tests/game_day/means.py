# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What faults are made with, and seen with: small operations on the lab's hosts. Nothing here judges."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.lab import apps, broker
from tests.lab.incus import app
from tests.lab.state import LabError

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

T = TypeVar("T")

BROKER = "rabbitmq"
UNIT = "rabbitmq-server"
BACKENDS = ("backend-1", "backend-2")
WORKERS = "workers"
KINDS = apps.WORKERS
COMPOSE = app.COMPOSE
DATA = "/var/lib/rabbitmq"
LOGS = "/var/log/rabbitmq"
POOL = "game-day"
TABLE = "game_day"
"""The name of every nft table that a fault makes."""

PROPERTIES = "ActiveState,SubState,Result,MainPID,NRestarts,ExecMainStatus,ExecMainCode,InvocationID"


def shell(lab: IncusLab, host: str, script: str, *, check: bool = True, timeout: float = 60.0) -> str:
    """Run a shell script as root on a host; return what it printed. Secrets belong in its input, not in here."""
    return str(lab.on(host, "sh", "-ec", script, check=check, timeout=timeout).stdout)


def unit(lab: IncusLab, host: str = BROKER, name: str = UNIT) -> dict[str, str]:
    """Return what systemd says of a service."""
    text = lab.on(host, "systemctl", "show", "-p", PROPERTIES, name, check=True, timeout=20).stdout
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def instances(lab: IncusLab) -> dict[str, str]:
    """Return what Incus says of each instance: RUNNING, STOPPED or FROZEN."""
    lines = lab.incus("list", "--format", "csv", "--columns", "ns").split()
    return dict(line.split(",") for line in lines)


def drop_in(lab: IncusLab, text: str) -> None:
    """Change the broker's unit by a drop-in, effective for what systemd does next."""
    directory = f"/etc/systemd/system/{UNIT}.service.d"
    shell(lab, BROKER, f"mkdir -p {directory}; printf %s {shlex.quote(text)} >{directory}/game-day.conf")
    lab.on(BROKER, "systemctl", "daemon-reload", check=True, timeout=60)


def remove_drop_in(lab: IncusLab) -> None:
    """Undo ``drop_in``; harmless without one."""
    shell(lab, BROKER, f"rm -f /etc/systemd/system/{UNIT}.service.d/game-day.conf; systemctl daemon-reload")


def start_broker(lab: IncusLab) -> None:
    """Start the broker's unit unless it runs; returns when the broker has booted."""
    lab.on(BROKER, "systemctl", "start", UNIT, check=True, timeout=180)


def restart_broker(lab: IncusLab) -> None:
    """Restart the broker's unit, however it is."""
    lab.on(BROKER, "systemctl", "restart", UNIT, check=True, timeout=240)


def beam(lab: IncusLab) -> str:
    """Return the id of the broker's process on its host, as far as systemd knows one ("0" when it doesn't run)."""
    return unit(lab)["MainPID"]


def evaluate(lab: IncusLab, expression: str) -> str:
    """Evaluate an Erlang expression in the broker, by rabbitmqctl."""
    return lab.rabbitmqctl("eval", expression, timeout=30).strip()


def hello(lab: IncusLab, patience: float = 3.0) -> str:
    """Tell how AMQP begins at the broker's port, from the controller.

    ``start`` (it serves), ``silent`` (connected, and nothing comes), ``refused``, ``timeout`` or ``closed``.
    """
    try:
        with socket.create_connection((lab.hosts[BROKER], lab.ports["amqp"]), timeout=patience) as connection:
            connection.settimeout(patience)
            connection.sendall(broker.PROTOCOL_HEADER)
            try:
                return "start" if connection.recv(1) == b"\x01" else "closed"
            except TimeoutError:
                return "silent"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
    except OSError:
        return "closed"


def api(lab: IncusLab, method: str, path: str, body: Any = None) -> Any:
    """Call the management API as administrator."""
    return broker.api(lab, method, path, body)


def alarms(lab: IncusLab) -> str:
    """Return the resource alarms in effect, as the broker itself has them: an Erlang term, ``[]`` for none."""
    return evaluate(lab, "rabbit_alarm:get_alarms().")


def close_connections(lab: IncusLab, host: str) -> int:
    """Have the broker close the connections that come from a host; return how many there were."""
    own = "[Pid || [{pid, Pid}, {peer_host, Peer}] <- rabbit_networking:connection_info_all([pid, peer_host]), "
    own += f'rabbit_misc:ntoa(Peer) =:= "{lab.hosts[host]}"]'
    close = 'catch rabbit_networking:close_connection(Pid, "game day")'
    return int(evaluate(lab, f"length([{close} || Pid <- {own}])."))


def compose(lab: IncusLab, host: str, *arguments: str) -> str:
    """Run docker compose on a host of the application."""
    argv = ("docker", "compose", "-f", COMPOSE, *arguments)
    return str(lab.on(host, *argv, check=True, timeout=120).stdout)


def container(lab: IncusLab, host: str, service: str) -> dict[str, Any]:
    """Return what docker inspect says of a compose service's container: the newest, running or not."""
    name = compose(lab, host, "ps", "-a", "-q", service).split()[0]
    document = json.loads(lab.on(host, "docker", "inspect", name, check=True, timeout=30).stdout)
    return dict(document[0])


def drop_packets(lab: IncusLab, host: str, match: str, chain: str = "output", verdict: str = "drop") -> None:
    """Have a host's firewall treat packets by ``match``; with ``output`` also what its containers send."""
    hook = {"output": "postrouting", "input": "input"}[chain]
    lines = [
        f"table inet {TABLE} {{",
        f"chain {chain} {{",
        f"type filter hook {hook} priority 0;",
        f"{match} {verdict}",
        "}",
        "}",
    ]
    lab.on(host, "nft", "-f", "-", input="\n".join(lines) + "\n", check=True, timeout=30)


UNDO = ("sh", "-c", f"nft delete table inet {TABLE} 2>/dev/null || ! nft list table inet {TABLE} 2>/dev/null")
"""What undoes ``drop_packets``; harmless without one."""


def undo_packets(lab: IncusLab, host: str) -> None:
    """Undo ``drop_packets``; harmless without one."""
    lab.on(host, *UNDO, check=False, timeout=30)


def allowed_mend(cause: str, backend: str, host: str | None = None, argv: Sequence[str] = UNDO) -> dict[str, Any]:
    """Return the variables of an operator who lets a recovery mend the way of a backend by a command on ``host``."""
    where = host or backend
    place = where if where == "localhost" else f"{where}.lxd"
    return {"veza_network_mend": [{"cause": cause, "target": f"{backend}.lxd", "host": place, "argv": list(argv)}]}


def small_disk(lab: IncusLab, megabytes: int) -> None:
    """Put the broker's data onto a disk of their own, by Incus, and wait until all is at work again."""
    remove_disk(lab)
    lab.incus("storage", "create", POOL, "btrfs", f"size={megabytes}MiB")
    lab.incus("storage", "volume", "create", POOL, "data")
    shell(lab, BROKER, f"systemctl stop {UNIT}; cp -a {DATA} {DATA}.game-day", timeout=120)
    lab.incus("config", "device", "add", BROKER, "data", "disk", f"pool={POOL}", "source=data", f"path={DATA}")
    move = f"cp -a {DATA}.game-day/. {DATA}/; rm -rf {DATA}.game-day; chown --reference=/var/log/rabbitmq {DATA}"
    shell(lab, BROKER, move, timeout=120)
    start_broker(lab)
    apps.wait(lab, 60.0)


def grow_disk(lab: IncusLab, size: str = "2GiB") -> None:
    """Make the disk of ``small_disk`` larger, while it is in use; harmless without one."""
    with contextlib.suppress(LabError):
        lab.incus("storage", "set", POOL, f"size={size}")


def remove_disk(lab: IncusLab) -> None:
    """Remove what an earlier ``small_disk`` left; the broker's host must not use it any more (after a reset)."""
    for argv in (("storage", "volume", "delete", POOL, "data"), ("storage", "delete", POOL)):
        with contextlib.suppress(LabError):
            lab.incus(*argv)


def free_bytes(lab: IncusLab, path: str = DATA) -> int:
    """Return what df calls available."""
    return int(shell(lab, BROKER, f"df --output=avail -B1 {path} | tail -1"))


def fill(lab: IncusLab, size: int, path: str = f"{DATA}/fill") -> None:
    """Write a file of so many bytes onto the broker's disk."""
    lab.on(BROKER, "fallocate", "-l", str(size), path, check=True, timeout=120)


def begin_boot(lab: IncusLab) -> None:
    """Have systemd start the broker, and don't wait: it may never boot."""
    lab.on(BROKER, "systemctl", "start", "--no-block", UNIT, check=True, timeout=30)


def boot_failure(lab: IncusLab, pattern: str) -> str | None:
    """Return the line by which the broker told why it does not boot, while systemd tries again and again.

    None when the unit has not failed to start yet, the port answers, or no line of its logs has ``pattern`` (an
    extended regular expression). The lab's logs begin clean: what a failed boot says stands in no other run's.
    """
    state = unit(lab)
    if state["ActiveState"] == "active" or int(state["NRestarts"]) == 0 or hello(lab) != "refused":
        return None
    line = log_line(lab, pattern)
    return f"systemd has restarted it {state['NRestarts']} times ({state['SubState']}): {line}" if line else None


def log_line(lab: IncusLab, pattern: str) -> str:
    """Return the first line of the broker's logs that matches an extended regular expression; "" without one."""
    look = f"cat {LOGS}/*.log | grep -aE -m1 -- {shlex.quote(pattern)} | cut -c1-200"
    return shell(lab, BROKER, look, check=False).strip()


def mend_boot(lab: IncusLab) -> None:
    """Start the broker anew, unless it serves: what kept it from booting was removed."""
    if hello(lab) != "start":
        restart_broker(lab)


def put_back(lab: IncusLab, host: str, path: str) -> None:
    """Put back the copy of a file that a fault kept as ``path``.game-day; harmless without one."""
    shell(lab, host, f"[ ! -e {path}.game-day ] || mv {path}.game-day {path}")


def other_backend(backend: str) -> str:
    """Return the backend that a fault of one backend spares."""
    (other,) = set(BACKENDS) - {backend}
    return other


@contextlib.contextmanager
def channel(lab: IncusLab, patience: float = 5.0) -> Iterator[BlockingChannel]:
    """Yield a channel with publisher confirms, as administrator: the application's login may be what is broken.

    The connection is closed in the end; each of its steps has ``patience`` seconds.
    """
    parameters = pika.URLParameters(lab.urls["amqp"])
    admin = lab.credentials["admin"]
    parameters.credentials = pika.PlainCredentials(admin["user"], admin["password"])
    parameters.socket_timeout = parameters.blocked_connection_timeout = patience
    parameters.stack_timeout = 2 * patience
    parameters.connection_attempts = 1
    connection = pika.BlockingConnection(parameters)
    try:
        opened = connection.channel()
        opened.confirm_delivery()
        yield opened
    finally:
        if connection.is_open:
            connection.close()


def bus(lab: IncusLab, backend: str) -> str:
    """Return the state of a backend's event bus, as its health page tells it."""
    return str(apps.health(lab, backend)["eventbus"])


def until(look: Callable[[], T | None], seconds: float, interval: float = 0.5) -> T | None:
    """Return the first true answer of ``look``, None when time runs out. What it raises counts as "not yet"."""
    deadline = time.monotonic() + seconds
    while True:
        answer = attempt(look)
        if answer:
            return answer
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(interval, left))


def attempt(look: Callable[[], T | None]) -> T | None:
    """Return the answer of ``look``, None when whom it asks does not answer."""
    try:
        return look()
    except Exception:
        return None
