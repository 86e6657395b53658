# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often the diagnosis names the right cause: each fault is made and named, nothing is mended, then all is reset.

A run takes a third of the time of a row of the scoreboard, so that each fault can be made many times, with other
parameters each time. Each run of ``make game-day`` counts too: its diagnosis is the same. ``docs/accuracy.json`` keeps
every run; who measures anew removes it first.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import scoreboard
from .fault import VERSIONS, Fault
from .result import Row

Z = 1.96
"""Of a confidence of 95 %."""

HEADINGS = ("Fault", "RabbitMQ", "Runs", "Right", "Invalid", "Taken for", "Besides", "Named in")

HEALTHY = Fault(
    name="healthy_under_load",
    title="Nothing is broken, requests flow",
    source="control",
    causes=frozenset({"healthy"}),
    inject=lambda _lab, _rng: {},
    present=lambda _lab, _params: "nothing was broken",
    heal=lambda _lab, _params: None,
)
"""The control: whoever names a cause here names one everywhere."""

# In two parts, or this file would have two licences for who checks that.
_LICENCE = "SPDX-License-Identifier" + ": GPL-3.0-or-later"

HEADER = f"""\
<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{_LICENCE}
-->

# Accuracy

Which cause `diagnose_rabbitmq` names first for each fault of the catalogue (tests/game_day/faults/), made for real on
the lab of Incus hosts while requests flow, with random parameters. `healthy_under_load` is the control: nothing is
broken. The runs are made by `make game-day` and `.venv/bin/python -m tests.game_day accuracy`, and this page is written
anew from them by `.venv/bin/python -m tests.game_day table`.
"""

LEGEND = """\
- *Right*: the first cause is one that the fault may rightly be taken for (`python -m tests.game_day list`); of a system
  on which nothing is broken: healthy, and nothing besides.
- *Taken for*, *besides*: the confusion matrix: which cause was named first, and which others with it, and how often.
  What is wrong is **bold**.
- *Named in*: seconds from the start of `diagnose_rabbitmq`, median and longest. The machine may have had other work
  meanwhile: it tells no more than that the answer came within that time.
- INVALID: the fault was not proved to be there, or not for long enough. Such a run shows nothing, and counts nowhere.
"""


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share, after Wilson; (0, 1) for no run at all."""
    if not count:
        return 0.0, 1.0
    share = right / count
    middle = share + Z * Z / (2 * count)
    spread = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def is_right(row: Row) -> bool:
    """Tell whether a valid run named the right cause, and for the control no other besides."""
    return bool(row.right) and not (row.fault == HEALTHY.name and row.also)


def wrong(row: Row) -> str | None:
    """Return what is wrong with a run; None when nothing is."""
    if row.invalid:
        return f"INVALID: {row.invalid}"
    if not is_right(row):
        named = " and ".join([row.cause or "nothing", *row.also])
        return f"{named} instead of {' or '.join(row.expected)}"
    return f"{' and '.join(row.unnamed)} was not named besides" if row.unnamed else None


def summary(rows: Sequence[Row]) -> str:
    """Return a measurement in one sentence."""
    valid = [row for row in rows if not row.invalid]
    right = sum(is_right(row) for row in valid)
    low, high = wilson(right, len(valid))
    share = f"{100 * right / len(valid):.1f} %, " if valid else ""
    several = [row for row in valid if row.each]
    both = f"{sum(not row.unnamed for row in several)} of {len(several)} with two faults at once named both; "
    return (
        f"{right} of {len(valid)} right: {share}95 % confidence interval {100 * low:.1f} to {100 * high:.1f} %; "
        f"{both if several else ''}{len(rows) - len(valid)} invalid; named in {_seconds(valid)}."
    )


def _seconds(rows: Iterable[Row]) -> str:
    times = [row.seconds_to_name for row in rows if row.seconds_to_name is not None]
    return f"{statistics.median(times):.1f} s (median), {max(times):.1f} s (longest)" if times else "-"


def matrix(rows: Sequence[Row]) -> str:
    """Return the confusion matrix as a table: a line for each fault, with what it was taken for and how often."""
    lines = [HEADINGS, ("---",) * len(HEADINGS)]
    for fault, family in dict.fromkeys(row.key for row in rows):
        these = [row for row in rows if row.key == (fault, family)]
        valid = [row for row in these if not row.invalid]
        taken = Counter((row.cause or "nothing", is_right(row)) for row in valid)
        also = Counter((cause, fault != HEALTHY.name) for row in valid for cause in row.also)
        counts = (str(len(valid)), str(sum(is_right(row) for row in valid)), str(len(these) - len(valid)))
        lines.append((fault, family, *counts, _counted(taken), _counted(also), _seconds(valid) if valid else "-"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counted(named: Counter[tuple[str, bool]]) -> str:
    return ", ".join(f"{cause if good else f'**{cause}**'} {n}" for (cause, good), n in sorted(named.items())) or "-"


def markdown(rows: Sequence[Row]) -> str:
    """Return the whole page."""
    versions = sorted({scoreboard.versions(row) for row in rows if row.versions})
    dates = sorted({row.at[:10] for row in rows})
    when = f"Measured on {', '.join(dates)}: {'; '.join(versions)}." if rows else "Not measured yet."
    families = [(family, [row for row in rows if row.rabbitmq == family]) for family in VERSIONS]
    each = [f"- RabbitMQ {family}: {summary(these)}" for family, these in families if these]
    bad = [f"- {row.fault} ({row.rabbitmq}, seed {row.seed}): {text}" for row in rows if (text := wrong(row))]
    parts = [
        HEADER,
        scoreboard.wrapped(f"**{summary(rows)}**") + "\n",
        "\n".join(scoreboard.wrapped(line, "  ") for line in each) + "\n",
        scoreboard.wrapped(when) + "\n",
        matrix(rows) + "\n",
        LEGEND,
    ]
    parts += ["## Wrong or invalid\n", "\n".join(scoreboard.wrapped(line, "  ") for line in bad) + "\n"] if bad else []
    return "\n".join(parts)


def read(directory: Path) -> list[Row]:
    """Return the runs of the measurement in a directory."""
    path = directory / "accuracy.json"
    return [Row.read(row) for row in json.loads(path.read_text())["rows"]] if path.exists() else []


def write(directory: Path, rows: Iterable[Row]) -> list[Row]:
    """Put new runs into the measurement, in place of those of the same fault, family and seed; return all."""
    directory.mkdir(parents=True, exist_ok=True)
    with scoreboard.alone(directory):
        every = {(*row.key, row.seed): row for row in [*read(directory), *rows]}
        kept = [every[key] for key in sorted(every)]
        document = {"summary": summary(kept), "rows": [row.document() for row in kept]}
        (directory / "accuracy.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        (directory / "accuracy.md").write_text(markdown(kept))
    return kept
