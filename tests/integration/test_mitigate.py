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


ENGINE = """#!/bin/sh
case "$1" in
ps) echo 0123456789abcdef ;;
*) cat "{document}" ;;
esac
"""

OWN = "# ours\nA=1\nEVENTBUS_DEGRADED_LOG_LEVEL='warn'\nB=2\n"
NONE = "# ours\nA=1\nB=2\n"


@pytest.fixture
def deployed(mitigate, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run the playbook where the API is a container that a compose file has made; give its environment file too."""
    document, engine, env_file = (tmp_path / name for name in ("containers.json", "engine", ".env"))
    labels = {"com.docker.compose.service": "api", "com.docker.compose.project.working_dir": str(tmp_path)}
    config = {"Labels": labels, "Image": "api", "Env": ["EVENTBUS_DEGRADED_LOG_LEVEL=warn"]}
    document.write_text(json.dumps([{"Name": "/veza_backend_api", "Id": "0123456789abcdef", "Config": config}]))
    engine.write_text(ENGINE.format(document=document))
    engine.chmod(0o755)
    given = {"veza_backend_container": "veza_backend_api", "veza_container_command": str(engine)}
    given["veza_api_level_path"] = ""

    def run(*arguments: str) -> tuple[str, int]:
        return mitigate("-e", json.dumps(given), *arguments)

    return run, env_file


@pytest.mark.parametrize("text", [OWN, NONE])
def test_what_was_never_raised_is_left_as_it_is(deployed, text: str) -> None:  # type: ignore[no-untyped-def]
    run, env_file = deployed
    env_file.write_text(text)
    for mode in ("--check", "--diff"):
        said, changed = run(mode, "-e", "outage_mitigate_state=reverted")
        assert "was left as it is, with" in said
        assert (changed, env_file.read_text()) == (0, text)


@pytest.mark.parametrize("text", [OWN, NONE])
def test_what_was_prepared_without_an_incident_is_taken_back(deployed, tmp_path: Path, text: str) -> None:  # type: ignore[no-untyped-def]
    run, env_file = deployed
    env_file.write_text(text)
    _said, changed = run("--check")
    assert (changed > 0, env_file.read_text()) == (True, text)
    run()
    prepared = env_file.read_text()
    assert re.search(r"^EVENTBUS_DEGRADED_LOG_LEVEL='?error'?$", prepared, re.MULTILINE)
    _said, changed = run()
    assert changed == 0
    _said, changed = run("--check", "-e", "outage_mitigate_state=reverted")
    assert (changed > 0, env_file.read_text()) == (True, prepared)
    run("-e", "outage_mitigate_state=reverted")
    assert env_file.read_text() == text
    said, changed = run("-e", "outage_mitigate_state=reverted")
    assert (changed, env_file.read_text()) == (0, text)
    assert "was left as it is, with" in said
    assert list((tmp_path / "incidents").glob("*/*.jsonl")) == []


def test_a_level_that_was_deployed_since_stays(deployed) -> None:  # type: ignore[no-untyped-def]
    run, env_file = deployed
    env_file.write_text(OWN)
    run()
    env_file.write_text(OWN.replace("warn", "info"))
    said, _changed = run("-e", "outage_mitigate_state=reverted")
    assert "EVENTBUS_DEGRADED_LOG_LEVEL=info" in said
    assert env_file.read_text() == OWN.replace("warn", "info")


@pytest.mark.parametrize("level", ["", "banana"])
def test_a_level_that_is_none_is_refused_before_any_host_is_touched(lab: Lab, tmp_path: Path, level: str) -> None:
    given = ["-e", f"veza_api_level_path={LEVEL}", "-e", f"veza_incident_dir={tmp_path}/incidents"]
    arguments = [*given, "-e", f"outage_mitigate_level='{level}'"]
    log = tmp_path / "refused.log"
    assert Playbook(lab, "mitigate_rabbitmq", *arguments, log=log).start().wait(240) == 2
    said = " ".join(log.read_text().split())
    assert f"value of outage_mitigate_level must be one of: debug, info, warn, error, got: {level}" in said
    assert (levels(lab), (tmp_path / "incidents").exists()) == ({lab.options.log_level}, False)
