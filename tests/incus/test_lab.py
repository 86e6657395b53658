# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab of real hosts: what it has, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest

from tests.game_day import scenario_e
from tests.lab import apps, evidence, processes
from tests.lab.incus import daemon, image, inventory, stack
from tests.lab.incus.lab import API_CONTAINER, IncusLab, directory
from tests.lab.scenario import Playbook
from tests.lab.state import CHECKOUT, LabError
from tests.lab.veza.events import QUEUES

PYTHON = sys.executable


def test_the_hosts_are_what_production_has(incus_lab: IncusLab) -> None:
    lab = incus_lab
    assert lab.on("rabbitmq", "systemctl", "is-active", "rabbitmq-server").stdout.strip() == "active"
    assert lab.rabbitmqctl("version").strip().startswith("4.0")
    fragment = lab.on("rabbitmq", "systemctl", "show", "-p", "FragmentPath", "--value", "rabbitmq-server").stdout
    assert fragment.strip() == "/usr/lib/systemd/system/rabbitmq-server.service"
    with psycopg2.connect(lab.urls["database"]) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        assert str(cursor.fetchone()).startswith("('170")
    compose = ["docker", "compose", "-f", "/opt/veza/docker-compose.prod.yml", "ps", "--services"]
    running = set(lab.on("workers", *compose, "--status", "running").stdout.split())
    assert running == {f"worker-{kind}" for kind in QUEUES}
    for backend in lab.urls["backends"]:
        assert apps.health(lab, backend)["eventbus"] == "connected"
        shell = lab.on(backend, "docker", "exec", API_CONTAINER, "sh", "-c", "true", check=False)
        assert shell.returncode != 0, "the containers are to have no shell"


def test_prometheus_watches_with_the_rules_that_are_shipped(session_lab: IncusLab) -> None:
    def names() -> set[str]:
        rules = scenario_e.ask("GET", f"{session_lab.urls['prometheus_server']}/api/v1/rules")
        return {rule["name"] for group in rules["data"]["groups"] for rule in group["rules"]}

    assert processes.wait_until(lambda: "RabbitMQUnreachable" in names(), 20, 0.5)


def test_what_follows_from_a_site_that_is_down_is_no_second_alert(session_lab: IncusLab) -> None:
    """As the lab's Alertmanager, which has the shipped rules of inhibition, judges alerts of sites that are made up."""
    url = f"{session_lab.urls['alertmanager']}/api/v2/alerts"
    ends = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    given = [("RabbitMQUnreachable", "a"), ("RabbitMQNodeCount", "a"), ("RabbitMQNodeCount", "b")]
    labels = [{"alertname": name, "veza_site": f"made-up-{site}"} for name, site in given]
    scenario_e.ask("POST", url, [{"labels": one, "endsAt": ends} for one in labels])

    def states() -> list[str]:
        told = {json.dumps(alert["labels"]): alert["status"]["state"] for alert in scenario_e.ask("GET", url)}
        return [told.get(json.dumps(one), "") for one in labels]

    assert processes.wait_until(lambda: states() == ["active", "suppressed", "active"], 20, 0.5), states()


def test_a_reset_undoes_what_was_done(incus_lab: IncusLab) -> None:
    incus_lab.on("rabbitmq", "touch", "/var/lib/rabbitmq/a-trace")
    incus_lab.on("rabbitmq", "systemctl", "stop", "rabbitmq-server")
    evidence.query(incus_lab, "INSERT INTO tracks (title) VALUES ('a trace') RETURNING id")
    incus_lab.reset()
    assert incus_lab.on("rabbitmq", "test", "-e", "/var/lib/rabbitmq/a-trace", check=False).returncode == 1
    assert evidence.query(incus_lab, "SELECT count(*) FROM tracks") == [(0,)]
    assert all(apps.health(incus_lab, name)["eventbus"] == "connected" for name in incus_lab.urls["backends"])


