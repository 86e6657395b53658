# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the fault to the report with nobody touching anything: Prometheus, Alertmanager, ansible-rulebook, playbooks."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.game_day import means, scenario_e
from tests.lab import broker, processes
from tests.lab.incus import daemon, provision
from tests.lab.incus.lab import IncusLab
from tests.lab.state import CHECKOUT

PORT = 9095
GROUP_WAIT = 10.0
"""Seconds for which Alertmanager waits, as it is shipped."""


def tell_the_rulebook(lab: IncusLab, token: str) -> None:
    """Have the lab's Alertmanager call the rulebook, as extensions/eda/README.md says."""
    configuration = yaml.safe_load(provision.monitoring(lab.name)["alertmanager.yml"])
    hook = {
        "url": f"http://{daemon.GATEWAY}:{PORT}/alerts",
        "send_resolved": True,
        "http_config": {"authorization": {"credentials": token}},
    }
    configuration["receivers"][-1]["webhook_configs"] = [hook]
    files = {"etc/prometheus/alertmanager.yml": yaml.safe_dump(configuration, sort_keys=False)}
    provision.push(lab, "monitor", files, mode=0o644)
    lab.on("monitor", "systemctl", "reload", "prometheus-alertmanager", check=True)


@contextmanager
def rulebook(lab: IncusLab, python: Path, where: Path, token: str) -> Iterator[Path]:
    """Run the rulebook against the lab's inventory, in which an operator has listed what may be done alone."""
    inventory = where / "inventory"
    shutil.copytree(lab.inventory, inventory)
    (inventory / "group_vars" / "all" / "alerts.yml").write_text("outage_alert_safe_causes: [broker_crashed]\n")
    log = where / "rulebook.log"
    variables = {"VEZA_SITE": lab.name, "VEZA_ALERT_TOKEN": token, "VEZA_ALERT_HOST": daemon.GATEWAY}
    variables["VEZA_ALERT_PORT"] = str(PORT)
    with log.open("wb") as output:
        child = subprocess.Popen(
            [
                str(python.with_name("ansible-rulebook")),
                *("--rulebook", "extensions/eda/rulebooks/rabbitmq_unreachable.yml"),
                *("--inventory", str(inventory), "--env-vars", ",".join(variables)),
            ],
            cwd=CHECKOUT,
            env={
                **os.environ,
                **variables,
                "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
                "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
                "ANSIBLE_HOME": str(where / "ansible"),
                processes.MARK: str(where),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        child.terminate()
        processes.kill_marked(str(where))
        child.wait(10)


def firing(lab: IncusLab) -> list[Any]:
    """Return the alerts that say that the broker can't be reached."""
    url = f"{lab.urls['alertmanager']}/api/v2/alerts"
    return [one for one in scenario_e.ask("GET", url) if one["labels"]["alertname"] == "RabbitMQUnreachable"]


def test_kill_the_broker_and_touch_nothing(incus_lab: IncusLab, event_driven: Path, tmp_path: Path) -> None:
    lab, token = incus_lab, secrets.token_hex(16)
    assert processes.wait_until(lambda: not firing(lab), 260, 1.0)
    tell_the_rulebook(lab, token)
    with rulebook(lab, event_driven, tmp_path, token) as log:
        # It looks once by itself as it starts: nothing is wrong yet.
        assert processes.wait_until(lambda: "[healthy]" in log.read_text(), 90, 0.5), log.read_text()
        assert lab.incident_documents() == []

        # Debian's unit would start it by itself after 10 s.
        means.drop_in(lab, "[Service]\nRestart=no\n")
        lab.on(means.BROKER, "systemctl", "kill", "-s", "KILL", "--kill-whom=main", means.UNIT, check=True)
        killed = time.monotonic()
        assert processes.wait_until(lambda: bool(firing(lab)), 120, 0.5), "the alert never fired"
        fired = time.monotonic()
        assert processes.wait_until(lambda: "[broker_crashed]" in log.read_text(), 90, 0.2), log.read_text()
        named = time.monotonic()
        assert processes.wait_until(lambda: broker.serves(lab), 180, 0.2), log.read_text()
        serving = time.monotonic()

        # The lease lies beside the reports.
        def records() -> list[dict[str, Any]]:
            return [document["record"] for document in lab.incident_documents() if "record" in document]

        assert processes.wait_until(lambda: any(not record["open"] for record in records()), 300, 1.0), log.read_text()
        (record,) = records()
        assert record["cause"] == "broker_crashed"
        assert [action["name"] for action in record["actions"]].count("start_broker") == 1
        figures = {
            "kill to alert": fired - killed,
            "alert to diagnosis": named - fired,
            "kill to serving": serving - killed,
        }
        print(json.dumps({name: round(seconds, 1) for name, seconds in figures.items()}))
        assert figures["alert to diagnosis"] < GROUP_WAIT + 10
        assert token not in log.read_text()
