# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles promise in their specifications is what they have."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._wrong_numbers import wrong_numbers
from tests.unit.roles.role_files import ROOT, TABLES, load

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_documents_the_defaults_and_nothing_else(role: str) -> None:
    defaults = load(role, "defaults/main.yml")
    entries = load(role, "meta/argument_specs.yml")["argument_specs"]
    for name, entry in entries.items():
        assert (ROOT / "roles" / role / "tasks" / f"{name}.yml").exists()
        for option, spec in entry.get("options", {}).items():
            assert option in defaults, f"{role}: {name}: {option}"
            assert spec.get("default") == defaults[option] or option in TABLES, f"{role}: {name}: {option}"
    assert {option for entry in entries.values() for option in entry.get("options", {})} == set(defaults)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_readme(role: str) -> None:
    assert f"# {role}" in (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")


CALLERS = {"outage_audit_lease_token"}
"""Numbers that no person sets."""


def numbers(options: dict[str, Any]) -> dict[str, Any]:
    """Return the default of each option that is a number, and of those that options have the same."""
    found: dict[str, Any] = {}
    for name, option in options.items():
        if option.get("type") in ("int", "float"):
            found[name] = option.get("default", 1)
        elif inner := numbers(option.get("options", {})):
            found[name] = inner
    return found


@pytest.mark.parametrize("role", ROLES)
def test_each_number_that_a_person_sets_has_its_limits(role: str) -> None:
    limits = load("veza", "vars/main.yml")["__veza_limits"]
    for entry in load(role, "meta/argument_specs.yml")["argument_specs"].values():
        defaults = {name: value for name, value in numbers(entry["options"]).items() if name not in CALLERS}
        for name, value in defaults.items():
            assert not isinstance(value, dict) or set(value) == set(limits[name])
        assert set(defaults) <= set(limits)
        assert wrong_numbers(defaults, limits) == []
