# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What extensions/awx says, and what the collection's playbooks and roles take, as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
AWX = ROOT / "extensions" / "awx"
VARIABLE = re.compile(r"[a-z_]\w*")


class Unsafe(str):
    """Text that Ansible leaves as it is."""


class Loader(yaml.SafeLoader):
    """Knows Ansible's tag for it."""


class Dumper(yaml.SafeDumper):
    """Likewise."""


def unsafe(loader: Loader, node: yaml.ScalarNode) -> Unsafe:
    """Keep the tag."""
    return Unsafe(loader.construct_scalar(node))


Loader.add_constructor("!unsafe", unsafe)
Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def load(path: Path) -> Any:
    """Return what a YAML file says."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def tables() -> dict[str, Any]:
    """Return the variables of extensions/awx/vars."""
    return {name: value for path in sorted((AWX / "vars").glob("*.yml")) for name, value in load(path).items()}


def tasks(document: Any) -> Iterator[dict[str, Any]]:
    """Yield every task below a list of plays or tasks, blocks unpacked."""
    for one in document or []:
        inner = [one[key] for key in ("pre_tasks", "tasks", "post_tasks", "block", "rescue", "always") if key in one]
        for part in inner:
            yield from tasks(part)
        if not inner:
            yield one


def module(task: dict[str, Any]) -> tuple[str, Any]:
    """Return the module of a task and its arguments."""
    return next((name, arguments) for name, arguments in task.items() if "." in name)


@cache
def specification(role: str) -> dict[str, Any]:
    """Return all options of a role's entry points."""
    entries = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for entry in entries.values() for name, option in entry.get("options", {}).items()}


@cache
def roles_of(playbook: str) -> frozenset[str]:
    """Return the roles that a playbook runs, those that they run in turn included."""
    found: set[str] = set()
    for play in load(ROOT / playbook):
        if imported := play.get("ansible.builtin.import_playbook"):
            name = imported.removeprefix("veza.rabbitmq.").removesuffix(".yml")
            found |= roles_of(str(Path(playbook).with_name(f"{name}.yml")))
        found |= {one["role"] for one in play.get("roles", [])} | set(named(tasks([play])))
    return with_theirs(frozenset(name.rpartition(".")[2] for name in found))


@cache
def with_theirs(roles: frozenset[str]) -> frozenset[str]:
    """Add the roles that these run, and so on."""
    found = set(roles)
    for role in roles:
        for path in (ROOT / "roles" / role / "tasks").rglob("*.yml"):
            found |= {name.rpartition(".")[2] for name in named(tasks(load(path)))}
    return frozenset(found) if found == roles else with_theirs(frozenset(found))


def named(found: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield the names of the roles that tasks run."""
    for task in found:
        for action in ("ansible.builtin.import_role", "ansible.builtin.include_role"):
            if action in task:
                yield task[action]["name"]


def options(playbook: str) -> dict[str, Any]:
    """Return the options of all the roles that a playbook runs."""
    return {name: option for role in roles_of(playbook) for name, option in specification(role).items()}
