# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_page import chart, length_of, outage_page
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_record import outage_record
from tests.unit.plugins.filter.record import EVENTS, FULL, SAMPLES

TEMPLATE = Path(__file__).parents[4] / "roles" / "outage_report" / "templates" / "report.html.j2"


def page(record: dict[str, Any], listed: int = 50) -> str:
    return outage_page(record, TEMPLATE.read_text(encoding="utf-8"), listed)


def test_the_same_record_gives_the_same_bytes() -> None:
    assert page(FULL) == page(outage_record(EVENTS))


def test_what_a_log_holds_does_not_become_markup() -> None:
    assert "<script" not in page(FULL)
    assert "&lt;script&gt;alert(1)" in page(FULL)
    assert "http" not in page(FULL).replace("http-equiv", "")


def test_it_says_what_is_known_and_what_is_not() -> None:
    text = page(FULL)
    for told in ("15 min 30 s", "at least 47", "unknown: retention", "exactly 93", "Sentry 90, logs 93", "120 lost"):
        assert told in text, told
    assert "and 70 more in 20261124T020304Z-paris-3f9a.json" in text
    assert "and 117 more in" in page(FULL, 3)


def test_an_incident_of_which_little_is_known_has_a_page_too() -> None:
    text = page(outage_record(EVENTS[:1]))
    assert "It has not been accounted for yet." in text
    assert "<svg" not in text
    assert "so far" in text
    assert page(outage_record([]))


def test_the_chart_shows_what_was_seen_and_makes_nothing_up() -> None:
    drawn = chart(SAMPLES)
    assert drawn is not None
    assert (drawn["peak"], drawn["seconds"]) == (900, 4.1)
    lines = {line["name"]: line for line in drawn["lines"]}
    assert set(lines) == {"transcode_jobs", "search"}
    assert [lines["search"][key] for key in ("first", "peak", "last")] == [300, 300, 0]
    assert lines["search"]["points"] == "14.6,133.3 600.0,200.0"
    assert lines["transcode_jobs"]["points"].split()[0] == "14.6,0.0"
    assert chart([]) is None
    assert chart([{"elapsed": 0.0, "queues": {"q": {"ready": 1, "unacked": 0}}}]) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (3725, "1 h 2 min")],
)
def test_lengths(seconds: float | None, text: str) -> None:
    assert length_of(seconds) == text
