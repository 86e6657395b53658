# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host got another name: the broker boots as another node, empty, and looks healthy."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Rename the host as a provisioning tool does, its own lookup included; then restart the broker."""
    params = {"name": f"{rng.choice(('rabbitmq', 'mq', 'broker'))}-{rng.randrange(2, 1000)}"}
    means.shell(lab, means.BROKER, f"systemctl stop {means.UNIT}", timeout=90)
    _rename(lab, params["name"])
    means.start_broker(lab)
    return params


def _rename(lab: IncusLab, name: str) -> None:
    own = f"sed -i 's/^127.0.1.1 .*/127.0.1.1 {name}/' /etc/hosts"
    means.shell(lab, means.BROKER, f"{own}; echo {name} >/etc/hostname; hostname {name}")


def present(lab: IncusLab, _params: Params) -> str | None:
    """It serves AMQP under another name, knows no queue of Veza's, and the old node's data lie beside the new one's."""
    name = means.evaluate(lab, "node().").strip("'")
    look = f"find {means.DATA}/mnesia -maxdepth 1 -type d -name 'rabbit@*' ! -name '*-plugins-expand' -printf '%f\\n'"
    directories = sorted(means.shell(lab, means.BROKER, look).split())
    queues = means.evaluate(lab, "length(rabbit_amqqueue:list()).")
    if name != lab.data["node"] and len(directories) > 1 and queues == "0" and means.hello(lab) == "start":
        return f"{name} serves with {queues} queues; data of {', '.join(directories)}"
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Give the host its name back. The empty node's data stay: deleting is not what mends."""
    if means.shell(lab, means.BROKER, "hostname").strip() != means.BROKER:
        means.shell(lab, means.BROKER, f"systemctl stop {means.UNIT}", timeout=90)
        _rename(lab, means.BROKER)
    means.start_broker(lab)


FAULT = Fault(
    name="hostname_changed",
    title="The host's name has changed: an empty broker that looks healthy",
    source="hostname changed",
    causes=frozenset({"node_renamed"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=60.0,
)
