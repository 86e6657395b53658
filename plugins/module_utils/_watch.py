# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a series of probes says of one target. Pure: no clock, no network, no files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ._record import instant


@dataclass(frozen=True)
class Seen:
    """One probe: who was asked, when the question was sent, and what came back."""

    at: str
    """An instant with an offset."""
    target: str
    status: int | None
    """HTTP status; None when there was no answer."""
    seconds: float
    error: str = ""

    @property
    def bad(self) -> bool:
        """True for no answer and for a 5xx: what a person would call down. A 404 is an answer."""
        return self.status is None or self.status >= 500

    @property
    def word(self) -> str:
        """The status, or why there is none."""
        return self.error or "no answer" if self.status is None else str(self.status)

    def line(self) -> dict[str, Any]:
        """Return it as data."""
        return asdict(self)


def summary(target: str, url: str, probes: list[Seen]) -> dict[str, Any]:
    """Return what the probes of one target say, its worst run of bad ones included."""
    mine = [probe for probe in probes if probe.target == target]
    return {
        "name": target,
        "url": url,
        "probes": len(mine),
        "bad": sum(probe.bad for probe in mine),
        "worst_run": _worst_run(mine),
        "longest_gap": _longest_gap(mine),
        "first_at": mine[0].at if mine else None,
        "last_at": mine[-1].at if mine else None,
    }


def _worst_run(probes: list[Seen]) -> dict[str, Any]:
    """Return the longest run of bad probes, the first of several; its count is 0 where there was none."""
    worst: list[Seen] = []
    run: list[Seen] = []
    for probe in probes:
        run = [*run, probe] if probe.bad else []
        if len(run) > len(worst):
            worst = run
    return {
        "count": len(worst),
        "start": worst[0].at if worst else None,
        "end": worst[-1].at if worst else None,
        "seen": sorted({probe.word for probe in worst}),
    }


def _longest_gap(probes: list[Seen]) -> float:
    """Return the most seconds between two probes that followed each other: what happened there, nobody saw."""
    moments = [instant(probe.at) for probe in probes]
    gaps = [(after - before).total_seconds() for before, after in zip(moments, moments[1:])]
    return round(max(gaps, default=0.0), 3)
