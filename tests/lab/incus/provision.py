# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each kind of host is given: files first, in one go, then one command. All of it as root, through Incus."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path

import yaml

from .. import broker, postgres
from ..state import CHECKOUT, LabError
from . import app, daemon
from .lab import IncusLab

BOOT_TIMEOUT = 240.0
_MONITOR = Path(__file__).parent / "monitor"
_SHIPPED = CHECKOUT / "extensions" / "prometheus"


DEFINITIONS = "var/lib/rabbitmq/definitions"
COOKIE = "/var/lib/rabbitmq/.erlang.cookie"


def common(lab: IncusLab, host: str) -> None:
    """Wait for systemd, and let the operator in by ssh."""
    deadline = time.monotonic() + BOOT_TIMEOUT
    while daemon.run(lab.dir, "exec", host, "--", "systemctl", "is-system-running").stdout.strip() not in (
        "running",
        "degraded",
    ):
        if time.monotonic() > deadline:
            raise LabError(f"{host}: systemd has not started everything after {BOOT_TIMEOUT:g} s.")
        time.sleep(0.3)
    key = Path(lab.paths["ssh_key"] + ".pub").read_text()
    push(lab, host, {"home/ansible/.ssh/authorized_keys": key})
    lab.on(host, "chown", "-R", "ansible:ansible", "/home/ansible/.ssh")


def broker_host(lab: IncusLab, host: str) -> None:
    """Configure and start RabbitMQ under Debian's unit, and declare what Veza needs."""
    _configure_broker(lab, host, {})
    # The users come last: whoever may log in finds its queue, and no refusal stands in the log of a healthy broker.
    definitions = broker.definitions(lab.credentials)
    users = {key: definitions.pop(key) for key in ("users", "permissions")}
    lab.on(host, "systemctl", "enable", "--now", "rabbitmq-server", timeout=120)
    files = {f"{DEFINITIONS}/1.json": json.dumps(definitions), f"{DEFINITIONS}/2.json": json.dumps(users)}
    push(lab, host, files)
    import_them = (
        f"set -e; chown -R rabbitmq: /{DEFINITIONS};"
        f" for file in /{DEFINITIONS}/*.json; do rabbitmqctl -q import_definitions $file; done;"
        f" rabbitmqctl -q delete_user guest; rm -r /{DEFINITIONS}"
    )
    lab.on(host, "sh", "-c", import_them)


def peer_host(lab: IncusLab, host: str) -> None:
    """Start one more node, which joins the cluster at its first boot."""
    cookie = lab.on("rabbitmq", "cat", COOKIE).stdout
    push(lab, host, {COOKIE: cookie}, mode=0o400)
    lab.on(host, "chown", "rabbitmq:", COOKIE)
    discovery = "cluster_formation.peer_discovery_backend", "cluster_formation.classic_config.nodes.1"
    _configure_broker(lab, host, dict(zip(discovery, ("classic_config", lab.data["node"]), strict=True)))
    lab.on(host, "systemctl", "enable", "--now", "rabbitmq-server", timeout=120)


def _configure_broker(lab: IncusLab, host: str, more: dict[str, str]) -> None:
    settings = {
        "cluster_name": f"veza-{lab.name}",
        "heartbeat": lab.options.heartbeat,
        "log.file.level": "info",
        **more,
    }
    push(
        lab,
        host,
        {
            "etc/rabbitmq/rabbitmq.conf": "".join(f"{name} = {value}\n" for name, value in settings.items()),
            "etc/rabbitmq/enabled_plugins": "[rabbitmq_management,rabbitmq_prometheus].\n",
            # Idle schedulers would otherwise spin: the hosts share the machine's processors.
            "etc/rabbitmq/rabbitmq-env.conf": 'SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none"\n',
        },
        mode=0o644,
    )


def database_host(lab: IncusLab, host: str) -> None:
    """Start PostgreSQL for the lab's network, with Veza's role, database and tables."""
    configure = (
        "set -e; cd /etc/postgresql/*/main;"
        " printf \"listen_addresses = '*'\\ntimezone = 'UTC'\\n\" >conf.d/veza.conf;"
        f" echo 'host all all {daemon.NETWORK}.0/24 scram-sha-256' >>pg_hba.conf;"
        " systemctl enable --now postgresql"
    )
    lab.on(host, "sh", "-c", configure)
    psql = ["runuser", "-u", "postgres", "--", "psql", "-qX", "-v", "ON_ERROR_STOP=1"]
    lab.on(host, *psql, input=postgres.script(lab))


def container_host(lab: IncusLab, host: str) -> None:
    """Start Docker, and by compose what Veza runs on this host."""
    kind: app.Kind = "workers" if host == "workers" else "backend"
    push(lab, host, {app.COMPOSE: app.compose(kind)}, mode=0o644)
    push(lab, host, {app.ENV: app.env_file(lab, host)})
    _push_sources(lab, host)
    image = f"{app.PROJECT}/image.tar"
    lab.incus("file", "push", lab.data["container_image"], f"{host}{image}")
    lab.on(host, "mkdir", "-p", app.DATA)
    lab.on(host, "systemctl", "enable", "--now", "docker", timeout=60)
    lab.on(host, "sh", "-c", f"docker import {image} {app.IMAGE} && rm {image}", timeout=120)
    lab.on(host, "docker", "compose", "-f", app.COMPOSE, "up", "-d", timeout=120)


def monitor_host(lab: IncusLab, host: str) -> None:
    """Start Prometheus and Alertmanager with what the collection ships, and Sentry's stand-in."""
    files = {f"etc/prometheus/{name}": text for name, text in monitoring(lab.name).items()}
    push(lab, host, {**files, "etc/systemd/system/sentry.service": app.sentry_unit()}, mode=0o644)
    push(lab, host, {app.ENV: app.env_file(lab, host)})
    _push_sources(lab, host)
    lab.on(host, "systemctl", "daemon-reload")
    lab.on(host, "systemctl", "enable", "--now", "prometheus", "prometheus-alertmanager", "sentry", timeout=60)


def monitoring(site: str) -> dict[str, str]:
    """Return the files of Prometheus and Alertmanager by name: as shipped, for the one site that is here."""
    here = {name: (_MONITOR / name).read_text() for name in ("prometheus.yml", "sites.yml")}
    alertmanager = yaml.safe_load((_SHIPPED / "alertmanager.yml").read_text())
    # Nobody is told: the game day asks.
    alertmanager["receivers"] = [{"name": receiver["name"]} for receiver in alertmanager["receivers"]]
    return {
        **{name: text.replace("veza_site: lab", f"veza_site: {json.dumps(site)}") for name, text in here.items()},
        "alert_rules.yml": (_SHIPPED / "alert_rules.yml").read_text(),
        "alertmanager.yml": yaml.safe_dump(alertmanager, sort_keys=False),
    }


def push(lab: IncusLab, host: str, files: dict[str, str], mode: int = 0o600) -> None:
    """Write files of root's on a host, with their directories; a path may lack its leading slash."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode, member.mtime = len(data), mode, int(time.time())
            archive.addfile(member, io.BytesIO(data))
    unpack(lab, host, buffer.getvalue(), "/")


def unpack(lab: IncusLab, host: str, archive: bytes, target: str) -> None:
    """Unpack a tar on a host."""
    lab.on(host, "mkdir", "-p", target)
    lab.on(host, "tar", "-C", target, "-xf", "-", input=archive)


def _push_sources(lab: IncusLab, host: str) -> None:
    unpack(lab, host, app.sources_tar(), app.SOURCES)
