# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often the diagnosis names the right cause: each fault is made and named, nothing is mended, then all is reset.

A run takes a third of the time of a row of the scoreboard, so that each fault can be made many times, with other
parameters each time. ``docs/accuracy.json`` keeps every run of the newest measurement.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import scoreboard
from .fault import Fault
from .result import Row

Z = 1.96
"""Of a confidence of 95 %."""

HEALTHY = Fault(
    name="none",
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
the lab of Incus hosts while requests flow, with random parameters. Written by
`.venv/bin/python -m tests.game_day accuracy`; INVALID runs, in which the fault was not proved to be there, are counted
apart.
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


def summary(rows: Sequence[Row]) -> str:
    """Return the measurement in one sentence."""
    valid = [row for row in rows if not row.invalid]
    right = sum(bool(row.right) for row in valid)
    low, high = wilson(right, len(valid))
    times = [row.seconds_to_name for row in valid if row.seconds_to_name is not None]
    speed = (
        f"named in {statistics.median(times):.1f} s (median), {max(times):.1f} s (longest)" if times else "none named"
    )
    return (
        f"{right} of {len(valid)} right: {100 * right / max(len(valid), 1):.1f} %, 95 % confidence interval "
        f"{100 * low:.1f} to {100 * high:.1f} %; {len(rows) - len(valid)} invalid; {speed}."
    )


def matrix(rows: Sequence[Row]) -> str:
    """Return the confusion matrix as a table: a line for each fault, with what it was taken for and how often."""
    lines = ["| Fault | RabbitMQ | Runs | Right | Taken for |", "| --- | --- | --- | --- | --- |"]
    for fault, family in dict.fromkeys((row.fault, row.rabbitmq) for row in rows):
        these = [row for row in rows if (row.fault, row.rabbitmq) == (fault, family)]
        valid = [row for row in these if not row.invalid]
        named = Counter((row.cause or "nothing", bool(row.right)) for row in valid)
        cells = [f"{cause if right else f'**{cause}**'} {count}" for (cause, right), count in sorted(named.items())]
        invalid = [f"INVALID {len(these) - len(valid)}"] if len(valid) < len(these) else []
        right = sum(bool(row.right) for row in valid)
        lines.append(f"| {fault} | {family} | {len(valid)} | {right} | {', '.join(cells + invalid)} |")
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    """Return the whole page."""
    versions = sorted({f"RabbitMQ {row.versions.get('rabbitmq', '?')}" for row in rows if row.versions})
    dates = sorted({row.at[:10] for row in rows})
    when = f"Measured on {', '.join(dates)}; {', '.join(versions)}." if rows else "Not measured yet."
    wrong = [f"- {row.fault} ({row.rabbitmq}, seed {row.seed}): {_wrong(row)}" for row in rows if not row.right]
    parts = [HEADER, f"**{summary(rows)}**\n", f"{when}\n", matrix(rows) + "\n"]
    parts += ["## Wrong or invalid\n", "\n".join(wrong) + "\n"] if wrong else []
    return "\n".join(parts)


def _wrong(row: Row) -> str:
    return (
        f"INVALID: {row.invalid}" if row.invalid else f"{row.cause or 'nothing'} instead of {' or '.join(row.expected)}"
    )


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
