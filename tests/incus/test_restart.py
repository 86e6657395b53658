# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restart playbook against real hosts: one at a time, and never of a broker that somebody stopped."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab import broker
from tests.lab.incus.lab import IncusLab
from tests.lab.scenario import Playbook

from .conftest import PATIENCE, Run

UNIT = "rabbitmq-server"
DIRECTORY = "/var/lib/veza/incidents"


def steps(lab: IncusLab) -> list[str]:
    """Return what systemd has done to the unit since the lab was brought up, as its journal tells."""
    told = lab.on("rabbitmq", "journalctl", "--boot", "--unit", UNIT, "--output=cat").stdout.splitlines()
    return [line.split()[0] for line in told if line.split()[:1] in (["Starting"], ["Started"], ["Stopping"])]


@pytest.mark.parametrize(
    ("directory", "gap", "why"),
    [
        (DIRECTORY, 3, "is at work here since"),
        # Without a common lease: the second one has seen a broker that ran when the first one restarts it.
        ("/var/lib/veza/elsewhere", 0, "somebody else is at it"),
    ],
)
def test_of_two_restarts_at_once_one_acts(
    directory: str, gap: float, why: str, incus_lab: IncusLab, tmp_path: Path
) -> None:
    before = len(steps(incus_lab))
    first = Playbook(incus_lab, "restart_rabbitmq", log=tmp_path / "first").start()
    time.sleep(gap)
    elsewhere = ("-e", f"veza_incident_dir={directory}")
    second = Playbook(incus_lab, "restart_rabbitmq", *elsewhere, log=tmp_path / "second").start()
    statuses = [first.wait(PATIENCE), second.wait(PATIENCE)]

    said = first.text() + second.text()
    assert sorted(status == 0 for status in statuses) == [False, True], said
    refusal = (first if statuses[0] else second).text()
    assert why in " ".join(refusal.split()), refusal
    assert steps(incus_lab)[before:] == ["Stopping", "Starting", "Started"], "one restart, of a broker that runs"
    assert broker.serves(incus_lab)
    leases = incus_lab.on("monitor", "sh", "-c", f"cat {DIRECTORY}/*/lease.json {directory}/*/lease.json").stdout
    assert leases.count('"holder":null') == 2, "given back, also by the one that was refused"


def test_a_broker_that_somebody_stopped_is_not_started_by_a_restart(incus_lab: IncusLab, run: Run) -> None:
    incus_lab.on("rabbitmq", "systemctl", "stop", UNIT)
    before = steps(incus_lab)

    for mode in (("--check",), ()):
        status, text = run(incus_lab, "restart_rabbitmq", *mode)
        assert status != 0, text
        said = " ".join(text.split())
        assert "Not restarted, and not started: on rabbitmq.lxd somebody stopped the broker" in said, text
        assert "veza.rabbitmq.recover_rabbitmq -e outage_recover_start_stopped=true" in said, text
        assert incus_lab.on("rabbitmq", "systemctl", "is-active", UNIT, check=False).stdout.strip() == "inactive"
    assert steps(incus_lab) == before
    assert '"holder":null' in incus_lab.on("monitor", "sh", "-c", f"cat {DIRECTORY}/*/lease.json").stdout
