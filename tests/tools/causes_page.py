# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write docs/causes.md from the files of the causes: `.venv/bin/python tests/tools/causes_page.py`.

A unit test fails when the page is not the one that the files make.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CAUSES = ROOT / "roles" / "outage_diagnose" / "causes"
REMEDIES = ROOT / "roles" / "outage_recover" / "vars" / "main.yml"
PAGE = ROOT / "docs" / "causes.md"

# In two parts, or this file would have two licences for who checks that.
_LICENCE = "SPDX-License-Identifier" + ": GPL-3.0-or-later"

HEADER = f"""\
<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{_LICENCE}
-->

# Causes

All that `diagnose_rabbitmq` can name, each from one file in `roles/outage_diagnose/causes/`. A cause is named when all
that it needs is proved and nothing that excludes it is; what could not be seen leaves it "not ruled out". Several at
once are all named: a cause hides those that it explains, and what affects most comes first.

"""

AFFECTS = {
    "all": "everything that is published",
    "targets": "what passes the hosts that it names",
    "queues": "the queues that it names",
    "nothing": "no traffic by itself",
}


def page() -> str:
    """Return the page."""
    remedies = yaml.safe_load(REMEDIES.read_text(encoding="utf-8"))["__outage_recover_remedies"]
    parts = []
    for path in sorted(CAUSES.glob("*.yml")):
        ((name, cause),) = yaml.safe_load(path.read_text(encoding="utf-8")).items()
        parts.append(section(name, cause, remedies[cause["remedy"]]["says"]))
    return HEADER + "\n".join(parts)


def section(name: str, cause: dict[str, Any], says: str) -> str:
    """Return the section of one cause."""
    needs = ", ".join(cause["all_of"]) + "".join(f", not {finding}" for finding in cause["none_of"])
    lines = [f"- Affects: {AFFECTS[cause['affects']]}. `recover_rabbitmq`: {says}", f"- Needs: {needs}."]
    lines += [f"- Explains: {', '.join(cause['explains'])}."] if cause["explains"] else []
    lines += ["- A symptom: named only of hosts that no other cause affects."] if cause.get("symptom") else []
    facts = "\n".join(textwrap.fill(line, 120, subsequent_indent="  ", break_on_hyphens=False) for line in lines)
    advice = textwrap.fill(cause["advice"], 120, break_on_hyphens=False, break_long_words=False)
    return f"## {name}\n\n{cause['title']}.\n\n{advice}\n\n{facts}\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
