# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's RabbitMQ: Debian's server as a plain process, with everything of its own.

The wrappers in /usr/sbin refuse other users than root and rabbitmq, so the scripts behind them are called.
Nothing restarts this broker when it dies: it is managed by ``start``, ``stop`` and ``status`` commands.
"""

from __future__ import annotations

import base64
import json
import shlex
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from . import processes
from .processes import Process
from .state import Lab, LabError, lock, write_private
from .veza.events import EXCHANGE, QUEUES

SCRIPTS = Path("/usr/lib/rabbitmq/bin")
VHOST = "/veza"
DEAD_LETTER_EXCHANGE = "veza.dead_letters"

START_TIMEOUT = 180.0
STOP_TIMEOUT = 90.0

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


def require() -> None:
    """Raise LabError when the RabbitMQ server is not installed."""
    if not (SCRIPTS / "rabbitmq-server").exists():
        raise LabError("RabbitMQ is missing: install the Debian package rabbitmq-server.")


def configure(lab: Lab) -> None:
    """Write the configuration, the cookie, and command line tools that talk to this broker only."""
    home = lab.dir / "broker"
    (home / "home").mkdir(parents=True)
    write_private(home / "home" / ".erlang.cookie", lab.credentials["erlang_cookie"], 0o400)
    write_private(home / "enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus].\n")
    admin = lab.credentials["admin"]
    settings = {
        "listeners.tcp.default": f"127.0.0.1:{lab.ports['amqp']}",
        "management.tcp.ip": "127.0.0.1",
        "management.tcp.port": lab.ports["management"],
        "prometheus.tcp.ip": "127.0.0.1",
        "prometheus.tcp.port": lab.ports["prometheus"],
        "default_user": admin["user"],
        "default_pass": admin["password"],
        "heartbeat": lab.options.heartbeat,
        "cluster_name": f"veza-{lab.name}",
        "log.file.level": "info",
    }
    write_private(home / "rabbitmq.conf", "".join(f"{key} = {value}\n" for key, value in settings.items()))
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in _environment(lab).items())
    for tool in ("rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-queues", "rabbitmq-plugins"):
        script = f'#!/bin/sh\n{exports}exec {SCRIPTS / tool} "$@"\n'
        write_private(lab.dir / "bin" / tool, script, 0o700)


def _environment(lab: Lab) -> dict[str, str]:
    home, ports = lab.dir / "broker", lab.ports
    return {
        "HOME": str(home / "home"),
        "LANG": "C.UTF-8",
        # The script then becomes the Erlang VM, as under Debian's unit: one process, and its id is known.
        "RUNNING_UNDER_SYSTEMD": "true",
        "RABBITMQ_CONF_ENV_FILE": str(home / "none.conf"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "rabbitmq.pid"),
        "RABBITMQ_NODENAME": node_name(lab),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(ports["amqp"]),
        "RABBITMQ_DIST_PORT": str(ports["dist"]),
        "RABBITMQ_CTL_DIST_PORT_MIN": str(ports["ctl_min"]),
        "RABBITMQ_CTL_DIST_PORT_MAX": str(ports["ctl_max"]),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_CRASH_DUMP": str(home / "erl_crash.dump"),
    }


def node_name(lab: Lab) -> str:
    """Return the Erlang node name."""
    return f"veza-{lab.name}@localhost"


def log_file(lab: Lab) -> Path:
    """Return the broker's main log."""
    return lab.dir / "broker" / "log" / f"{node_name(lab)}.log"


def launch(lab: Lab) -> Process:
    """Start the broker unless it runs; it does not serve yet."""
    with lock(lab.dir / "broker.lock"):
        if lab.running("epmd") is None:
            # Ours, in the foreground: the one that Erlang would start by itself outlives everything.
            epmd = ["epmd", "-port", str(lab.ports["epmd"]), "-address", "127.0.0.1"]
            lab.spawn("epmd", epmd, cwd=lab.dir, environment={"HOME": str(lab.dir / "broker" / "home")})
        server = [str(SCRIPTS / "rabbitmq-server")]
        return lab.running("broker") or lab.spawn(
            "broker", server, cwd=lab.dir / "broker", environment=_environment(lab)
        )


