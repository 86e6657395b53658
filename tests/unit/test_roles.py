# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles promise in their specifications is what they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def load(role: str, part: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / role / part).read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_documents_the_defaults_and_nothing_else(role: str) -> None:
    defaults = load(role, "defaults/main.yml")
    entries = load(role, "meta/argument_specs.yml")["argument_specs"]
    for name, entry in entries.items():
        assert (ROOT / "roles" / role / "tasks" / f"{name}.yml").exists()
        for option, spec in entry.get("options", {}).items():
            assert option in defaults, f"{role}: {name}: {option}"
            assert spec.get("default") == defaults[option] or option == "veza_queues", f"{role}: {name}: {option}"
    assert {option for entry in entries.values() for option in entry.get("options", {})} == set(defaults)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_readme(role: str) -> None:
    assert f"# {role}" in (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")


def test_the_queue_table_fits_its_specification() -> None:
    known = set(load("veza", "meta/argument_specs.yml")["argument_specs"]["main"]["options"]["veza_queues"]["options"])
    for queue in load("veza", "defaults/main.yml")["veza_queues"]:
        assert set(queue) <= known


@pytest.mark.parametrize(
    ("queues", "found"),
    [
        pytest.param([{"name": "b"}, {"name": "a", "replay": "transcode_requeue"}], "a", id="one without a replay"),
        pytest.param([{"name": "b", "replay": "none"}], None, id="none to queue again"),
    ],
)
def test_the_queue_of_the_requeue_is_found_beside_one_without_a_replay(queues: list[Any], found: str | None) -> None:
    [task] = load("outage_audit", "tasks/requeue.yml")
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).compile_expression(
        task["vars"]["__outage_audit_queue"].strip().removeprefix("{{").removesuffix("}}").strip()
    )

    assert template(veza_queues=queues).get("name") == found
    assert any(".idempotent" in condition for condition in task["when"])


@pytest.mark.parametrize(
    ("results", "over"),
    [
        pytest.param([{"flushed": True}, {"flushed": True}], True, id="each was flushed"),
        pytest.param([{"flushed": True}, {"flushed": False, "msg": "500"}], False, id="one failed"),
        pytest.param([{"flushed": True}, {"unreachable": True, "msg": "no route"}], False, id="one never began"),
        pytest.param([{"flushed": True, "proved": None}, {"flushed": True, "proved": True}], True, id="proved"),
        pytest.param([{"flushed": True, "proved": False, "msg": "not proved"}], False, id="one was not proved"),
    ],
)
def test_an_incident_is_not_over_while_a_flush_failed(results: list[dict[str, Any]], over: bool) -> None:
    conditions = load("outage_recover", "tasks/finish.yml")[0]["ansible.builtin.assert"]["that"]
    compiled = jinja2.Environment(undefined=jinja2.StrictUndefined).compile_expression
    judged = [compiled(text)(__outage_audit_flush={"results": results}) for text in conditions if "_flush" in text]

    assert all(judged) is over


def test_the_flush_is_proved_as_the_inventory_says() -> None:
    [task] = [task for task in load("outage_audit", "tasks/flush.yml") if "veza.rabbitmq.dmca_flush" in task]

    assert {"proof", "proof_path"} <= set(task["veza.rabbitmq.dmca_flush"])
