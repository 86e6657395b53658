# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restart after somebody's change: systemd or the start script can't run the broker, which has no chance to log."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

ENVIRONMENT = "/etc/rabbitmq/rabbitmq-env.conf"
PROGRAM = "$(readlink -f /usr/bin/erl)"

DROP_INS = {
    "program": "[Service]\nExecStart=\nExecStart=/usr/sbin/rabbitmq-srv\n",
    "user": "[Service]\nUser=rabbit\n",
    "before": "[Service]\nExecStartPre=/bin/false\n",
    "environment file": "[Service]\nEnvironmentFile=/etc/default/rabbitmq-gone\n",
}
SCRIPTS = {
    "start script": f"cp -p {ENVIRONMENT} {ENVIRONMENT}.game-day; echo 'NODENAME=(rabbit' >>{ENVIRONMENT}",
    "erlang": f"chmod -x {PROGRAM}",
}


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Break what is run before the broker itself, and restart or stop and start it."""
    params = {"broken": rng.choice((*DROP_INS, *SCRIPTS))}
    if params["broken"] in DROP_INS:
        means.drop_in(lab, DROP_INS[params["broken"]])
    means.shell(lab, means.BROKER, f"systemctl stop {means.UNIT}", timeout=90)
    means.shell(lab, means.BROKER, SCRIPTS.get(params["broken"], "true"))
    means.begin_boot(lab)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """systemd has tried, and nobody listens."""
    state = means.unit(lab)
    tried = state["ActiveState"] == "failed" or int(state["NRestarts"]) > 0
    if not tried or means.hello(lab) != "refused":
        return None
    return f"{state['ActiveState']} ({state['Result']}), status {state['ExecMainStatus']}"


def heal(lab: IncusLab, _params: Params) -> None:
    """Undo it, and start the broker."""
    means.remove_drop_in(lab)
    means.put_back(lab, means.BROKER, ENVIRONMENT)
    means.shell(lab, means.BROKER, f"chmod +x {PROGRAM}")
    means.mend_boot(lab)


FAULT = Fault(
    name="start_fails",
    title="The broker can't even be started",
    source="written down nowhere: unit, user, start script or program broken",
    causes=frozenset({"broker_start_fails"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=60.0,
)
