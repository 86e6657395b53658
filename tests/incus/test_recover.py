# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks against real hosts: over ssh, under systemd."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from tests.lab import broker, processes, scenario
from tests.lab.incus.lab import IncusLab
from tests.lab.state import CHECKOUT

from .conftest import PATIENCE, Run

START = ("-e", "outage_recover_start_stopped=true")


def changed(text: str) -> int:
    """Return the sum of all hosts' ``changed`` in the recap."""
    figures = scenario.recap(text)
    assert figures, text
    return sum(host["changed"] for host in figures.values())


def test_a_broker_that_somebody_stopped_is_started_when_asked_for(incus_lab: IncusLab, run: Run) -> None:
    stop_and_recover(incus_lab, run)


def stop_and_recover(lab: IncusLab, run: Run) -> None:
    status, text = run(lab, "diagnose_rabbitmq")
    assert (status, changed(text)) == (0, 0), text
    assert "[healthy]" in text
    lab.on("rabbitmq", "systemctl", "stop", "rabbitmq-server")

    status, text = run(lab, "recover_rabbitmq")
    assert status != 0, "nobody said that it may be started"
    assert "[broker_stopped_on_purpose]" in text, text
    assert lab.on("rabbitmq", "systemctl", "is-active", "rabbitmq-server", check=False).stdout.strip() == "inactive"

    status, text = run(lab, "recover_rabbitmq", *START)
    assert status == 0, text
    assert "start_broker on rabbitmq.lxd: it serves since" in text
    assert broker.serves(lab)
    assert lab.incident_documents(), "the record lies on the monitoring host"

    status, text = run(lab, "recover_rabbitmq", *START)
    assert (status, changed(text)) == (0, 0), text


def test_a_crash_that_systemd_mends_is_told_and_accounted_for_once(incus_lab: IncusLab, run: Run) -> None:
    incus_lab.on("rabbitmq", "systemctl", "kill", "--signal=KILL", "--kill-whom=main", "rabbitmq-server")
    assert processes.wait_until(lambda: not broker.serves(incus_lab), 10)
    assert processes.wait_until(lambda: broker.serves(incus_lab), 90, 0.5), "Debian's unit starts it again"
    began = incus_lab.on("rabbitmq", "systemctl", "show", "-p", "InvocationID", "rabbitmq-server").stdout

    status, text = run(incus_lab, "recover_rabbitmq")
    assert status == 0, text
    assert "[broker_restarted]" in text, text
    again = incus_lab.on("rabbitmq", "systemctl", "show", "-p", "InvocationID", "rabbitmq-server").stdout
    assert again == began, "nobody restarts a broker that serves"

    status, text = run(incus_lab, "recover_rabbitmq")
    assert (status, changed(text)) == (0, 0), text


def test_from_a_plain_shell_outside_the_hosts_network(incus_lab: IncusLab, outside: list[str]) -> None:
    """As the README says it: no wrapper, no variable, no vault option."""
    playbook = [f"{Path(sys.executable).parent}/ansible-playbook", "playbooks/recover_rabbitmq.yml", "--check"]
    command = shlex.join([*playbook, "-i", str(incus_lab.inventory)])
    argv = [*outside, "sh", "-c", f"cd {shlex.quote(str(CHECKOUT))} && exec {command}"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[healthy]" in done.stdout
