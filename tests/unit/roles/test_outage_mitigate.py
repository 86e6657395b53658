# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role outage_mitigate: to which level it brings the API, and how that is taken back."""

from __future__ import annotations

import base64
import json
from typing import Any

import jinja2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.test import core as ansible_tests

from tests.unit.roles.role_files import load, rendered


def mitigated(name: str, **known: Any) -> Any:
    given: dict[str, Any] = {"veza_eventbus_level": "warn", "veza_api_level_path": "", "veza_api_level_command": []}
    given |= {"outage_mitigate_level": "error", "outage_mitigate_host": "b1"} | known
    given["__outage_mitigate_read"] = {"events": [], "found": known.get("found", True)} | known.get("read", {})
    return rendered("outage_mitigate", name, given, **{"veza.rabbitmq.outage_levels": lambda _events: known["levels"]})


def taken_back(holds: str | None, note: dict[str, Any] | None = None, state: str = "reverted") -> dict[str, Any]:
    """Return what a mitigation knows of a file that holds this level, and of which that is noted."""
    read = {} if note is None else {"content": base64.b64encode(json.dumps(note).encode()).decode()}
    look = {"files": [{"path": "/opt/veza/.env", "before": holds}]}
    known = {"__outage_mitigate_look": look, "__outage_mitigate_note_read": read, "outage_mitigate_state": state}
    return {**known, "levels": {}, "veza_eventbus_level_variable": "LEVEL", "veza_backend_container": "api"}


@pytest.mark.parametrize(
    ("before", "in_file", "absent", "wanted"),
    [("info", "info", False, "info"), ("", "", False, "warn"), (None, "", True, "warn")],
)
def test_a_level_is_taken_back_to_what_the_file_had(before: Any, in_file: str, absent: bool, wanted: str) -> None:
    told = taken_back("error", {"file_before": before, "written": "error"})

    assert mitigated("__outage_mitigate_in_file", **told) == in_file
    assert mitigated("__outage_mitigate_absent", **told) is absent
    assert mitigated("__outage_mitigate_wanted", **told) == wanted
    # Where the running API can be told, it gets the level that it has without anybody's change.
    assert mitigated("__outage_mitigate_wanted", **told, veza_api_level_path="/level") == "warn"
    task = file_task("__outage_mitigate_file")
    assert "__outage_mitigate_wanted" in task["absent_value"]
    assert ("__outage_mitigate_in_file" in task["value"], "__outage_mitigate_absent" in task["state"]) == (True, True)


def file_task(register: str) -> dict[str, Any]:
    tasks = load("outage_mitigate", "tasks/instance.yml")
    [task] = [one for one in tasks if "compose_environment" in str(list(one)) and one["register"] == register]
    return dict(task["veza.rabbitmq.compose_environment"])


@pytest.mark.parametrize(
    ("holds", "note"),
    [
        pytest.param("warn", None, id="nothing was prepared"),
        pytest.param("error", None, id="the operator's own level is the one of a mitigation"),
        pytest.param("info", {"file_before": None, "written": "error"}, id="deployed since, with another level"),
        pytest.param(None, {"file_before": "warn", "written": "error"}, id="deployed since, without a level"),
        pytest.param("warn", {"file_before": "warn", "written": "error"}, id="noted, and ended before it was written"),
    ],
)
def test_what_no_mitigation_wrote_stays_in_the_file(holds: str | None, note: dict[str, Any] | None) -> None:
    told = taken_back(holds, note)

    assert mitigated("__outage_mitigate_in_file", **told) == (holds or "")
    assert mitigated("__outage_mitigate_absent", **told) is (holds is None)
    held = "without LEVEL" if holds is None else f"with LEVEL={holds}"
    registered = {
        "__outage_mitigate_live": {}, "__outage_mitigate_command": {},
        "__outage_mitigate_file": {"message": "/opt/veza/.env is right as it is; api takes it when recreated."},
    }  # fmt: skip
    assert mitigated("__outage_mitigate_said", **told, **registered) == (
        f"/opt/veza/.env was left as it is, {held}, as it is not noted that a mitigation wrote this; for another "
        "level: -e outage_mitigate_level=LEVEL; api takes it when recreated."
    )


