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

TEMPLATES = Path(__file__).parents[2] / "roles/outage_report/templates"


def written_by(template: str, macro: str, value: object) -> str:
    """Return what a macro of a template makes of a value."""
    environment = jinja2.Environment(trim_blocks=True, loader=jinja2.FileSystemLoader(TEMPLATES))
    environment.filters["regex_replace"] = regex_replace
    source = (TEMPLATES / template).read_text(encoding="utf-8").partition("\n# ")[0]
    given = {"outage_report_record": SimpleNamespace(outage=None, id="i"), "outage_report_listed": 5, "value": value}
    return environment.from_string(f"{source}\n{{{{ {macro}(value) }}}}", globals=given).render().strip()


@pytest.mark.parametrize("template", ["report.md.j2", "postmortem.md.j2"])
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("dmca_propagation", "dmca_propagation"),
        ("![x](http://e/x.png) *a*", r"!\[x](http://e/x.png) \*a\*"),
        ("<img src=x>\n\n# head", "&lt;img src=x> # head"),
        ("# head", r"\# head"),
        ("> quoted", r"\> quoted"),
        ("a | `b`", r"a \| 'b'"),
        (r"\[x](y) \| z", r"\\\[x](y) \\\| z"),
        ("__b__ _e_ a_b", r"\_\_b\_\_ \_e\_ a_b"),
    ],
)
def test_what_others_have_chosen_becomes_no_markup(template: str, value: str, written: str) -> None:
    assert written_by(template, "text", value) == written


def test_an_id_stays_in_its_line() -> None:
    assert written_by("report.md.j2", "ids", ["7", "8`\n\n# head"]) == "`7`, `8' # head`"
