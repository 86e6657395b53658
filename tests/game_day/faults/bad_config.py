# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody deploys a configuration that the broker refuses, and restarts it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

FILE = "/etc/rabbitmq/rabbitmq.conf"
ADVANCED = "/etc/rabbitmq/advanced.config"

WRONG = {
    "advanced": (
        "[{{rabbit, [{{heartbeat, 60}}] {{{typo}}}].",
        "failed_to_read_advanced_configuration_file|syntax error before",
    ),
    "unknown key": ("{typo} = 50MB", "Conf file attempted to set unknown variable"),
    "syntax": ("disk_free_limit.absolute 50MB {typo}", "Syntax error in /etc/rabbitmq/rabbitmq.conf after line"),
    "value": ("heartbeat = {typo}", "failed_to_prepare_configuration|Error (preparing|generating) configuration"),
}
"""What is wrong -> a line that has it, and what the broker then says."""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Add the line to the file that is there, or make the other one of it; then restart."""
    params = {"wrong": rng.choice(sorted(WRONG)), "typo": rng.choice(("disk_free_limit.absolut", "ten", "disk_limit"))}
    line = WRONG[params["wrong"]][0].format(typo=params["typo"])
    file = ADVANCED if params["wrong"] == "advanced" else FILE
    script = f"systemctl stop {means.UNIT}; cp -p {FILE} {FILE}.game-day; echo '{line}' >>{file}"
    means.shell(lab, means.BROKER, script, timeout=90)
    means.begin_boot(lab)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker does not boot, and says why."""
    return means.boot_failure(lab, WRONG[params["wrong"]][1])


def heal(lab: IncusLab, _params: Params) -> None:
    """Put the file back; there was no other."""
    means.shell(lab, means.BROKER, f"rm -f {ADVANCED}")
    means.put_back(lab, means.BROKER, FILE)
    means.mend_boot(lab)


FAULT = Fault(
    name="bad_config",
    title="The broker refuses its configuration and cannot boot",
    source="LAB: boot failure (bad config)",
    causes=frozenset({"configuration_broken"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_restore_boot=true"),
    may_change=frozenset({"configuration_changed"}),
)
