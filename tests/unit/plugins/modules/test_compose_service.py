# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With an engine that is a script: it keeps its containers in a file, and does to them what compose does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, Refused, VezaError
from ansible_collections.veza.rabbitmq.plugins.modules import compose_service as module

Run = Callable[..., dict[str, Any]]

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
else:
    if os.path.exists(here + "/broken"):
        sys.exit("no space left on device")
    for one in state:
        if words[-1] in (one["Id"], one["Config"]["Labels"]["com.docker.compose.service"]):
            one["State"]["Status"] = "exited" if "stop" in words else "running"
            one["State"]["StartedAt"] = "2026-11-24T10:00:00Z"
    json.dump(state, open(here + "/state.json", "w"))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A host with two workers."""
    document = {
        service: {
            "Id": f"id-{service}", "Name": f"/veza-{service}-1", "RestartCount": 7,
            "State": {
                "Status": "running", "StartedAt": "2026-11-24T08:00:00Z", "FinishedAt": "2026-11-24T09:00:00Z",
                "ExitCode": 137,
            },
            "Config": {
                "Labels": {
                    "com.docker.compose.service": service, "com.docker.compose.project": "veza",
                    "com.docker.compose.project.working_dir": "/opt/veza",
                    "com.docker.compose.project.config_files": "/opt/veza/docker-compose.prod.yml",
                },
            },
        }
        for service in ("worker-dmca", "worker-search")
    }  # fmt: skip
    (tmp_path / "state.json").write_text(json.dumps(list(document.values())))
    (tmp_path / "docker.py").write_text(ENGINE)
    (tmp_path / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/docker.py "$@"\n')
    (tmp_path / "docker").chmod(0o700)
    return tmp_path


@pytest.fixture
def run(place: Path, params_of: Callable[..., dict[str, Any]]) -> Run:
    """Run the module's work there, on a worker that is in the given state."""
    engine = {"container_command": f"{place}/docker", "compose_command": [f"{place}/docker", "compose"]}

    def go(state: str, was: str | None = None, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
        if was is not None:
            documents = json.loads((place / "state.json").read_text())
            documents[0]["State"]["Status"] = was
            (place / "state.json").write_text(json.dumps(documents))
        given = {"service": "worker-dmca", "state": state, **engine, **changes}
        return module.run(params_of(module.argument_spec(), **given), check_mode)

    return go


def acted(place: Path) -> list[str]:
    calls = (place / "calls").read_text().splitlines() if (place / "calls").exists() else []
    return [line for line in calls if not line.startswith(("ps", "container inspect"))]


COMPOSE = "compose --project-name veza --project-directory /opt/veza --file /opt/veza/docker-compose.prod.yml"
UP = f"{COMPOSE} up --detach --no-deps --no-build --no-recreate worker-dmca"


@pytest.mark.parametrize(
    ("state", "was", "did", "command"),
    [
        ("restarted", "running", "restarted", f"{COMPOSE} restart worker-dmca"),
        ("restarted", "exited", "started", UP),
        ("restarted", "paused", "woken", "unpause id-worker-dmca"),
        ("started", "running", "nothing", None),
        ("started", "exited", "started", UP),
        ("started", "created", "started", UP),
        ("started", "paused", "woken", "unpause id-worker-dmca"),
        ("stopped", "running", "stopped", f"{COMPOSE} stop worker-dmca"),
        ("stopped", "restarting", "stopped", f"{COMPOSE} stop worker-dmca"),
        ("stopped", "exited", "nothing", None),
    ],
)
def test_the_one_thing_that_brings_it_there(
    run: Run, place: Path, state: str, was: str, did: str, command: str | None
) -> None:
    predicted = run(state, was, check_mode=True)
    assert acted(place) == []
    done = run(state)
    assert (predicted["did"], predicted["changed"]) == (done["did"], done["changed"]) == (did, command is not None)
    assert acted(place) == ([command] if command else [])
    assert [one["state"] for one in done["before"]] == [was]
    assert [one["state"] for one in done["after"]] == ["exited" if state == "stopped" else "running"]
    again = run("started" if state == "restarted" else state)
    assert (again["did"], again["changed"]) == ("nothing", False)


def beside(place: Path, **labels: str) -> None:
    """Put a container of the same service that has ended before the others."""
    documents = json.loads((place / "state.json").read_text())
    other = json.loads(json.dumps(documents[0]))
    other.update(Id="id-other", Name="/veza-worker-dmca-run-5ec0d3")
    other["State"]["Status"] = "exited"
    other["Config"]["Labels"].update(labels)
    (place / "state.json").write_text(json.dumps([other, *documents]))


def test_what_compose_run_has_left_is_not_the_service(run: Run, place: Path) -> None:
    beside(place, **{"com.docker.compose.oneoff": "True"})
    assert run("started")["did"] == "nothing"
    done = run("restarted")
    assert (done["did"], len(done["before"])) == ("restarted", 1)
    assert acted(place) == [f"{COMPOSE} restart worker-dmca"]


def test_one_that_hangs_is_restarted_beside_one_that_has_ended(run: Run, place: Path) -> None:
    beside(place, **{"com.docker.compose.oneoff": "False"})
    assert run("restarted")["did"] == "restarted"
    assert acted(place) == [f"{COMPOSE} restart worker-dmca"]


@pytest.mark.parametrize("state", ["started", "restarted"])
def test_a_crash_loop_is_left_alone(run: Run, place: Path, state: str) -> None:
    with pytest.raises(Refused, match="again and again") as refused:
        run(state, "restarting")
    assert "docker logs" in refused.value.message
    assert refused.value.details["before"][0]["restarts"] == 7
    assert acted(place) == []


def test_what_was_restarted_meanwhile_is_not_restarted_again(run: Run, place: Path) -> None:
    assert run("restarted", "running", since="2026-11-24T07:00:00Z")["did"] == "nothing"
    assert acted(place) == []
    assert run("restarted", "running", since="2026-11-24T10:30:00+01:00")["did"] == "restarted"
    assert run("restarted", since="2026-11-24T10:30:00+01:00")["did"] == "nothing"


def test_a_service_without_a_container_needs_its_compose_file(run: Run, place: Path) -> None:
    with pytest.raises(Refused, match="no compose_file"):
        run("started", service="worker-new")
    done = run("started", service="worker-new", compose_file="/opt/veza/docker-compose.prod.yml")
    assert done["did"] == "started"
    words = "up --detach --no-deps --no-build --no-recreate worker-new"
    assert acted(place) == [f"compose --file /opt/veza/docker-compose.prod.yml {words}"]
    assert run("stopped", service="worker-new")["did"] == "nothing"


def test_failures_say_what_was_seen(run: Run, place: Path) -> None:
    (place / "broken").touch()
    with pytest.raises(VezaError, match="no space left on device") as failed:
        run("restarted", "running")
    assert failed.value.details["before"][0]["state"] == "running"
    with pytest.raises(VezaError, match="does not answer"):
        run("restarted", container_command="/nonexistent")
    with pytest.raises(BadInput, match="timeout"):
        run("restarted", timeout=0)
    with pytest.raises(BadInput, match="since"):
        run("restarted", since="yesterday")


def test_main(run_main: Callable[..., Any], place: Path) -> None:
    outcome = run_main(module, service="worker-dmca", state="restarted", container_command=f"{place}/docker",
                       compose_command=[f"{place}/docker", "compose"])  # fmt: skip
    assert not outcome.failed
    assert outcome.result["did"] == "restarted"
    assert outcome.result["message"].startswith("worker-dmca was restarted (it was running since 2026-11-24T08:00")
