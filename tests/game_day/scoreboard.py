# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scoreboard: rows by fault and family of RabbitMQ, as Markdown for people and JSON for programs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .fault import Fault
from .result import Row

HEADINGS = (
    "Fault",
    "RabbitMQ",
    "Cause named",
    "Right?",
    "Named in",
    "Serving in",
    "Drained in",
    "Missing",
    "Doubled",
    "Listed as lost",
    "Changed on second run",
    "Forbidden actions",
    "Mended by",
    "Run on",
)

# In two parts, so that this file has its licence line once.
_LICENCE = "SPDX-License-Identifier" + ": GPL-3.0-or-later"

HEADER = f"""\
<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{_LICENCE}
-->

# The scoreboard

What `recover_rabbitmq` is worth against each fault of the catalogue (`tests/game_day/faults/`), made for real on the
lab of Incus hosts while requests flow. Written by `make game-day`; each row is of the run that it names. **A row that
is wrong says so**: this is the measure of what the diagnosis and the remedies have yet to learn.
"""

LEGEND = """\
- *Right?* Whether the cause is one that the fault may rightly be taken for. *Named in*: from the start of
  `diagnose_rabbitmq`.
- *Serving in*, *drained in*: from the start of `recover_rabbitmq` until, seen from outside, a publish was confirmed and
  each backend was connected; until each queue had a consumer and nothing ready. Where no remedy exists yet, the
  catalogue's own healing is in that time (*mended by* human), and the audit was run by hand, as the advice says.
- *Missing*, *doubled*, *listed as lost*: the ledger's figures, which share nothing with what they judge.
- INVALID: the fault was not proved to be there, or its end could not be read; such a run shows nothing.
"""


def merged(old: Iterable[Row], new: Iterable[Row], faults: Sequence[Fault]) -> list[Row]:
    """Return the rows with the new ones in place, in the catalogue's order; those of removed faults are dropped."""
    rows = {row.key: row for row in [*old, *new]}
    keys = [(fault.name, version) for fault in faults for version in fault.versions]
    return [rows[key] for key in keys if key in rows]


def never_run(rows: Iterable[Row], faults: Sequence[Fault]) -> list[str]:
    """Return the faults that have no row yet, with their families."""
    done = {row.key for row in rows}
    return [f"{fault.name} ({v})" for fault in faults for v in fault.versions if (fault.name, v) not in done]


def cells(row: Row) -> tuple[str, ...]:
    """Return one line of the table, in the order of ``HEADINGS``."""
    verdict = {True: "right", False: "**WRONG**", None: "-"}[row.right]
    ledger = ("-",) * 3 if row.invalid else (str(len(row.missing)), str(len(row.doubled)), _number(row.listed))
    return (
        row.fault,
        row.versions.get("rabbitmq", row.rabbitmq),
        row.cause or "-",
        "**INVALID**" if row.invalid else verdict,
        _seconds(row.seconds_to_name),
        _seconds(row.seconds_to_serving),
        _seconds(row.seconds_to_drained),
        *ledger,
        _number(row.second_changed),
        "; ".join(row.forbidden) or ("-" if row.invalid else "none"),
        row.mended_by or "-",
        row.at[:10],
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def table(rows: Iterable[Row]) -> str:
    """Return the table in Markdown, its columns aligned, so that it reads on a terminal too."""
    lines = [HEADINGS, *(tuple(cell.replace("|", "/") for cell in cells(row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def tally(rows: Sequence[Row]) -> str:
    """Return the scoreboard in one sentence."""
    valid = [row for row in rows if not row.invalid]
    return (
        f"{len(rows)} runs: {sum(row.right is True for row in valid)} causes right, "
        f"{sum(row.right is False for row in valid)} wrong, {len(rows) - len(valid)} invalid; "
        f"mended by recover {sum(row.mended_by == 'recover' for row in valid)}, "
        f"by a human {sum(row.mended_by == 'human' for row in valid)}; "
        f"{sum(bool(row.harms()) for row in valid)} with a forbidden action, a wrong ledger or a busy second run."
    )


def findings(rows: Iterable[Row]) -> list[str]:
    """Return a line for each row in which something is wrong."""
    return [
        f"{row.fault} ({row.rabbitmq}): {'; '.join(wrong)}" for row in rows if (wrong := row.harms() + row.shortfalls())
    ]


def markdown(rows: Sequence[Row], faults: Sequence[Fault]) -> str:
    """Return the whole page."""
    took_part = sorted({versions(row) for row in rows if row.versions})
    wrong, missing = findings(rows), never_run(rows, faults)
    parts = [
        HEADER,
        wrapped(tally(rows)) + "\n",
        wrapped("Versions: " + ("; ".join(took_part) or "none") + ".") + "\n",
        table(rows) + "\n",
        LEGEND,
        *(["## What is wrong\n", "\n".join(wrapped(f"- {line}", "  ") for line in wrong) + "\n"] if wrong else []),
        *(["## Not run yet\n", wrapped(", ".join(missing) + ".") + "\n"] if missing else []),
        "## The faults\n",
        "\n".join(wrapped(f"- {fault.name}: {fault.title} ({fault.source})", "  ") for fault in faults) + "\n",
    ]
    return "\n".join(parts)


def wrapped(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most 120 characters; ``indent`` begins all but the first."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def versions(row: Row) -> str:
    """Return the versions of what took part in a run, for a person."""
    names = (("rabbitmq", "RabbitMQ"), ("ansible_core", "ansible-core"), ("collection", "veza.rabbitmq"))
    return ", ".join(f"{label} {row.versions.get(name, '?')}" for name, label in names)


def read(directory: Path) -> list[Row]:
    """Return the rows of the scoreboard in a directory; none when there is no scoreboard."""
    path = directory / "scoreboard.json"
    return [Row.read(row) for row in json.loads(path.read_text())["rows"]] if path.exists() else []


def write(directory: Path, rows: Iterable[Row], faults: Sequence[Fault]) -> list[Row]:
    """Put new rows into the scoreboard in a directory; return all that stand in it now."""
    with alone(directory):
        return _write(directory, merged(read(directory), rows, faults), faults)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold a lock on the directory: two game days may end at the same moment."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(directory: Path, every: list[Row], faults: Sequence[Fault]) -> list[Row]:
    document = {"tally": tally(every), "rows": [row.document() for row in every]}
    (directory / "scoreboard.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    (directory / "scoreboard.md").write_text(markdown(every, faults))
    return every
