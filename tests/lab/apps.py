# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of the stand-in Veza: Sentry, the API instances and the workers."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.request
from typing import Any

import pika
from pika.exceptions import AMQPError

from . import processes
from .processes import Process
from .state import CHECKOUT, Lab, LabError
from .veza.events import QUEUES

WORKERS = ("transcode", "distribution", "dmca", "search")


def backends(lab: Lab) -> list[str]:
    """Return the names of the API instances."""
    return [f"backend-{number}" for number in range(1, lab.options.instances + 1)]


def names(lab: Lab) -> list[str]:
    """Return the names of all processes of the stand-in Veza, in the order in which they start."""
    return ["sentry", *backends(lab), *(f"worker-{kind}" for kind in WORKERS)]


def start(lab: Lab, name: str, extra: dict[str, str] | None = None) -> Process:
    """Start one process of the stand-in Veza unless it runs; ``extra`` is added to its environment."""
    running = lab.running(name)
    if running is not None:
        return running
    module = {"sentry": "sentry", "backend": "api", "worker": "workers"}[name.partition("-")[0]]
    argv = [sys.executable, "-m", f"tests.lab.veza.{module}"]
    variables = {**environment(lab, name), **_here(lab, name), **(extra or {})}
    return lab.spawn(name, argv, cwd=lab.dir, environment=variables)


def restart(lab: Lab, name: str, extra: dict[str, str] | None = None) -> Process:
    """Stop one process of the stand-in Veza, whatever state it is in, and start it again."""
    stop(lab, name)
    return start(lab, name, extra)


def stop(lab: Lab, name: str) -> None:
    """Stop one process of the stand-in Veza; one that hangs is killed."""
    running = lab.running(name)
    if running is not None:
        running.stop(timeout=5.0)


def environment(lab: Lab, name: str) -> dict[str, str]:
    """Return the variables of a process that are the same wherever it runs: all but where it listens and writes."""
    options = lab.options
    common = {
        "VEZA_INSTANCE": name,
        "AMQP_URL": lab.urls["amqp"],
        "AMQP_HEARTBEAT": str(options.heartbeat),
        "DATABASE_URL": lab.urls["database"],
    }
    if name == "sentry":
        return {"SENTRY_TOKEN": lab.credentials["sentry_token"], "SENTRY_URL": lab.urls["sentry"]}
    if name.startswith("worker-"):
        return {
            **common,
            "WORKER_KIND": name.partition("-")[2],
            "WORKER_TASK_SECONDS": str(options.task_seconds),
            "WORKER_POISON": options.poison,
            "BACKEND_URLS": ",".join(lab.urls["backends"].values()),
        }
    return {
        **common,
        "ADMIN_TOKEN": lab.credentials["api_admin_token"],
        "EVENTBUS_BACKOFF_LIMIT": str(options.backoff),
        "EVENTBUS_CONFIRMS": "on" if options.confirms else "off",
        "EVENTBUS_DEGRADED_LOG_LEVEL": options.log_level,
        "SENTRY_STORE_URL": f"{lab.urls['sentry']}/api/1/store/",
    }


def _here(lab: Lab, name: str) -> dict[str, str]:
    """Return the variables of a process of this machine: where its code is, where it listens and writes."""
    code = {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
    if name == "sentry":
        return {**code, "SENTRY_PORT": str(lab.ports["sentry"]), "SENTRY_STORE": lab.paths["sentry_events"]}
    if name.startswith("worker-"):
        return {**code, "ATTEMPTS_FILE": lab.paths["attempts"]}
    return {**code, "API_PORT": str(lab.ports[name])}


def wait(lab: Lab, timeout: float = 90.0) -> None:
    """Wait until every API instance is connected to the bus, and every queue has its worker; LabError if not."""

    def connected() -> bool:
        try:
            return all(health(lab, name)["eventbus"] == "connected" for name in backends(lab))
        except (OSError, ValueError):
            return False

    def consumed() -> bool:
        # Asked over AMQP: the management API learns of consumers up to 5 s later.
        try:
            with contextlib.closing(pika.BlockingConnection(pika.URLParameters(lab.urls["amqp"]))) as connection:
                channel = connection.channel()
                return all(channel.queue_declare(name, passive=True).method.consumer_count for name in QUEUES.values())
        except (AMQPError, OSError):
            return False

    if not processes.wait_until(lambda: connected() and consumed(), timeout, 0.1):
        raise LabError(f"The stand-in Veza is not ready after {timeout:g} s; see {lab.dir}/logs.")


def health(lab: Lab, backend: str) -> dict[str, Any]:
    """Return what one API instance says of itself."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{lab.urls['backends'][backend]}/api/v1/health", timeout=5) as answer:
        document: dict[str, Any] = json.load(answer)
    return document
