# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnosis on real hosts: it changes nothing, it sees out of containers, and it names what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.game_day import means
from tests.game_day.accuracy import HEALTHY
from tests.game_day.fault import catalogue
from tests.game_day.ground import LabGround
from tests.game_day.run import Run
from tests.lab.incus.lab import IncusLab
from tests.lab.scenario import Playbook

STATE = """
systemctl list-units --all --no-legend --plain --type=service --state=active,failed | awk '{print $1, $3, $4}' | sort
find /etc /opt /var/lib/rabbitmq/mnesia -xdev -type f -name '[a-zA-Z]*' ! -path '*/rabbit@*/*' 2>/dev/null |
    sort | xargs -r sha256sum
command -v docker >/dev/null && docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.State}} {{.CreatedAt}}' || true
"""
"""What a look must leave as it is: units, files, containers."""

SESSIONS = ("ssh@", "sshd@", "session-", "user@", "user-runtime-dir@", "systemd-timedated", "systemd-hostnamed")
"""Units that come and go with whoever logs in."""

NAMED = ("dns_of_one_backend", "wedged_worker", "rotated_password", "bad_config")
"""A few of the catalogue, each seen from another place: name resolution, processes, containers, logs."""


def state(lab: IncusLab) -> dict[str, list[str]]:
    """Return how the hosts are."""
    every = {host: lab.on(host, "sh", "-c", STATE, check=True, timeout=60).stdout.splitlines() for host in lab.hosts}
    return {host: [line for line in lines if not line.startswith(SESSIONS)] for host, lines in every.items()}


def complaints(lab: IncusLab) -> int:
    """Return how many warnings and errors stand in the broker's log."""
    script = "cat /var/log/rabbitmq/rabbit@*.log | grep -cE '\\[(warning|error)\\]' || true"
    return int(lab.on("rabbitmq", "sh", "-c", script, check=True, timeout=30).stdout)


@pytest.fixture
def verdict(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Diagnose, and return the verdict that the file has."""

    def diagnose(lab: IncusLab, *arguments: str) -> dict[str, Any]:
        file = tmp_path / "verdict.json"
        playbook = Playbook(lab, "diagnose_rabbitmq", "-e", f"outage_diagnose_file={file}", *arguments,
                            log=tmp_path / "log")  # fmt: skip
        assert playbook.start().wait(120) == 0, playbook.text()
        document: dict[str, Any] = json.loads(file.read_text())
        return document

    return diagnose


def test_a_look_changes_nothing_and_leaves_no_warning(incus_lab: IncusLab, verdict: Any) -> None:
    means.until(lambda: len(means.api(incus_lab, "GET", "/api/connections")) >= 6, 30)
    means.until(lambda: sum(queue["consumers"] for queue in means.api(incus_lab, "GET", "/api/queues")) >= 4, 30)
    before, said = state(incus_lab), complaints(incus_lab)
    connections = len(means.api(incus_lab, "GET", "/api/connections"))
    assert verdict(incus_lab)["cause"] == "healthy"
    assert state(incus_lab) == before
    assert complaints(incus_lab) == said
    # The list of connections is a sample of some seconds.
    assert means.until(lambda: len(means.api(incus_lab, "GET", "/api/connections")) == connections, 15)


def test_no_secret_is_printed_or_written(session_lab: IncusLab, verdict: Any, tmp_path: Path) -> None:
    text = json.dumps(verdict(session_lab, "-vvvv")) + (tmp_path / "log").read_text()
    assert not [name for name, secret in secrets(session_lab).items() if secret in text]


def secrets(lab: IncusLab) -> dict[str, str]:
    """Return the lab's passwords and tokens by name."""
    flat = {}
    for name, value in lab.credentials.items():
        flat[name] = value if isinstance(value, str) else value["password"]
    return flat


def test_an_operators_own_cause_is_named(session_lab: IncusLab, verdict: Any) -> None:
    own = {"busy": {"title": "Busy", "when": "health.traffic.connections.total > `1`", "advice": "Wait."}}
    found = verdict(session_lab, "-e", json.dumps({"outage_diagnose_own_causes": own}))
    assert "busy" in [found["cause"], *(other["cause"] for other in found["also"])]


@pytest.mark.parametrize(
    "name", [HEALTHY.name, *NAMED[:2], *(pytest.param(name, marks=pytest.mark.long) for name in NAMED[2:])]
)
def test_a_fault_is_named(session_lab: IncusLab, name: str, tmp_path: Path) -> None:
    fault = {HEALTHY.name: HEALTHY, **catalogue()}[name]
    row = Run(LabGround(session_lab, session_lab.data["rabbitmq"], tmp_path), fault, seed=7).name()
    assert not row.invalid, row.invalid
    assert row.right, (row.cause, row.also)
    assert not row.forbidden, row.forbidden