def test_the_same_playbook_over_the_connection_plugin_of_incus(
    session_lab: IncusLab, community_general: Path, tmp_path: Path
) -> None:
    playbook = Playbook(
        session_lab,
        "diagnose_rabbitmq",
        log=tmp_path / "log",
        inventory=inventory.write_incus_connection(session_lab),
        environment={"ANSIBLE_COLLECTIONS_PATH": f"{CHECKOUT}/.collections:{community_general}"},
    )
    assert playbook.start().wait(120) == 0, playbook.text()
    assert "[healthy]" in playbook.text()
    assert "unreachable=0" in playbook.text()


def leftovers(where: Path, outside: list[str]) -> dict[str, str]:
    """Return what of a lab is still to be seen on this machine."""
    looks = {
        "ps": ["ps", "-eo", "args"],
        "mount": ["cat", "/proc/mounts"],
        "losetup": ["losetup", "--list", "--noheadings", "--output=BACK-FILE"],
        "control groups": ["find", "/sys/fs/cgroup", "-type", "d", "-name", where.name],
        "files": ["ls", "-d", str(where)],
    }
    seen = {}
    for name, argv in looks.items():
        text = subprocess.run([*outside, *argv], check=False, capture_output=True, text=True).stdout
        lines = [line for line in text.splitlines() if where.name in line]
        if lines:
            seen[name] = "\n".join(lines)
    return seen


def network(outside: list[str]) -> list[str]:
    """Return this machine's network devices and firewall tables."""
    looks = (["ip", "-brief", "link"], ["nft", "list", "tables"])
    texts = [subprocess.run([*outside, *argv], check=True, capture_output=True, text=True).stdout for argv in looks]
    return sorted(" ".join(line.split()[:3]) for text in texts for line in text.splitlines())


@pytest.mark.parametrize(
    "killed", ["process 1", *(pytest.param(what, marks=pytest.mark.long) for what in ("the daemon", "nothing"))]
)
def test_nothing_stays_whatever_was_killed(killed: str, session_lab: IncusLab, outside: list[str]) -> None:
    """A private daemon with one host: enough to make a bridge, a pool, a loop device, mounts and control groups."""
    before = network(outside)
    name = f"it-{os.getpid()}-gone"
    where = directory(name)
    where.mkdir(mode=0o711)
    (where / "logs").mkdir()
    init = daemon.start(where, where.name, {"h": "198.18.77.9"})
    built = image.ready("trixie", print)
    daemon.command(where, "image", "import", str(built / "metadata.tar"), str(built / "rootfs.tar.zst"), "--alias", "i")
    daemon.command(where, "launch", "i", "h")
    assert set(leftovers(where, outside)) == {"ps", "losetup", "control groups", "files"}
    assert network(outside) == before, "not even while it runs"
    if killed == "process 1":
        init.send(9)
    elif killed == "the daemon":
        for process in processes.marked(str(where)):
            if process.command() == "incusd":
                process.send(9)
    start = time.monotonic()
    assert stack.down(name)
    assert time.monotonic() - start < 30
    assert leftovers(where, outside) == {}
    assert network(outside) == before


def test_a_machine_that_cannot_says_why_in_one_line() -> None:
    """Without a way to make namespaces: as on a machine whose kernel or container forbids it."""
    argv = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", PYTHON, "-m", "tests.lab.incus", "up"]
    tried = subprocess.run(argv, cwd=CHECKOUT, check=False, capture_output=True, text=True, timeout=60)
    assert tried.returncode == 1
    assert tried.stderr.count("\n") == 1
    assert "It lacks mount, network and PID namespaces" in tried.stderr


def test_too_few_inotify_instances_are_a_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("8\n")
    monkeypatch.setattr(daemon, "INOTIFY", str(tmp_path / "limit"))
    (line,) = daemon.needs()
    assert line.startswith("inotify instances ("), line


def test_a_version_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(LabError, match=r"RabbitMQ 2\.0 is not among 4\.0, 3\.10"):
        stack.up("it-never", rabbitmq="2.0")
