# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The causes that faults may be taken for, and that the diagnosis is yet to learn.

One vocabulary: a fault names causes of roles/outage_diagnose/causes, or of this table. A unit test takes care that no
name stands in both; who teaches the diagnosis a cause removes it here.
"""

from __future__ import annotations

from pathlib import Path

KNOWN_IN = Path(__file__).resolve().parents[2] / "roles" / "outage_diagnose" / "causes"

WANTED: dict[str, str] = {}
"""Name -> what it says."""


def known() -> frozenset[str]:
    """Return the causes that the diagnosis can name today."""
    return frozenset(path.stem for path in KNOWN_IN.glob("*.yml"))
