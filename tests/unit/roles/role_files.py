# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the roles, and their variables as Ansible would make them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nativetypes
import yaml
from ansible.plugins.filter.core import FilterModule

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._shift_instant import shift_instant
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._wrong_window import wrong_window

ROOT = Path(__file__).parents[3]

TABLES = ("veza_queues", "veza_subsystems")
"""Whose default is too long to be told twice."""

INSTANTS = {"veza.rabbitmq.shift_instant": shift_instant, "veza.rabbitmq.wrong_window": wrong_window}


def load(role: str, part: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / role / part).read_text(encoding="utf-8"))


def rendered(role: str, name: str, known: dict[str, Any], texts: Any = None, **filters: Any) -> Any:
    """Return a variable of a role (or one of ``texts``), with those that it is made of, as Ansible would."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    known_filters = FilterModule().filters()
    ansibles = ("b64decode", "combine", "from_json", "items2dict", "ternary")
    environment.filters.update({name: known_filters[name] for name in ansibles} | filters)
    environment.tests["changed"] = bool
    texts = texts or load(role, "vars/main.yml")

    class Lazy(dict):  # type: ignore[type-arg]
        def __missing__(self, key: str) -> Any:
            return environment.from_string(texts[key].strip()).render(variables(texts[key]))

    def variables(text: str) -> dict[str, Any]:
        names = jinja2.meta.find_undeclared_variables(environment.parse(text))
        return {one: found[one] for one in names if one in found or one in texts}

    found = Lazy(known)
    return found[name]


def clock(utc: bool) -> datetime:
    return datetime(2026, 1, 31, 3, tzinfo=None if utc else UTC)
