# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker boots with an empty data directory: its disk is not mounted, or somebody moved it away."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

AWAY = "/var/tmp/rabbitmq.game-day"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Stop it, move the data away, start it."""
    params = {"moved": rng.choice(("mnesia", f"mnesia/{lab.data['node']}"))}
    source = f"{means.DATA}/{params['moved']}"
    script = f"systemctl stop {means.UNIT}; mkdir -p {AWAY}; mv {source} {AWAY}/; systemctl start {means.UNIT}"
    means.shell(lab, means.BROKER, script, timeout=240)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """It serves AMQP and knows none of Veza's queues."""
    queues = means.evaluate(lab, "length(rabbit_amqqueue:list()).")
    return f"it serves, and has {queues} queues" if queues == "0" and means.hello(lab) == "start" else None


def heal(lab: IncusLab, params: Params) -> None:
    """Put the data back."""
    name = params["moved"]
    if not means.shell(lab, means.BROKER, f"ls {AWAY} 2>/dev/null || true").strip():
        return
    target = f"{means.DATA}/{name}"
    script = f"systemctl stop {means.UNIT}; rm -rf {target}; mv {AWAY}/{name.rpartition('/')[2]} {target}"
    means.shell(lab, means.BROKER, script, timeout=120)
    means.start_broker(lab)


FAULT = Fault(
    name="data_emptied",
    title="The broker's data directory is empty, and it boots all the same",
    source="written down nowhere: a disk that is not mounted",
    causes=frozenset({"data_lost"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=60.0,
)
