# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A representative part of the fault catalogue; ``make game-day`` runs all of it.

One that the recovery mends; and, of those that take long, one of the broker's resources and one of the way to it.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.game_day.fault import catalogue
from tests.game_day.ground import LabGround
from tests.game_day.run import Run
from tests.lab.incus.lab import IncusLab

LONG = ("disk_alarm", "path_dropped")


@pytest.mark.parametrize("name", ["crash", *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_a_fault_is_named_mended_and_accounted_for(incus_lab: IncusLab, tmp_path: Path, name: str) -> None:
    seed = int(time.time())
    ground = LabGround(incus_lab, incus_lab.data["rabbitmq"], tmp_path, clean=True)
    row = Run(ground, catalogue()[name], seed, tell=print).go()
    assert row.harms() + row.shortfalls() == [], row.document()
    assert row.cause in row.expected
    assert row.present
    assert (row.second_changed, row.forbidden) == (0, [])
