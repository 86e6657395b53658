# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An upgrade whose new version requires feature flags that were never enabled: it refuses to boot on the old data."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

REQUIRED = ("stream_single_active_consumer", "classic_queue_type_delivery_support", "tracking_records_in_ets")
"""Flags that RabbitMQ 4.0 requires, and that Debian 12's 3.10 did not have or not enable."""


def _file(lab: IncusLab) -> str:
    return f"{means.DATA}/mnesia/{lab.data['node']}-feature_flags"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Leave the data as a version has them that knew nothing of some flags, and start the new version on them."""
    params: Params = {"flags": sorted(rng.sample(REQUIRED, rng.randrange(1, len(REQUIRED) + 1)))}
    script = f"systemctl stop {means.UNIT}; cp -a {_file(lab)} {_file(lab)}.game-day"
    script += "".join(f"; sed -i 's/{flag},\\?//' {_file(lab)}" for flag in params["flags"])
    means.shell(lab, means.BROKER, script, timeout=120)
    means.begin_boot(lab)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """It does not boot, and says why."""
    return means.boot_failure(lab, "required feature flag not enabled")


def heal(lab: IncusLab, _params: Params) -> None:
    """Put back what the flags were, as a downgrade with enable_feature_flag all would."""
    means.put_back(lab, means.BROKER, _file(lab))
    means.mend_boot(lab)


FAULT = Fault(
    name="upgrade_feature_flags",
    title="An upgraded broker refuses to boot: required feature flags were not enabled",
    source="issue 3: Debian's upgrade",
    causes=frozenset({"feature_flags_missing"}),
    inject=inject,
    present=present,
    heal=heal,
    versions=("4.0",),
)
