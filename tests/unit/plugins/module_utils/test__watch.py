# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._watch import Seen, summary

STATUSES = {"ok": (200, ""), "404": (404, ""), "503": (503, ""), "refused": (None, "refused")}


def seen(words: str, target: str = "backend-1") -> list[Seen]:
    """Return a probe every 5 s for each of the words."""
    probes = []
    for number, word in enumerate(words.split()):
        status, error = STATUSES[word]
        minutes, seconds = divmod(5 * number, 60)
        probes.append(Seen(f"2026-01-31T02:{minutes:02}:{seconds:02}.000Z", target, status, 0.1, error))
    return probes


@pytest.mark.parametrize(
    ("words", "count", "start", "what"),
    [
        ("ok ok ok", 0, None, []),
        ("ok 404 404", 0, None, []),
        ("ok 503 refused ok", 2, "2026-01-31T02:00:05.000Z", ["503", "refused"]),
        ("503 ok 503 503 503 ok 503", 3, "2026-01-31T02:00:10.000Z", ["503"]),
        ("503 503 ok refused refused", 2, "2026-01-31T02:00:00.000Z", ["503"]),
        ("503 503 503 503 503 503", 6, "2026-01-31T02:00:00.000Z", ["503"]),
        ("", 0, None, []),
    ],
)
def test_the_worst_run_is_the_longest_one_and_the_first_of_several(
    words: str, count: int, start: str | None, what: list[str]
) -> None:
    worst: dict[str, Any] = summary("backend-1", "http://x", seen(words))["worst_run"]
    assert (worst["count"], worst["start"], worst["seen"]) == (count, start, what)


def test_each_target_is_judged_by_its_own_probes() -> None:
    probes = [*seen("503 503 503"), *seen("ok refused ok", "backend-2")]
    one, two = (summary(name, "http://x", probes) for name in ("backend-1", "backend-2"))
    assert (one["probes"], one["bad"], one["worst_run"]["count"]) == (3, 3, 3)
    assert (two["probes"], two["bad"], two["worst_run"]["count"]) == (3, 1, 1)


def test_what_nobody_saw_is_told() -> None:
    probes = seen("ok ok ok ok ok ok")
    del probes[2:5]
    whole = summary("backend-1", "http://x", probes)
    assert whole["longest_gap"] == 20.0
    assert (whole["first_at"], whole["last_at"]) == ("2026-01-31T02:00:00.000Z", "2026-01-31T02:00:25.000Z")
