# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the Markdown reports make of names and log lines that others have chosen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from ansible.plugins.filter.core import regex_replace

ROLES = Path(__file__).parents[2] / "roles"
TEMPLATES = ROLES / "outage_report/templates"


def ids(value: list[str]) -> str:
    """Return what the report's macro of this name makes of ids."""
    source = (TEMPLATES / "report.md.j2").read_text(encoding="utf-8").partition("\n# ")[0]
    environment = jinja2.Environment(trim_blocks=True)
    environment.filters["regex_replace"] = regex_replace
    given = {"outage_report_record": SimpleNamespace(outage=None, id="i"), "outage_report_listed": 5, "value": value}
    return environment.from_string(f"{source}\n{{{{ ids(value) }}}}", globals=given).render().strip()


def test_an_id_stays_in_its_line() -> None:
    assert ids(["7", "8`\n\n# head"]) == "`7`, `8' # head`"


@pytest.mark.parametrize("template", sorted(ROLES.glob("*/templates/*.md.j2")), ids=lambda path: path.name)
def test_each_report_guards_what_others_have_chosen(template: Path) -> None:
    assert "veza.rabbitmq.markdown_text" in template.read_text(encoding="utf-8")
