# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the alert to the playbook: the lab's Alertmanager and ansible-rulebook, with nobody between."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.game_day import scenario_e
from tests.lab import processes
from tests.lab.state import CHECKOUT, LabError
from tests.tools import environments

from . import daemon, provision
from .lab import IncusLab

PORT = 9095
CALM = 25.0
"""Seconds from a scrape in vain to an alert that is pending."""
RESOLVED = 300.0
"""Seconds within which an alert is over whose cause has gone."""


def python() -> Path:
    """Return the Python of an environment with ansible-rulebook; made where it is missing, which needs PyPI."""
    place = CHECKOUT / ".nox" / "veza" / "rulebook"
    packages = CHECKOUT / "tests" / "tools" / "ansible-rulebook.txt"
    return environments.create(place, Path(sys.executable), ["-r", str(packages)])


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
def rulebook(lab: IncusLab, python: Path, where: Path, token: str, restarts: int = 1) -> Iterator[Path]:
    """Run the rulebook against the lab's inventory, in which an operator has listed what may be done alone.

    ``restarts``: how many starts of the broker within an hour. Yields the file that it writes its output to.
    """
    inventory = where / "inventory"
    shutil.copytree(lab.inventory, inventory)
    settings = f"outage_alert_safe_causes: [broker_crashed]\noutage_alert_restarts: {restarts}\n"
    (inventory / "group_vars" / "all" / "alerts.yml").write_text(settings)
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
    return [one for one in scenario_e.ask("GET", f"{lab.urls['alertmanager']}/api/v2/alerts") if _is_ours(one)]


def await_quiet(lab: IncusLab) -> None:
    """Wait until the alert of an outage before is over, and none is on its way for a reset that came after it."""
    calm = time.monotonic()

    def is_quiet() -> bool:
        nonlocal calm
        watched = scenario_e.ask("GET", f"{lab.urls['prometheus_server']}/api/v1/alerts")["data"]["alerts"]
        if firing(lab) or any(_is_ours(one) for one in watched):
            calm = time.monotonic()
        return time.monotonic() - calm > CALM

    if not processes.wait_until(is_quiet, RESOLVED, 1.0):
        raise LabError(f"the alert goes on for {RESOLVED:g} s")


def _is_ours(alert: dict[str, Any]) -> bool:
    return bool(alert["labels"]["alertname"] == "RabbitMQUnreachable")
