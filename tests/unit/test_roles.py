# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles promise in their specifications is what they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
