# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module dmca_flush against the stand-in's API instances, each with its own cache."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import VezaError
from ansible_collections.veza.rabbitmq.plugins.modules import dmca_flush
from tests.lab.scenario import Playbook
from tests.lab.state import Lab

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")


class Takedown:
    """A track that every instance has cached as playable, and that was then taken down with the event lost."""

    def __init__(self, lab: Lab) -> None:
        self.urls: dict[str, str] = lab.urls["backends"]
        answer = requests.post(f"{self.urls['backend-1']}/api/v1/tracks", json={"title": "infringing"}, timeout=30)
        self.track = int(answer.json()["id"])
        assert set(self.statuses().values()) == {200}
        connection = psycopg2.connect(lab.urls["database"])
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE tracks SET dmca_blocked = true WHERE id = %s", (self.track,))
        connection.close()
        assert set(self.statuses().values()) == {200}, "the caches are not stale: nothing can be shown"

    def statuses(self) -> dict[str, int]:
        """Return what each instance answers to whoever plays the track."""
        return {
            name: requests.get(f"{url}/api/v1/tracks/{self.track}", timeout=30).status_code
            for name, url in self.urls.items()
        }


@pytest.fixture
def takedown(lab: Lab) -> Takedown:
    return Takedown(lab)


def flush(lab: Lab, backend: str = "backend-1", *, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in dmca_flush.argument_spec().items()}
    token = lab.credentials["api_admin_token"]
    params = {**defaults, "api_url": lab.urls["backends"][backend], "token": token, **given}
    return dmca_flush.run(params, check_mode=check_mode)


def test_a_flush_serves_one_instance_and_may_be_repeated(lab: Lab, takedown: Takedown) -> None:
    predicted = flush(lab, check_mode=True)
    assert takedown.statuses() == {"backend-1": 200, "backend-2": 200}

    result = flush(lab, proof="type(flushed) == 'number' && instance == 'backend-1'")
    assert takedown.statuses() == {"backend-1": 451, "backend-2": 200}
    assert (predicted["changed"], result["changed"], result["proved"]) == (True, True, True)

    again = flush(lab)
    assert (again["changed"], again["flushed"]) == (True, True)
    assert flush(lab, "backend-2")["flushed"]
    assert takedown.statuses() == {"backend-1": 451, "backend-2": 451}


def test_exactly_zero_skips(lab: Lab, takedown: Takedown) -> None:
    assert flush(lab, dropped=0)["skipped_flush"]
    assert set(takedown.statuses().values()) == {200}
    assert flush(lab, dropped=None)["flushed"]
    assert takedown.statuses()["backend-1"] == 451


def test_a_wrong_token_flushes_nothing(lab: Lab, takedown: Takedown) -> None:
    with pytest.raises(VezaError, match="401: the token is wrong or has expired") as caught:
        flush(lab, token="not-the-token")

    assert "not-the-token" not in json.dumps(caught.value.fail_json_arguments())
    assert set(takedown.statuses().values()) == {200}


def play(lab: Lab, tmp_path: Path, *options: str, **given: Any) -> tuple[dict[str, Any], str]:
    """Run the module by its full name on the lab's inventory; return its result and all that was printed."""
    saved = tmp_path / "result.json"
    call = {"api_url": "{{ veza_api_url }}", "token": "{{ veza_api_admin_token }}", **given}
    tasks = [
        {"veza.rabbitmq.dmca_flush": call, "register": "result", "ignore_errors": True},
        {
            "ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(saved), "mode": "0600"},
            "check_mode": False,
        },
    ]
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "backend-2", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [PLAYBOOK, "-i", str(lab.inventory), str(playbook), *options],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(saved.read_text()), done.stdout + done.stderr


def test_under_ansible(lab: Lab, takedown: Takedown, tmp_path: Path) -> None:
    predicted, _unused = play(lab, tmp_path, "--check")
    assert takedown.statuses() == {"backend-1": 200, "backend-2": 200}

    result, shown = play(lab, tmp_path, "-vvvv", dropped="{{ none }}")
    assert takedown.statuses() == {"backend-1": 200, "backend-2": 451}
    assert (predicted["changed"], predicted["flushed"]) == (True, False)
    assert (result["changed"], result["flushed"], result["attempts"]) == (True, True, 1)
    assert lab.credentials["api_admin_token"] not in shown + json.dumps(result)


def test_a_failure_under_ansible_shows_no_token(lab: Lab, tmp_path: Path) -> None:
    result, shown = play(lab, tmp_path, "-vvvv", path="/api/v1/no/such/thing")

    assert result["failed"]
    assert (result["changed"], result["flushed"], result["status"]) == (False, False, 404)
    assert "this API has no such endpoint" in result["msg"]
    assert lab.credentials["api_admin_token"] not in shown + json.dumps(result)


def test_an_audit_whose_flush_fails_says_so_where_no_takedown_is_known(lab: Lab, tmp_path: Path) -> None:
    """Without a takedown in the window there is nothing to list, and a cache that may lack one all the same."""

    def audit(*arguments: str) -> tuple[int, str]:
        log, given = tmp_path / "audit.log", ["-e", f"veza_incident_dir={tmp_path}/incidents"]
        status = Playbook(lab, "audit_rabbitmq", *given, *arguments, log=log).start().wait(240)
        return status, log.read_text()

    start, end = (f"{datetime.now(UTC) - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}" for ago in (3, 2))
    window = ["-e", f"outage_audit_start={start}", "-e", f"outage_audit_end={end}"]
    status, said = audit(*window, "-e", "veza_api_admin_token=of-nobody")
    assert status == 2, said
    assert "nothing for a human to do" not in said
    assert re.search(r"^LEFT +The DMCA cache of backend-1 was not flushed: POST \S+: 401", said, re.MULTILINE), said
    assert re.search(r"\[ERROR\].*DMCA cache of backend-[12] not flushed: POST \S+: 401", said), said
    command = re.search(r"this flushes it: ansible-playbook veza.rabbitmq.audit_rabbitmq -e (\S+)", said)
    assert command is not None, said
    status, said = audit("-e", command[1])
    assert (status, "was not flushed" in said) == (0, False), said
