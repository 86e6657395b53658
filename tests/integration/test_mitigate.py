# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""mitigate_rabbitmq where the API can be told its level without a restart: predicted, done once, taken back."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.lab import apps, broker
from tests.lab.scenario import Playbook
from tests.lab.stack import Lab
from tests.lab.veza.api import LEVEL


def levels(lab: Lab) -> set[str]:
    """Return the levels that the API instances say they have."""
    headers = {"Authorization": f"Bearer {lab.credentials['api_admin_token']}"}
    found = set()
    for url in lab.urls["backends"].values():
        with urllib.request.urlopen(urllib.request.Request(url + LEVEL, headers=headers), timeout=5) as answer:
            found.add(json.load(answer)["level"])
    return found


@pytest.fixture
def mitigate(lab: Lab, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run the playbook with an incident directory of its own; return what it printed and how much it changed."""

    def run(*arguments: str) -> tuple[str, int]:
        log = tmp_path / f"{len(list(tmp_path.glob('*.log')))}.log"
        given = ["-e", f"veza_api_level_path={LEVEL}", "-e", f"veza_incident_dir={tmp_path}/incidents", *arguments]
        assert Playbook(lab, "mitigate_rabbitmq", *given, log=log).start().wait(240) == 0, log.read_text()
        said = log.read_text()
        return said, sum(int(count) for count in re.findall(r"changed=(\d+)", said))

    return run


def test_raised_without_a_restart_recorded_and_taken_back(lab: Lab, mitigate, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    normal = lab.options.log_level
    said, _changed = mitigate("--check")
    assert "nothing of this is recorded" in said
    broker.kill(lab)
    try:
        raise_and_take_back(lab, mitigate, tmp_path, normal)
    finally:
        broker.start(lab)
        apps.wait(lab)  # as it was found: an upload of the next test must not be dropped


def raise_and_take_back(lab: Lab, mitigate, tmp_path: Path, normal: str) -> None:  # type: ignore[no-untyped-def]
    pids = {name: apps.health(lab, name)["pid"] for name in apps.backends(lab)}
    said, changed = mitigate("--check")
    assert f"would change from {normal} to error" in said
    assert (changed > 0, levels(lab)) == (True, {normal})
    said, changed = mitigate()
    assert f"changed from {normal} to error" in said
    assert (changed > 0, levels(lab)) == (True, {"error"})
    _said, changed = mitigate()
    assert (changed, levels(lab)) == (0, {"error"})
    mitigate("-e", "outage_mitigate_state=reverted")
    assert levels(lab) == {normal}
    _said, changed = mitigate("-e", "outage_mitigate_state=reverted")
    assert changed == 0
    assert pids == {name: apps.health(lab, name)["pid"] for name in apps.backends(lab)}
    (record,) = (tmp_path / "incidents").glob("*/*.jsonl")
    events = [json.loads(line) for line in record.read_text().splitlines()]
    told = [(one["data"]["instance"], one["data"]["level"]) for one in events if one["type"] == "level"]
    names = apps.backends(lab)
    assert told == [*((name, "error") for name in names), *((name, normal) for name in names)]
