# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Definitions that the broker is to load as it boots are gone, or no JSON."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


FILE = "/etc/rabbitmq/rabbitmq.conf"
DEFINITIONS = "/etc/rabbitmq/definitions.json"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Name a file that is missing, cut short or not the broker's to read, and restart."""
    params = {"definitions": rng.choice(("missing", "cut short", "unreadable"))}
    content = {"missing": "", "cut short": '{"vhosts": [{"na', "unreadable": "{}"}[params["definitions"]]
    make = f"printf %s '{content}' >{DEFINITIONS}; " if content else ""
    if params["definitions"] == "unreadable":
        make += f"chown root:root {DEFINITIONS}; chmod 0600 {DEFINITIONS}; "
    script = f"systemctl stop {means.UNIT}; cp -p {FILE} {FILE}.game-day; {make}"
    script += f"echo 'load_definitions = {DEFINITIONS}' >>{FILE}"
    means.shell(lab, means.BROKER, script, timeout=90)
    means.begin_boot(lab)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The broker does not boot, and names the file or the definitions."""
    return means.boot_failure(lab, f"{DEFINITIONS}|definitions")


def heal(lab: IncusLab, _params: Params) -> None:
    """Put the configuration back."""
    means.put_back(lab, means.BROKER, FILE)
    means.mend_boot(lab)


FAULT = Fault(
    name="bad_definitions",
    title="The broker can't load its definitions and can't boot",
    source="written down nowhere: load_definitions",
    causes=frozenset({"boot_failed", "configuration_broken"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=60.0,
)
