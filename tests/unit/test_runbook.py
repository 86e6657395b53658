# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole runbook is mapped: each step to what does it and what proves it; its pages are what the sources make."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.tools import runbook_pages
from tests.tools.runbook_pages import DOCS, ORIGINAL, PAGES, ROOT, causes, digest, runbook, texts

STEPS: dict[str, dict[str, Any]] = {step["id"]: step for step in runbook()["steps"]}


def test_the_steps_are_the_whole_runbook() -> None:
    assert "".join(texts(runbook()["steps"]).values()) == ORIGINAL.read_text(encoding="utf-8")
    assert len(STEPS) == len(runbook()["steps"])


@pytest.mark.parametrize("step", STEPS)
def test_the_text_is_the_one_that_the_step_was_written_for(step: str) -> None:
    text = texts(runbook()["steps"])[step]
    assert STEPS[step]["digest"] == digest(text), f"see whether {step} is still right for this, then note it:\n{text}"


def test_a_step_that_is_gone_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"^0 lines of .*nowhere"):
        texts([{"id": "x", "begins": "nowhere"}])
    with pytest.raises(ValueError, match="first lines"):
        texts(runbook()["steps"][1:])


@pytest.mark.parametrize("step", STEPS)
def test_what_does_it_and_what_proves_it_exist(step: str) -> None:
    for column in ("does", "proof"):
        paths = [word for word in re.findall(r"`([^`]+)`", STEPS[step][column]) if "/" in word]
        assert paths, column
        for path, _unused, test in (word.partition("::") for word in paths):
            assert (ROOT / path).is_file(), path
            assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_every_cause_belongs_to_a_step_and_every_remedy_can_be_done_by_hand() -> None:
    assert {cause["runbook"] for cause in causes().values()} <= set(STEPS)
    remedies = yaml.safe_load((ROOT / "roles" / "outage_recover" / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert set(runbook()["remedies"]) == set(remedies["__outage_recover_remedies"])
    page = runbook_pages.by_hand(runbook())
    assert [name for name in causes() if page.count(f"(`{name}`)") != 1] == [], "each once"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_the_one_that_the_sources_make(name: str) -> None:
    make: Callable[[dict[str, Any]], str] = PAGES[name]
    told = "run .venv/bin/python tests/tools/runbook_pages.py"
    assert (DOCS / name).read_text(encoding="utf-8") == make(runbook()), told


def test_nothing_by_hand_does_what_never_may_be_done() -> None:
    commands = re.findall(r"^```(?:bash|sql)\n(.*?)^```", runbook_pages.by_hand(runbook()), re.MULTILINE | re.DOTALL)
    assert len(commands) > 20
    for bad in (
        r"purge",
        r"restart +veza",
        r"restart .*backend",
        r"env \| *grep",
        r"(?:-u|--user)[ =]",
        r"\bget\b.*queue",
    ):
        assert not [text for text in commands if re.search(bad, text)], bad