def start(lab: Lab) -> None:
    """Start the broker unless it runs, and wait until it serves; LabError when it does not."""
    process = launch(lab)
    if not processes.wait_until(lambda: serves(lab) or not process.alive(), START_TIMEOUT, 0.1):
        raise LabError(f"The broker does not serve after {START_TIMEOUT:g} s; see {log_file(lab)}.")
    if not process.alive():
        raise LabError(f"The broker ended while it booted; see {lab.dir}/logs/broker.log and {log_file(lab)}.")


def stop(lab: Lab) -> None:
    """Stop the broker cleanly, and wait until it is gone; what does not obey is killed, as systemd would."""
    process = lab.running("broker")
    if process is not None:
        process.stop(signal.SIGTERM, STOP_TIMEOUT)


def kill(lab: Lab) -> None:
    """Kill the broker with SIGKILL, and wait until it is gone."""
    process = lab.running("broker")
    if process is not None:
        process.stop(signal.SIGKILL)


def status(lab: Lab) -> str:
    """Return ``running`` while the process lives, serving or not, else ``stopped``."""
    return "running" if lab.running("broker") is not None else "stopped"


def serves(lab: Lab) -> bool:
    """Tell whether both AMQP and the management API answer."""
    try:
        with socket.create_connection(lab.broker_address, timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(PROTOCOL_HEADER)
            # A frame of type 1 is Connection.Start; an "A" would mean that the header was refused.
            if connection.recv(1) != b"\x01":
                return False
        api(lab, "GET", "/api/whoami")
    except (OSError, ValueError):
        return False
    return True


def api(lab: Lab, method: str, path: str, body: Any = None) -> Any:
    """Call the management API as the lab's administrator; return the parsed answer (None if empty)."""
    admin = lab.credentials["admin"]
    login = base64.b64encode(f"{admin['user']}:{admin['password']}".encode()).decode()
    request = urllib.request.Request(
        lab.urls["management"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    # No proxy from the environment: this is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise LabError(f"{method} {path}: {error.code} {error.read(300)!r}") from error
    return json.loads(text) if text else None


def define(lab: Lab) -> None:
    """Declare what Veza needs: the vhost, the users, and the durable queues with their dead letters."""
    api(lab, "POST", "/api/definitions", definitions(lab.credentials))


def definitions(credentials: dict[str, Any]) -> dict[str, Any]:
    """Return RabbitMQ's definitions document for Veza."""

    def user(name: str, tags: list[str]) -> dict[str, Any]:
        return {"name": credentials[name]["user"], "password": credentials[name]["password"], "tags": tags}

    def permissions(name: str, pattern: str) -> dict[str, Any]:
        who = {"user": credentials[name]["user"], "vhost": VHOST}
        return {**who, "configure": pattern, "write": pattern, "read": pattern}

    def exchange(name: str) -> dict[str, Any]:
        common = {"type": "direct", "durable": True, "auto_delete": False, "internal": False, "arguments": {}}
        return {"name": name, "vhost": VHOST, **common}

    def queue(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "vhost": VHOST, "durable": True, "auto_delete": False, "arguments": arguments}

    def binding(source: str, name: str) -> dict[str, Any]:
        target = {"destination": name, "destination_type": "queue", "routing_key": name}
        return {"source": source, "vhost": VHOST, **target, "arguments": {}}

    dead_letters = [f"{name}.dlq" for name in QUEUES.values()]
    to_dead_letters = "x-dead-letter-exchange"
    return {
        "vhosts": [{"name": VHOST}],
        "users": [user("veza", []), user("monitor", ["monitoring"]), user("admin", ["administrator"])],
        "permissions": [permissions("veza", ".*"), permissions("monitor", "^$"), permissions("admin", ".*")],
        "exchanges": [exchange(EXCHANGE), exchange(DEAD_LETTER_EXCHANGE)],
        "queues": [
            *(
                queue(name, {to_dead_letters: DEAD_LETTER_EXCHANGE, "x-dead-letter-routing-key": f"{name}.dlq"})
                for name in QUEUES.values()
            ),
            *(queue(name, {}) for name in dead_letters),
        ],
        "bindings": [
            *(binding(EXCHANGE, name) for name in QUEUES.values()),
            *(binding(DEAD_LETTER_EXCHANGE, name) for name in dead_letters),
        ],
    }
