# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils import _amqp_options, _containers
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.modules import app_host_info as module

SECRET = "hunter2-planted"

DOCUMENTS = [
    {
        "Id": "a" * 64, "Name": "/veza_backend_api", "Created": "2026-11-24T08:54:25Z", "LogPath": "",
        "State": {"Status": "exited", "Pid": 0, "ExitCode": 1, "StartedAt": "2026-11-24T08:54:27Z"},
        "Config": {
            "Image": "veza/app:1", "Env": [f"AMQP_URL=amqp://veza:{SECRET}@h/%2Fveza"],
            "Labels": {_containers.SERVICE: "api", _containers.DIRECTORY: "/opt/veza"},
        },
    }
]  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> str:
    """A container engine that knows these containers."""
    answer = tmp_path / "inspected.json"
    answer.write_text(json.dumps(DOCUMENTS))
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\ncase "$1" in ps) echo {"a" * 64};; container) cat {answer};; esac\n')
    program.chmod(0o700)
    return str(program)


def look(**params: Any) -> dict[str, Any]:
    known = {name: entry.get("default") for name, entry in module.argument_spec().items()}
    return module.run({**known, **params})


def test_a_container_that_has_ended_and_one_that_is_missing(engine: str) -> None:
    found = look(container_command=engine, containers=["veza_backend_api", "other"], services=["worker-dmca"])
    assert [one["state"] for one in found["containers"]] == ["exited", "missing", "missing"]
    assert found["docker"] == {"ok": True, "detail": ""}
    assert found["containers"][0]["amqp"]["user"] == "veza"
    assert found["probe"] is None
    assert "0 of 3 containers run; veza_backend_api is exited" in found["message"]
    assert SECRET not in json.dumps(found)


def test_a_host_without_an_engine_and_one_whose_engine_is_ill(tmp_path: Path) -> None:
    without = look(container_command=str(tmp_path / "none"), containers=["a"])
    assert (without["docker"]["ok"], without["containers"]) == (None, [])
    ill = look(container_command="false", containers=["a"])
    assert ill["docker"]["ok"] is False
    assert any("The containers" in sentence for sentence in ill["unknown"])


def test_the_hosts_own_probe_and_its_clock() -> None:
    defaults = {name: spec.get("default") for name, spec in _amqp_options.probe_option()["options"].items()}
    target = {**defaults, "login_host": "127.0.0.1", "login_port": 1, "timeout": 1.0}
    found = look(probe=target, reference="2020-01-01T00:00:00Z")
    assert found["probe"]["outcome"] == "refused"
    assert found["clock"]["offset"] > 0


@pytest.mark.parametrize("params", [{"timeout": 0.0}, {"reference": "soon"}])
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        look(**params)


def documented(entries: dict[str, Any]) -> dict[str, Any]:
    return {name: documented(entry["contains"]) if entry.get("contains") else None for name, entry in entries.items()}


def test_the_documentation_has_every_key_and_option(engine: str) -> None:
    found = look(container_command=engine, containers=["veza_backend_api"])
    returned = documented(yaml.safe_load(module.RETURN))
    assert set(returned) | {"changed"} == set(found)
    assert set(returned["containers"]) == set(found["containers"][0])
    assert set(returned["containers"]["amqp"]) == set(found["containers"][0]["amqp"])
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    spec = module.argument_spec()
    assert {name: entry.get("default") for name, entry in options.items()} == {
        name: entry.get("default") for name, entry in spec.items()
    }
    assert set(options["probe"]["suboptions"]) == set(spec["probe"]["options"])


def test_what_a_recreate_would_give_a_container(engine: str, tmp_path: Path) -> None:
    document = json.loads(json.dumps(DOCUMENTS[0]))
    document["Config"]["Labels"][_containers.DIRECTORY] = str(tmp_path)
    document["Config"]["Env"].append("LEVEL=warn")
    (tmp_path / "inspected.json").write_text(json.dumps([document]))
    asked: dict[str, Any] = {"container_command": engine, "containers": ["veza_backend_api"], "show": ["LEVEL", "X"]}
    assert look(**asked)["containers"][0]["amqp"]["file"] is None
    defaults = {name: spec.get("default") for name, spec in _amqp_options.probe_option()["options"].items()}
    asked["probe"] = {**defaults, "login_host": "127.0.0.1", "login_port": 1, "login_password": "new"}
    for line, matches in (("AMQP_URL='amqp://veza:new@h/'", True), (f"AMQP_URL=amqp://veza:{SECRET}@h/", False)):
        (tmp_path / ".env").write_text(line + "\n")
        found = look(**asked)
        held = found["containers"][0]["amqp"]
        assert held["file"]["matches"] is matches
        assert (held["file"]["fingerprint"] == held["fingerprint"]) is not matches
        assert SECRET not in json.dumps(found)
    assert found["containers"][0]["environment"] == {"LEVEL": "warn"}
    (tmp_path / ".env").write_text("PASSWORD=new\n")
    assert look(**asked, env_variable="PASSWORD")["containers"][0]["amqp"]["file"]["matches"] is True


@pytest.mark.parametrize("value", ['"amqp://veza:x@h/"', "", "http://h/"])
def test_a_container_that_has_no_url_is_said_and_no_silence(engine: str, tmp_path: Path, value: str) -> None:
    document = json.loads(json.dumps(DOCUMENTS[0]))
    document["State"].update(Status="running", Pid=1)
    document["Config"]["Env"] = [f"AMQP_URL={value}"]
    (tmp_path / "inspected.json").write_text(json.dumps([document]))
    defaults = {name: spec.get("default") for name, spec in _amqp_options.probe_option()["options"].items()}
    asked = {**defaults, "login_host": "127.0.0.1", "login_port": 1}
    found = look(container_command=engine, containers=["veza_backend_api"], probe=asked)
    assert found["containers"][0]["probe"] is None
    assert any("AMQP_URL holds no AMQP URL that can be read" in text for text in found["unknown"])
