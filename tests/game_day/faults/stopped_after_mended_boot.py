# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody mended a configuration, and stops the broker later: what the failed boots wrote is history by then."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

from . import bad_config, stopped

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Let it fail to boot, mend that, then stop it."""
    failed = bad_config.inject(lab, rng)
    proof = means.until(lambda: bad_config.present(lab, failed), 45.0)
    bad_config.heal(lab, failed)
    return {**failed, "failed": proof, **stopped.inject(lab, rng)}


def present(lab: IncusLab, params: Params) -> str | None:
    """It is stopped in order, and its logs still tell of the boots that failed."""
    return stopped.present(lab, params) if params["failed"] else None


FAULT = Fault(
    name="stopped_after_mended_boot",
    title="Somebody stopped a broker whose configuration had been broken, and was mended, before",
    source="found on a real host: old failures were taken for the cause",
    causes=stopped.FAULT.causes,
    inject=inject,
    present=present,
    heal=stopped.heal,
    recovers=True,
    flags=stopped.FAULT.flags,
)
