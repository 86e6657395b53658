# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a lab of real hosts up, and take it down."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import apps, broker, processes
from ..stack import login, new_credentials
from ..state import CHECKOUT, LabError, Options, write_private
from . import app, daemon, image, inventory, provision
from .lab import IncusLab, directory, take_down

VERSIONS = {"4.0": "trixie", "3.10": "bookworm"}
"""Which image the broker's host is made from, for each version of RabbitMQ."""

OPTIONS = Options(backoff=5.0, heartbeat=5, log_level="warn")


INCIDENTS = "/var/lib/veza/incidents"
"""Where the inventory keeps the incidents, on the monitoring host."""


@dataclass(frozen=True)
class Host:
    """A host of the lab."""

    number: int
    """Last number of its address."""
    role: Callable[[IncusLab, str], None]


HOSTS = {
    "rabbitmq": Host(10, provision.broker_host),
    "postgres": Host(11, provision.database_host),
    "backend-1": Host(21, provision.container_host),
    "backend-2": Host(22, provision.container_host),
    "workers": Host(30, provision.container_host),
    "monitor": Host(40, provision.monitor_host),
}

PEERS = {"rabbitmq-2": Host(12, provision.peer_host), "rabbitmq-3": Host(13, provision.peer_host)}
"""The hosts of a cluster's other nodes, which join that of ``rabbitmq``."""

Say = Callable[[str], None]


def up(
    name: str = "play", options: Options = OPTIONS, rabbitmq: str = "4.0", say: Say = print, nodes: int = 1
) -> IncusLab:
    """Bring up a lab, its broker a cluster of so many nodes, wait until it works, and return it.

    What a killed lab of this name left is removed first. When anything fails, nothing stays but the reason.
    LabError: it is up already, this machine can't, or a server does not start.
    """
    if rabbitmq not in VERSIONS:
        raise LabError(f"RabbitMQ {rabbitmq} is not among {', '.join(VERSIONS)}.")
    daemon.require()
    where = directory(name)
    if is_up(where):
        raise LabError(f"The lab '{name}' is up already: {where}")
    take_down(where)
    images = {suite: image.ready(suite, say) for suite in dict.fromkeys(("trixie", VERSIONS[rabbitmq]))}
    containers = app.image_tar(image.CACHE, say)
    try:
        keys = [path / "host_key.pub" for path in images.values()]
        lab = _create(where, name, options, rabbitmq, keys, _hosts(nodes))
        _start(lab, images, containers, say)
    except BaseException:
        # Interrupted too (Ctrl-C): nobody would know of what was started so far.
        take_down(where)
        raise
    return lab


def down(name: str = "play") -> bool:
    """Take a lab down and remove its state; False when there was none."""
    return take_down(directory(name))


def is_up(where: Path) -> bool:
    """Tell whether the lab in ``where`` was brought up completely and its hosts still run."""
    try:
        lab = IncusLab.at(where)
    except LabError:
        return False
    return bool(lab.data.get("ready")) and lab.init.alive()


def _hosts(nodes: int) -> dict[str, Host]:
    return {**HOSTS, **dict(list(PEERS.items())[: nodes - 1])}


def _create(
    where: Path, name: str, options: Options, rabbitmq: str, host_keys: list[Path], hosts: dict[str, Host]
) -> IncusLab:
    """Make the state directory with all that can be known before anything runs."""
    where.mkdir(mode=0o711)
    where.chmod(0o711)
    for part in ("bin", "inventory", "logs", "ssh"):
        (where / part).mkdir(mode=0o700)
    credentials = new_credentials()
    document = {
        "name": name,
        "dir": str(where),
        "checkout": str(CHECKOUT),
        "python": sys.executable,
        "created_at": datetime.now(UTC).isoformat(),
        "ready": False,
        "rabbitmq": rabbitmq,
        "options": asdict(replace(options, instances=2)),
        "hosts": {host: f"{daemon.NETWORK}.{entry.number}" for host, entry in hosts.items()},
        "ports": {"amqp": 5672, "management": 15672, "postgres": 5432},
        "urls": _urls(credentials),
        "credentials": credentials,
        "node": "rabbit@rabbitmq",
        "vhost": broker.VHOST,
        "sentry": {"organization": "veza", "project": "1"},
        "paths": {
            "inventory": str(where / "inventory"),
            "logs": str(where / "logs"),
            "attempts": f"{app.DATA}/attempts.jsonl",
            "ssh_key": str(where / "ssh" / "id_ed25519"),
            "incidents": INCIDENTS,
        },
        "processes": {},
    }
    write_private(where / "lab.json", json.dumps(document, indent=2) + "\n")
    _write_keys(where, host_keys)
    return IncusLab.at(where)


