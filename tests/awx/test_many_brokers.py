# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""20 brokers diagnosed at the same time, a job of ansible-runner each: none colours the verdict on another.

One is a real RabbitMQ with all of its applications. One hangs: its ports take connections and never answer, and its
service manager doesn't either. 18 stand for brokers that are down: closed ports, and a service manager that says
"stopped". All share one machine here; in AWX each has the instance group of its site.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any

import pytest

from tests.awx import job
from tests.lab import inventory, stack
from tests.lab.stack import Lab, Options

PATIENCE = 300.0
"""Seconds after which something has gone wrong, however busy the machine is."""

DOWN = [f"down-{number}" for number in range(1, 19)]


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = stack.up(f"it-{os.getpid()}", Options())
    try:
        yield lab
    finally:
        lab.down()


def elsewhere(name: str, amqp: int, management: int, status: list[str]) -> job.Site:
    """An inventory with ports of this machine, and hosts that are called as the site is."""
    hosts = {"veza_data_rabbitmq": "rabbitmq", "veza_app_backend": "backend", "veza_workers": "workers"}
    return job.site(
        {group: {"hosts": {f"{host}.{name}": {}}} for group, host in hosts.items()},
        {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "veza_site": name,
            "veza_rabbitmq_host": "127.0.0.1",
            "veza_rabbitmq_port": amqp,
            "veza_rabbitmq_management_port": management,
            "veza_rabbitmq_user": "veza",
            "veza_rabbitmq_password": f"secret of {name}",
            "veza_rabbitmq_management_user": "monitor",
            "veza_rabbitmq_management_password": f"other secret of {name}",
            "veza_rabbitmq_service_manager": "command",
            "veza_rabbitmq_service_commands": {"start": ["false"], "stop": ["false"], "status": status},
            "veza_rabbitmq_log_files": [],
            "veza_backend_container": "",
            "veza_worker_services": [],
        },
    )


def deaf(opened: ExitStack) -> int:
    """Return a port that takes connections, and nothing more."""
    listener = opened.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    return int(listener.getsockname()[1])


def test_one_broken_broker_never_colours_the_verdict_on_another(lab: Lab) -> None:
    with ExitStack() as opened:
        sites = {
            lab.name: job.site(inventory.hosts(lab), inventory.variables(lab)),
            "hung": elsewhere("hung", deaf(opened), deaf(opened), ["sleep", "600"]),
            # Reserved ports, at which nothing listens.
            **{name: elsewhere(name, 1, 2, ["sh", "-c", "exit 3"]) for name in DOWN},
        }
        assert len(sites) == 20

        def diagnose(name: str, **answered: float) -> job.Ended:
            environment = lab.ansible_environment()
            return job.run(sites[name], "Veza RabbitMQ diagnose", environment=environment, answered=answered)

        with ThreadPoolExecutor(len(sites)) as pool:
            # It hangs until nothing listens at its ports any more.
            hung = pool.submit(diagnose, "hung", outage_diagnose_timeout=10 * PATIENCE)
            running = {name: pool.submit(diagnose, name) for name in sites if name != "hung"}
            waited = wait(running.values(), timeout=PATIENCE)
            waits = not hung.done()
            opened.close()
            ended = {name: one.result() for name, one in {**running, "hung": hung}.items()}
    assert (waits, len(waited.not_done)) == (True, 0), "nobody waits for the one that hangs"
    assert {one.status for one in ended.values()} == {"successful"}
    verdicts: dict[str, Any] = {name: one.artifacts["rabbitmq_outage_verdict"] for name, one in ended.items()}
    assert verdicts[lab.name]["cause"] == "healthy", ended[lab.name].stdout
    assert verdicts["hung"]["cause"] != "healthy"
    # The same thing is broken in the same way: the same verdict, each about its own hosts.
    assert len({verdicts[name]["cause"] for name in DOWN}) == 1
    assert verdicts[DOWN[0]]["cause"] != "healthy"
    # Only the service manager of those that are down says so; what hangs may be looked at until its ports are closed.
    stopped = {name for name, one in verdicts.items() if "the service is stopped" in str(one["proof"])}
    assert stopped == set(DOWN)
    for name in (*DOWN, "hung"):
        named = {proof["host"] for proof in verdicts[name]["proof"]} - {"controller", None}
        assert named, verdicts[name]["proof"]
        assert all(host.endswith(f".{name}") for host in named)
        for secret in sites[name].environment.values():
            assert not [other for other in ended.values() if secret in other.files]
