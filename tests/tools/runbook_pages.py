# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write docs/runbook.md and docs/runbook-by-hand.md: `.venv/bin/python tests/tools/runbook_pages.py`.

Of docs/runbook.yml, the causes and the remedies. Unit tests fail when a page is not the one that they make, and when
the text of the original runbook has changed.
"""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ORIGINAL = DOCS / "runbook-original.md"
CAUSES = ROOT / "roles" / "outage_diagnose" / "causes"

Document = dict[str, Any]

# In two parts, or this file would have two licences for who checks that.
_LICENCE = "SPDX-License-Identifier" + ": GPL-3.0-or-later"

LICENCE = f"""\
<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{_LICENCE}
-->
"""

TABLE = """
# The runbook, step by step

Each step of the runbook [RabbitMQ unavailable](runbook-original.md), what this collection does instead, and the test
that proves it. Some of the runbook's commands mislead; where that was measured (RabbitMQ 3.10 and 4.0), the second
column says how. [The corrected runbook](runbook-by-hand.md) is for a person without Ansible.

| Step | The runbook says; what was measured | What is done, and where | Proved by |
| --- | --- | --- | --- |
"""

BY_HAND = """
# RabbitMQ unavailable: by hand

The runbook for a person without Ansible, corrected by what was measured with RabbitMQ 3.10 and 4.0. With Ansible one
command does all of it, and keeps the record: `ansible-playbook veza.rabbitmq.recover_rabbitmq`. Made by
`tests/tools/runbook_pages.py` of the same causes and remedies that the playbooks use.

**Never:**

"""

WHAT_IT_CAN_BE = """\
## What it can be, and what to do

Every cause that the diagnosis knows, by what is done about it. [causes.md](causes.md) says what proves each.
"""


def runbook() -> Document:
    """Return docs/runbook.yml."""
    document: Document = yaml.safe_load((DOCS / "runbook.yml").read_text(encoding="utf-8"))
    return document


def texts(steps: list[Document]) -> dict[str, str]:
    """Return the original's text of each step; ValueError when one can't be told from the rest."""
    lines = ORIGINAL.read_text(encoding="utf-8").splitlines(keepends=True)
    begins = []
    for step in steps:
        found = [number for number, line in enumerate(lines) if line.startswith(step["begins"])]
        if len(found) != 1:
            raise ValueError(f"{len(found)} lines of {ORIGINAL.name} start with {step['begins']!r} (step {step['id']})")
        begins += found
    if begins != sorted(begins) or begins[0] != 0:
        raise ValueError("the steps are not in the order of the runbook, or leave out its first lines")
    ends = [*begins[1:], len(lines)]
    return {step["id"]: "".join(lines[a:b]) for step, a, b in zip(steps, begins, ends, strict=True)}


def digest(text: str) -> str:
    """Return what a step's text is known by."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def causes() -> dict[str, Document]:
    """Return every cause."""
    found: dict[str, Document] = {}
    for path in sorted(CAUSES.glob("*.yml")):
        found |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def table(document: Document) -> str:
    """Return docs/runbook.md."""
    lines = [
        f"| `{step['id']}` | {' | '.join(_cell(step[key]) for key in ('says', 'does', 'proof'))} |"
        for step in document["steps"]
    ]
    return LICENCE + TABLE + "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


def by_hand(document: Document) -> str:
    """Return docs/runbook-by-hand.md."""
    never = "\n".join(f"- {text};" for text in document["never"]).removesuffix(";") + "."
    parts = [LICENCE + BY_HAND + never]
    what_it_can_be = WHAT_IT_CAN_BE + "\n" + "\n\n".join(_remedies(document["remedies"]))
    for step in document["steps"]:
        if step["id"] == "mitigation-level":
            parts.append(what_it_can_be)
        if "by_hand" in step:
            why = textwrap.fill(f"*Not as before.* {step['says']}", 120, break_on_hyphens=False)
            parts.append(f"## {step['title']}\n\n{step['by_hand'].strip()}\n\n{why}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _remedies(remedies: dict[str, str]) -> list[str]:
    """Return a section for each remedy that some cause has; where a human decides, with each cause's own advice."""
    every = causes()
    sections = []
    for name, text in remedies.items():
        items = [
            _item(f"{cause['title']} (`{known}`)" + (f". {cause['advice']}" if name == "ask" else ""))
            for known, cause in every.items()
            if cause["remedy"] == name
        ]
        if items:
            heading = f"### {name.replace('_', ' ').capitalize()}"
            sections.append("\n\n".join([heading, "\n".join(items), text.strip()]))
    return sections


def _item(text: str) -> str:
    return textwrap.fill(f"- {text}", 120, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


PAGES = {"runbook.md": table, "runbook-by-hand.md": by_hand}


if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(runbook()), encoding="utf-8")
