# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With an engine that is a script: it keeps its containers in a file, and makes them anew as compose does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, Refused, VezaError
from ansible_collections.veza.rabbitmq.plugins.modules import compose_environment as module

OLD, NEW = "old-planted", "n@w-planted"
URL = "amqp://veza:{}@rabbitmq.lxd:5672/%2Fveza"

ENGINE = """
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
state = json.load(open(here + "/state.json"))
words = sys.argv[1:]
with open(here + "/calls", "a") as calls:
    calls.write(" ".join(words) + "\\n")
if words[0] == "ps":
    print("\\n".join(one["Id"] for one in state))
elif words[:2] == ["container", "inspect"]:
    print(json.dumps([one for one in state if one["Id"] in words]))
elif words[0] == "logs":
    print("log of", words[2])
elif words[0] == "image":
    print(open(here + "/image").read())
elif "up" in words:
    if os.path.exists(here + "/broken"):
        sys.exit("no space left on device, password=" + "old-planted")
    for one in state:
        if one["Config"]["Labels"]["com.docker.compose.service"] == words[-1]:
            one["Id"] += "1"
            lines = open(here + "/.env").read().splitlines()
            one["Config"]["Env"] = [line.replace("'", "") for line in lines if not os.path.exists(here + "/deaf")]
    json.dump(state, open(here + "/state.json", "w"))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A host with two workers, all of whose containers hold the old password."""
    containers = [
        {
            "Id": service, "Name": f"/veza-{service}-1", "Image": "sha256:1",
            "State": {"Status": "running", "Pid": 1, "StartedAt": "2026-11-24T08:54:27Z"},
            "Config": {
                "Image": "veza/app:1", "Env": [f"AMQP_URL={URL.format(OLD)}", "LEVEL=warn"],
                "Labels": {
                    "com.docker.compose.service": service, "com.docker.compose.project": "veza",
                    "com.docker.compose.project.working_dir": str(tmp_path),
                    "com.docker.compose.project.config_files": f"{tmp_path}/docker-compose.prod.yml",
                },
            },
        }
        for service in ("worker-dmca", "worker-search")
    ]  # fmt: skip
    (tmp_path / "state.json").write_text(json.dumps(containers))
    (tmp_path / "image").write_text("sha256:1")
    (tmp_path / ".env").write_text(f"# Veza\nAMQP_URL='{URL.format(OLD)}'\nLEVEL=warn\n")
    (tmp_path / ".env").chmod(0o640)
    (tmp_path / "docker.py").write_text(ENGINE)
    (tmp_path / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/docker.py "$@"\n')
    (tmp_path / "docker").chmod(0o700)
    return tmp_path


def harmless(result: dict[str, Any]) -> dict[str, Any]:
    assert "planted" not in json.dumps(result)
    return result


@pytest.fixture
def run(place: Path, params_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Run the module's work there; whatever comes of it must hold no secret."""
    engine = {"container_command": f"{place}/docker", "compose_command": [f"{place}/docker", "compose"]}
    rotate = {"services": ["worker-dmca", "worker-search"], "variable": "AMQP_URL", "password": NEW}

    def go(check_mode: bool = False, **changes: Any) -> dict[str, Any]:
        given = {name: value for name, value in {**engine, **rotate, **changes}.items() if value is not None}
        try:
            result = module.run(params_of(module.argument_spec(), **given), check_mode)
        except VezaError as error:
            harmless(error.fail_json_arguments())
            raise
        return harmless(result)

    return go


def calls(place: Path) -> list[str]:
    return [line for line in (place / "calls").read_text().splitlines() if "compose" in line]


def test_the_password_is_rotated_once(run: Callable[..., dict[str, Any]], place: Path) -> None:
    predicted = run(check_mode=True, recreate=True)
    assert OLD in (place / ".env").read_text()
    done = run(recreate=True)
    for key in ("changed", "diff"):
        assert predicted[key] == done[key]
    assert [one["recreated"] for one in predicted["containers"]] == [one["recreated"] for one in done["containers"]]
    assert done["changed"]
    assert "veza-worker-dmca-1 was recreated" in done["message"]
    text = (place / ".env").read_text()
    assert text == f"# Veza\nAMQP_URL='{URL.format('n%40w-planted')}'\nLEVEL=warn\n"
    assert (place / ".env").stat().st_mode & 0o777 == 0o640
    backup = Path(done["files"][0]["backup"])
    assert OLD in backup.read_text()
    assert backup.stat().st_mode & 0o777 == 0o640
    up = f"--project-name veza --project-directory {place} --file {place}/docker-compose.prod.yml up --detach"
    assert calls(place) == [f"compose {up} --no-deps --no-build {name}" for name in ("worker-dmca", "worker-search")]
    assert NEW not in "".join(calls(place))


@pytest.mark.parametrize("change", [{"state": "absent"}, {"value": "amqp://rabbitmq.lxd:5672/%2Fveza"}])
def test_a_secret_that_goes_is_not_shown(
    run: Callable[..., dict[str, Any]], place: Path, change: dict[str, str]
) -> None:
    done = run(password=None, **change)  # which sees that there is none in it
    assert done["changed"]
    assert done["files"][0]["before"].startswith("password ")
    assert OLD not in (place / ".env").read_text()


def test_a_backup_overwrites_nothing(
    run: Callable[..., dict[str, Any]], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "strftime", lambda *_unused: "now")
    (place / "shadow").write_text("root")
    (place / ".env.now~").symlink_to(place / "shadow")
    done = run()
    assert (place / "shadow").read_text() == "root"
    assert done["files"][0]["backup"] == f"{place}/.env.now.1~"
    assert OLD in (place / ".env.now.1~").read_text()


def test_a_second_run_changes_nothing(run: Callable[..., dict[str, Any]], place: Path) -> None:
    run(recreate=True)
    (place / "calls").unlink()
    again = run(recreate=True)
    assert not again["changed"]
    assert again["diff"] == []
    assert all(one["held"] and not one["recreated"] for one in again["containers"])
    assert calls(place) == []
    assert len(list(place.glob(".env*~"))) == 1


def test_a_run_that_was_interrupted_after_the_file_is_finished(run: Callable[..., dict[str, Any]], place: Path) -> None:
    assert run()["changed"]
    done = run(recreate=True)
    assert not done["files"][0]["changed"]
    assert [one["recreated"] for one in done["containers"]] == [True, True]


def test_without_recreate_only_the_file_changes(run: Callable[..., dict[str, Any]], place: Path) -> None:
    done = run()
    assert "takes it when recreated" in done["message"]
    assert calls(place) == []


def test_the_log_of_a_container_outlives_it(run: Callable[..., dict[str, Any]], place: Path) -> None:
    assert run(check_mode=True, recreate=True, keep_logs=f"{place}/logs")["containers"][0]["log"] is None
    assert not (place / "logs").exists()
    first = run(recreate=True, keep_logs=f"{place}/logs")["containers"][0]["log"]
    assert first == f"{place}/logs/veza-worker-dmca-1-20261124085427000-worker-dmca.log"
    assert Path(first).read_text() == "log of veza-worker-dmca-1\n"
    assert Path(first).stat().st_mode & 0o777 == 0o600
    with pytest.raises(VezaError, match="can't be kept there"):
        run(recreate=True, password="third-planted", keep_logs=f"{place}/.env/logs")


def test_another_image_is_not_deployed(run: Callable[..., dict[str, Any]], place: Path) -> None:
    (place / "image").write_text("sha256:2")
    for check_mode in (True, False):
        with pytest.raises(Refused, match="a recreate would be a deployment"):
            run(check_mode=check_mode, recreate=True)
    assert calls(place) == []


def test_a_compose_file_that_does_not_take_the_variable_is_said(
    run: Callable[..., dict[str, Any]], place: Path
) -> None:
    (place / "deaf").touch()
    with pytest.raises(VezaError, match="still does not hold the value"):
        run(recreate=True)


def test_a_failure_of_compose_says_what_happened(run: Callable[..., dict[str, Any]], place: Path) -> None:
    (place / "broken").touch()
    with pytest.raises(VezaError, match="exit code 1: no space left on device") as failed:
        run(recreate=True)
    assert failed.value.details["files"][0]["changed"]
    assert failed.value.details["changed"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X=1\n", "it has no AMQP_URL"),
        (f"AMQP_URL={URL.format(OLD).replace('veza:', 'other:')}\n", "logs in as 'other'"),
        ("AMQP_URL=amqp://veza:${P}@h/\n", "comes from another variable"),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(
    run: Callable[..., dict[str, Any]], place: Path, text: str, said: str
) -> None:
    (place / ".env").write_text(text)
    with pytest.raises(Refused, match=said):
        run()
    assert (place / ".env").read_text() == text


def test_a_link_stays_one(run: Callable[..., dict[str, Any]], place: Path) -> None:
    os.replace(place / ".env", place / "real")
    (place / ".env").symlink_to(place / "real")
    assert run()["files"][0]["path"] == str(place / "real")
    assert (place / ".env").is_symlink()


def test_a_level_is_set_and_taken_back(run: Callable[..., dict[str, Any]], place: Path) -> None:
    level = {"variable": "LEVEL", "password": None}
    done = run(**level, value="error")
    assert (done["files"][0]["before"], done["files"][0]["after"]) == ("warn", "error")
    assert done["diff"][0]["after"] == "LEVEL: error\n"
    assert not run(**level, value="error")["changed"]
    assert run(**level, state="absent")["changed"]
    assert "LEVEL" not in (place / ".env").read_text()
    assert not run(**level, state="absent")["changed"]


def test_a_default_of_the_compose_file_is_no_reason_to_restart_again(
    run: Callable[..., dict[str, Any]], place: Path
) -> None:
    """LEVEL=${LEVEL:-warn}: a container always has one."""
    engine, kept = (place / "docker.py").read_text(), "    json.dump(state, open"
    default = "            one['Config']['Env'] += ['LEVEL=warn'] if 'LEVEL=' not in ' '.join(lines) else []\n"
    (place / "docker.py").write_text(engine.replace(kept, default + kept))
    (place / ".env").write_text("A=1\n")
    level = {"services": ["worker-dmca"], "variable": "LEVEL", "password": None, "recreate": True}
    run(**level, value="error")
    back = run(**level, state="absent", absent_value="warn")
    assert [one["recreated"] for one in back["containers"]] == [True]
    again = run(**level, state="absent", absent_value="warn")
    assert not again["changed"]
    assert again["containers"][0]["held"]
    assert len(calls(place)) == 2
    with pytest.raises(VezaError, match="still does not hold"):
        run(**level, state="absent", absent_value="info")


def test_what_else_a_recreate_would_bring_is_named(run: Callable[..., dict[str, Any]], place: Path) -> None:
    (place / ".env").write_text(f"AMQP_URL={URL.format(OLD)}\nLEVEL=error\n")
    assert [one["also"] for one in run(check_mode=True)["containers"]] == [["LEVEL"], ["LEVEL"]]


@pytest.mark.parametrize(
    "changes", [{"value": "x"}, {"password": None}, {"password": ""}, {"state": "absent"}, {"services": []}]
)
def test_parameters_that_make_no_sense_are_refused(run: Callable[..., dict[str, Any]], changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        run(**changes)


def test_a_container_that_is_missing_and_an_engine_that_is_silent(run: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(Refused, match="no container worker-x"):
        run(services=["worker-x"])
    with pytest.raises(VezaError, match="engine does not answer"):
        run(container_command="false")


def test_main_ends_once(run_main: Callable[..., Any], place: Path) -> None:
    engine = {"container_command": f"{place}/docker", "services": ["worker-dmca"], "variable": "LEVEL"}
    assert not run_main(module, value="error", **engine).failed
    assert run_main(module, **engine).failed