@pytest.mark.parametrize(
    ("holds", "note", "raises", "origin"),
    [
        pytest.param("warn", None, True, "warn", id="first"),
        pytest.param(None, None, True, None, id="the file has none"),
        pytest.param("error", None, False, "error", id="nothing to write"),
        pytest.param("error", {"file_before": "warn", "written": "error"}, False, "warn", id="once more"),
        pytest.param("info", {"file_before": "warn", "written": "info"}, True, "warn", id="from one to another"),
        pytest.param("info", {"file_before": "warn", "written": "error"}, True, "info", id="deployed in between"),
    ],
)
def test_what_a_mitigation_notes_is_what_was_there_before_all_of_them(
    holds: str | None, note: dict[str, Any] | None, raises: bool, origin: str | None
) -> None:
    told = taken_back(holds, note, "prepared")

    assert mitigated("__outage_mitigate_raises", **told) is raises
    assert mitigated("__outage_mitigate_origin", **told)["file_before"] == origin
    tasks = load("outage_mitigate", "tasks/instance.yml")
    names = [task["name"] for task in tasks]
    # Ended in between, it must not have changed what nothing tells of.
    assert names.index("Note what the environment file has to be taken back to") < names.index(
        "Bring the environment file, and where that is accepted the container, up to date"
    )
    [look] = [task for task in tasks if task.get("register") == "__outage_mitigate_look"]
    assert (look["check_mode"], look["changed_when"]) == (True, False)


@pytest.mark.parametrize(
    ("incident", "level", "command", "concerned"),
    [
        pytest.param({"open": True}, {}, False, True, id="open"),
        pytest.param({"open": False}, {}, False, False, id="closed, and another one's"),
        pytest.param({"open": False}, {"level": "warn", "since": "…"}, False, False, id="closed, taken back"),
        pytest.param({"open": False}, {"level": "error", "since": "…"}, False, True, id="closed, raised"),
        pytest.param({"open": False}, {"file_before": "warn"}, False, True, id="closed, prepared"),
        pytest.param({"open": False}, {}, True, True, id="the command is not to be asked again"),
        pytest.param({"open": False, "id": ""}, {}, False, False, id="none"),
    ],
)
def test_a_closed_incident_learns_of_a_level_that_it_raised_only(
    incident: dict[str, Any], level: dict[str, Any], command: bool, concerned: bool
) -> None:
    told = taken_back("warn") | {"levels": {"b1": level} if level else {}}
    told |= {"read": {"id": "20260131T020000Z-paris-0001", **incident}, "__outage_mitigate_command": command}

    assert mitigated("__outage_mitigate_concerned", **told) is concerned
    tasks = load("outage_mitigate", "tasks/instance.yml")
    recording = [task for task in tasks if task["name"].startswith("Record ")]
    assert [task["when"][0] for task in recording] == ["__outage_mitigate_concerned"] * 2


@pytest.mark.parametrize(
    ("level", "refused"),
    [
        ("error", False),
        ("warn", False),
        ("debug", False),
        ("", True),
        ("banana", True),
        ("fatal", True),
        ("ERROR", True),
    ],
)
def test_a_level_that_is_none_is_refused(level: str, refused: bool) -> None:
    spec = load("outage_mitigate", "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    validated = ArgumentSpecValidator(spec).validate({"outage_mitigate_level": level})

    assert any("outage_mitigate_level" in message for message in validated.error_messages) is refused


@pytest.mark.parametrize(
    ("level", "fine"),
    [("warn", True), ("WARNING", True), ("", True), ("3", False), ("warn\nX=1", False), ("warn\n", False)],
)
def test_the_level_of_the_inventory_is_one_word(level: str, fine: bool) -> None:
    first = load("outage_mitigate", "tasks/main.yml")[0]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.tests["match"] = ansible_tests.TestModule().tests()["match"]

    judged = environment.compile_expression(first["ansible.builtin.assert"]["that"])(veza_eventbus_level=level)
    assert judged is fine


@pytest.mark.parametrize(
    ("state", "levels", "found", "untold"),
    [
        pytest.param("reverted", {}, True, True, id="another incident may have raised it"),
        pytest.param("reverted", {"b1": {"file_before": None}}, True, True, id="only the file was prepared"),
        pytest.param("reverted", {"b1": {"level": "warn"}}, True, False, id="taken back already"),
        pytest.param("reverted", {}, False, False, id="there never was an incident"),
        pytest.param("applied", {}, True, False, id="applied"),
    ],
)
def test_a_level_that_an_earlier_incident_raised_is_taken_back(
    state: str, levels: dict[str, Any], found: bool, untold: bool
) -> None:
    told = {"outage_mitigate_state": state, "levels": levels, "found": found}

    assert mitigated("__outage_mitigate_untold", **told) is untold
    (task,) = [one for one in load("outage_mitigate", "tasks/instance.yml") if "ansible.builtin.command" in one]
    assert "__outage_mitigate_untold" in " ".join(task["when"])


def test_the_lease_of_a_mitigation_lasts_for_all_instances() -> None:
    groups = {"veza_app_backend": ["b1", "b2", "b3"]}
    told = {"levels": {}, "outage_mitigate_timeout": 120, "groups": groups}

    # Recreating one may take 120 s, and until it answers another outage_mitigate_timeout.
    assert mitigated("__outage_mitigate_seconds", **told) >= 3 * (120 + 120)
    assert str(load("outage_mitigate", "tasks/main.yml")).count("{{ __outage_mitigate_seconds }}") == 2
