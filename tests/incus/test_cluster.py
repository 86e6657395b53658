# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A broker of three nodes on real hosts: what one of them misses is told apart from what users miss."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import broker, processes
from tests.lab.incus import stack
from tests.lab.incus.lab import IncusLab

from .conftest import Run
from .test_recover import START, changed
from .test_restart import DIRECTORY, UNIT

THIRD, OTHERS = "rabbitmq-3", "; the rest of the cluster serves"
CUT = (
    "add table inet cut; add chain inet cut in { type filter hook input priority 0; };"
    " add rule inet cut in ip saddr { 198.18.77.10, 198.18.77.12 } drop"
)
"""Rules of nftables on the third node, which hears the others no more."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[IncusLab]:
    """A lab whose broker has three nodes, which systemd doesn't start again by itself."""
    lab = stack.up(f"it-{os.getpid()}-cluster", nodes=3)
    try:
        lab.enter()
        for host in lab.nodes:
            lab.on(host, "mkdir", "-p", "/run/systemd/system/rabbitmq-server.service.d")
            write = "printf '[Service]\\nRestart=no\\n' > /run/systemd/system/rabbitmq-server.service.d/test.conf"
            lab.on(host, "sh", "-c", f"{write} && systemctl daemon-reload")
        yield lab
    finally:
        lab.down()


def members(lab: IncusLab) -> int:
    """Return how many nodes run, as the first one sees it."""
    return int(lab.rabbitmqctl("-q", "eval", "length(rabbit_nodes:list_running())."))


def test_a_node_that_is_gone_is_no_outage_while_the_others_serve(cluster: IncusLab, run: Run) -> None:
    assert members(cluster) == 3
    cluster.on(THIRD, "systemctl", "stop", "rabbitmq-server")
    assert processes.wait_until(lambda: members(cluster) == 2, 30, 0.5)

    status, text = run(cluster, "diagnose_rabbitmq")
    assert (status, changed(text)) == (0, 0), text
    assert f"Somebody stopped the broker on purpose ({THIRD}.lxd){OTHERS} [broker_stopped_on_purpose]" in text
    assert "AFFECTED" not in text, "every backend gets through"

    status, text = run(cluster, "recover_rabbitmq", *START)
    assert status == 0, text
    assert f"start_broker on {THIRD}.lxd: it serves since" in text
    assert members(cluster) == 3


def test_nodes_that_all_went_down_are_all_started(cluster: IncusLab, run: Run) -> None:
    for host in cluster.nodes:
        # The last one to go is not the first one to come: each may have to wait for it.
        cluster.on(host, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", "rabbitmq-server")
    assert processes.wait_until(lambda: not broker.serves(cluster), 10)

    status, text = run(cluster, "recover_rabbitmq")
    assert status == 0, text
    assert "The broker's process died (rabbitmq-2.lxd, rabbitmq-3.lxd, rabbitmq.lxd)" in text
    for host in cluster.nodes:
        assert f"start_broker on {host}.lxd: it serves since" in text
    assert members(cluster) == 3


def test_a_restart_of_all_nodes_is_under_one_lease(cluster: IncusLab, run: Run) -> None:
    def looks(what: str) -> list[str]:
        return [cluster.on(host, "systemctl", "show", "-p", what, UNIT).stdout for host in cluster.nodes]

    def lease() -> dict[str, Any]:
        found = cluster.on("monitor", "sh", "-c", f"cat {DIRECTORY}/*/lease.json", check=False).stdout
        told: dict[str, Any] = json.loads(found or '{"token": 0}')  # nobody has had it yet
        return told

    before, token = looks("InvocationID"), lease()["token"]
    status, text = run(cluster, "restart_rabbitmq")
    assert status == 0, text
    assert not set(before) & set(looks("InvocationID")), "each was restarted"
    assert members(cluster) == 3
    assert (lease()["token"], lease()["holder"]) == (token + 1, None), "taken once, and given back at the end"

    cluster.on(THIRD, "systemctl", "stop", UNIT)
    status, text = run(cluster, "restart_rabbitmq", "--limit", f"{THIRD}.lxd")
    assert status != 0, text
    assert f"on {THIRD}.lxd somebody stopped the broker" in " ".join(text.split()), text
    assert lease()["holder"] is None
    cluster.on(THIRD, "systemctl", "start", UNIT)
    assert processes.wait_until(lambda: members(cluster) == 3, 60, 0.5)


def test_a_partition_is_named_before_rabbitmq_tells_of_it(cluster: IncusLab, run: Run) -> None:
    cluster.on(THIRD, "nft", CUT)

    def unheard() -> bool:
        lines = [line.split() for line in cluster.on("rabbitmq", "cat", "/proc/net/tcp").stdout.splitlines()[1:]]
        return any(":6448" in "".join(line[1:3]) and int(line[6], 16) > 1 for line in lines)

    assert processes.wait_until(unheard, 30, 0.5), "the nodes say something to each other at least so often"
    status, text = run(cluster, "diagnose_rabbitmq")
    assert status == 0, text
    assert "[cluster_nodes_unheard]" in text, text
    assert "port 25672 acknowledges nothing" in text
