# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role broker_restart: what it leaves alone, and how long it has the lease."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jinja2
import jinja2.nativetypes
import pytest
import yaml

from tests.unit.roles.role_files import ROOT, load


def restarting(name: str, **told: Any) -> Any:
    """Return what an expression of the role broker_restart comes to."""
    text = load("broker_restart", "vars/main.yml")[name].strip().removeprefix("{{").removesuffix("}}").strip()
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    return environment.compile_expression(text)(**told)


def seen(
    state: str, running: bool | None, last: str, clean_stop: bool | None, listening: bool | None
) -> dict[str, Any]:
    return {
        "service": {"state": state, "stopped_by": None, "since": "2026-01-31T02:03:05.000Z"},
        "process": {"running": running},
        "lifecycle": {"last": last, "clean_stop": clean_stop, "by": None, "stopped_at": None},
        "listeners": [{"port": 5672, "listening": listening}],
    }


@pytest.mark.parametrize(
    ("info", "asleep"),
    [
        pytest.param(seen("running", True, "started", None, True), False, id="serves"),
        pytest.param(seen("running", True, "none", None, None), False, id="nothing but its process is known"),
        pytest.param(seen("stopped", False, "stopped", True, False), True, id="stopped in order"),
        pytest.param(seen("failed", False, "stopped", True, False), True, id="stopped in order, its unit failed"),
        pytest.param(seen("stopped", False, "none", None, False), True, id="stopped, its log says nothing"),
        pytest.param(seen("stopped", None, "none", None, None), True, id="stopped, its process can't be seen"),
        pytest.param(seen("stopped", False, "started", False, False), False, id="crashed, by an init script"),
        pytest.param(seen("failed", False, "started", False, False), False, id="crashed"),
        pytest.param(seen("restarting", False, "starting", False, False), False, id="crashes at each boot"),
        pytest.param(seen("stopping", True, "started", None, True), True, id="is being stopped"),
        pytest.param(seen("running", True, "stopped", None, False), True, id="its application was stopped"),
        pytest.param(seen("running", True, "stopping", None, True), False, id="hangs, and listens still"),
    ],
)
def test_a_restart_starts_no_broker_that_somebody_stopped(info: dict[str, Any], asleep: bool) -> None:
    assert restarting("__broker_restart_asleep", __broker_restart_info=info) is asleep
    names = [task["name"] for task in load("broker_restart", "tasks/preflight.yml")]
    assert names.index("Refuse to start what somebody stopped") == 2, "before the broker is asked"


@pytest.mark.parametrize(
    ("stopped_by", "by", "stopped_at", "text"),
    [
        pytest.param(None, None, None, "2026-01-31T02:03:05.000Z", id="the state's age"),
        pytest.param(None, "SIGTERM", "2026-01-31T02:03:04Z", "SIGTERM, 2026-01-31T02:03:04Z", id="the log"),
        pytest.param(
            {"who": "ann", "how": "systemctl stop rabbitmq-server", "at": "2026-01-31T02:03:03Z"},
            "SIGTERM",
            "2026-01-31T02:03:04Z",
            "ann, systemctl stop rabbitmq-server, 2026-01-31T02:03:04Z",
            id="the journal",
        ),
    ],
)
def test_who_stopped_it_is_told_where_it_is_known(stopped_by: Any, by: Any, stopped_at: Any, text: str) -> None:
    info = seen("stopped", False, "stopped", True, False)
    info["service"]["stopped_by"] = stopped_by
    info["lifecycle"].update(by=by, stopped_at=stopped_at)

    assert restarting("__broker_restart_stop", __broker_restart_info=info) == text


SYSTEMCTL = """\
#!/bin/sh
case "$*" in
  *MainPID\\ --value*) echo {pid} ;;
  *Job\\ --value*) echo {job} ;;
  *) echo "$*" ;;
esac
"""


@pytest.mark.parametrize(
    ("pid", "job", "status", "said"),
    [
        pytest.param(4711, "", 0, "restart -- rabbitmq-server", id="as it was seen"),
        pytest.param(4712, "", 75, "show ", id="restarted since"),
        pytest.param(0, "", 75, "show ", id="stopped since"),
        pytest.param(4711, 99, 75, "show ", id="being restarted"),
    ],
)
def test_a_unit_is_restarted_only_as_it_was_seen(pid: int, job: Any, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(pid=pid, job=job), encoding="utf-8")
    (tmp_path / "systemctl").chmod(0o700)
    task = load("broker_restart", "tasks/restart_systemd.yml")[0]
    script = load("broker_restart", "vars/main.yml")["__broker_restart_same_or_leave"]
    argv = [*task["ansible.builtin.command"]["argv"][:2], script, "restart", "rabbitmq-server", "4711"]
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env={"PATH": path})

    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.startswith(said)


@pytest.mark.parametrize(
    ("over", "host", "released"),
    [
        pytest.param(True, "a", False, id="another node follows"),
        pytest.param(True, "b", True, id="the last one"),
        pytest.param(False, "a", True, id="it failed, so that none follows"),
    ],
)
def test_the_lease_of_a_restart_is_kept_from_the_first_node_to_the_last(over: bool, host: str, released: bool) -> None:
    [block] = load("broker_restart", "tasks/alone.yml")
    [release] = block["always"]
    told = {"__broker_restart_over": over, "inventory_hostname": host, "ansible_play_hosts_all": ["a", "b"]}

    assert jinja2.Environment().compile_expression(release["when"][1])(**told) is released
    assert block["block"][1]["veza.rabbitmq.incident"]["lease"] == "acquired", "before anything is looked at"
    play = yaml.safe_load((ROOT / "playbooks" / "restart_rabbitmq.yml").read_text(encoding="utf-8"))[0]
    assert play["tasks"][0]["ansible.builtin.import_role"]["tasks_from"] == "alone"