def _urls(credentials: dict[str, Any]) -> dict[str, Any]:
    return {
        "amqp": f"amqp://{login(credentials['veza'])}@rabbitmq.lxd:5672/{quote(broker.VHOST, safe='')}",
        "management": "http://rabbitmq.lxd:15672",
        "prometheus": "http://rabbitmq.lxd:15692/metrics",
        "database": f"postgresql://{login(credentials['database'])}@postgres.lxd:5432/veza",
        "sentry": f"http://monitor.lxd:{app.SENTRY_PORT}",
        "prometheus_server": "http://monitor.lxd:9090",
        "alertmanager": "http://monitor.lxd:9093",
        "backends": {name: f"http://{name}.lxd:{app.API_PORT}" for name in ("backend-1", "backend-2")},
    }


def _write_keys(where: Path, host_keys: list[Path]) -> None:
    """Make the key of the lab's operator, and note the keys of its hosts: each image has one."""
    key = where / "ssh" / "id_ed25519"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "veza lab", "-f", str(key)]
    subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    known = [f"*.{daemon.DOMAIN},{daemon.NETWORK}.* {' '.join(path.read_text().split()[:2])}\n" for path in host_keys]
    write_private(where / "ssh" / "known_hosts", "".join(known))
    settings = {
        "User": "ansible",
        "IdentityFile": key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": f"{key.parent}/known_hosts",
    }
    write_private(where / "ssh" / "config", "".join(f"{name} {value}\n" for name, value in settings.items()))


def _write_wrappers(lab: IncusLab) -> None:
    """Write what runs a program in the lab's network: ``run``, and what Ansible is given as ssh and as Python.

    The latter two carry the lab's mark, so that nothing of them (a connection kept open) outlives the lab.
    """
    resolv_conf = Path("/etc/resolv.conf").resolve()
    names = f"mount --bind '{lab.dir}/resolv.conf' '{resolv_conf}' && exec \"$@\""
    enter = f"nsenter --net=/proc/{lab.init.pid}/ns/net -- unshare --mount --propagation=private --"
    run = lab.dir / "bin" / "run"
    write_private(run, f'#!/bin/sh\nexec {enter} /bin/sh -c {_shell(names)} sh "$@"\n', 0o700)
    incus = lab.ansible_environment()
    exports = " ".join(f"{name}='{value}'" for name, value in incus.items())
    write_private(lab.dir / "bin" / "incus", f'#!/bin/sh\n{exports} exec /usr/bin/incus "$@"\n', 0o700)
    for name, program in (("ssh", "/usr/bin/ssh"), ("python", sys.executable)):
        text = f"#!/bin/sh\n{processes.MARK}='{lab.dir}' exec '{run}' '{program}' \"$@\"\n"
        write_private(lab.dir / "bin" / name, text, 0o700)


def _shell(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _start(lab: IncusLab, images: dict[str, Path], containers: Path, say: Say) -> None:
    say("starting a private Incus")
    lab.record("incus", daemon.start(lab.dir, lab.dir.name, lab.hosts))
    _write_wrappers(lab)
    inventory.write(lab)
    say("starting the hosts: " + ", ".join(lab.hosts))
    for suite, path in images.items():
        lab.incus("image", "import", str(path / "metadata.tar"), str(path / "rootfs.tar.zst"), "--alias", suite)
    for host in lab.hosts:
        _launch(lab, host, VERSIONS[lab.data["rabbitmq"]] if host in lab.nodes else "trixie")
    lab.data["container_image"] = str(containers)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: _provision(lab, host), (host for host in lab.hosts if host in HOSTS)))
    for host in lab.nodes[1:]:
        # One after the other: each joins those that are there.
        _provision(lab, host)
    say("waiting for Veza")
    # Names of the hosts resolve within their network only.
    subprocess.run(
        lab.inside([sys.executable, "-m", "tests.lab.incus", "_finish", "--name", lab.name]), check=True, cwd=CHECKOUT
    )


def _launch(lab: IncusLab, host: str, suite: str) -> None:
    config = {
        "user.address": lab.hosts[host],
        "user.gateway": daemon.GATEWAY,
        "user.resolv_conf": (lab.dir / "resolv.conf").read_text(),
    }
    lab.incus("launch", suite, host, *(f"--config={name}={value}" for name, value in config.items()))


def _provision(lab: IncusLab, host: str) -> None:
    provision.common(lab, host)
    {**HOSTS, **PEERS}[host].role(lab, host)


def finish(lab: IncusLab) -> None:
    """Do, within the lab's network, what remains: wait until Veza works, and note the state of the hosts."""
    apps.wait(lab, 90.0)
    lab.mark_ready()
    lab.snapshot()
