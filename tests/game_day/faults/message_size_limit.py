# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A limit to the size of a message was deployed that is too small: all is green, and publishes are refused."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


FILE = "/etc/rabbitmq/rabbitmq.conf"
REFUSED = "message size [0-9]+ is larger than"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Deploy the limit, and restart."""
    params = {"bytes": rng.randrange(10, 60)}
    script = f"cp -p {FILE} {FILE}.game-day; echo 'max_message_size = {params['bytes']}' >>{FILE}"
    means.shell(lab, means.BROKER, script)
    means.restart_broker(lab)
    return params


def present(lab: IncusLab, _params: Params) -> str | None:
    """The broker logs refusals, and answers AMQP."""
    times = workers.logged(lab, REFUSED)
    return f"{times} messages were refused as too large" if times >= 2 and means.hello(lab) == "start" else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Put the configuration back, and restart: the limit is read at the start alone."""
    means.put_back(lab, means.BROKER, FILE)
    means.restart_broker(lab)


FAULT = Fault(
    name="message_size_limit",
    title="The broker refuses each message as too large",
    source="written down nowhere: max_message_size",
    causes=frozenset({"message_too_large"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=60.0,
    mended=lambda lab, _params: not means.shell(lab, means.BROKER, f"grep max_message_size {FILE} || true"),
)
