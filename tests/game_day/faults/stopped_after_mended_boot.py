# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody mended a configuration, and stops the broker later: what the failed boots wrote is history by then."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Params
from tests.game_day.faults import bad_config, stopped

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Let it fail to boot, mend that, then stop it."""
    failed = bad_config.inject(lab, rng)
    proof = means.until(lambda: bad_config.present(lab, failed), bad_config.FAULT.timeout)
    bad_config.heal(lab, failed)
    return {**failed, "failed": proof, **stopped.inject(lab, rng)}


def present(lab: IncusLab, params: Params) -> str | None:
    """It had failed to boot, and now it is stopped in order."""
    return stopped.present(lab, params) if params["failed"] else None


FAULT = replace(
    stopped.FAULT,
    name="stopped_after_mended_boot",
    title="Somebody stopped a broker whose configuration had been broken, and was mended, before",
    source="found on a real host: old failures were taken for the cause",
    inject=inject,
    present=present,
)
