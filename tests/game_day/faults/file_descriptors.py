# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody opens connections until the broker has no file descriptors left."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pika

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

_OPEN: list[pika.BlockingConnection] = []
"""The connections of this process; the broker ends those of one that was killed."""


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Allow it few files, as a unit without LimitNOFILE does; then leak connections as a broken release does."""
    params = {"limit": rng.randrange(180, 260)}
    _close()
    means.drop_in(lab, f"[Service]\nLimitNOFILE={params['limit']}\n")
    means.restart_broker(lab)
    parameters = pika.URLParameters(lab.urls["amqp"])
    parameters.heartbeat, parameters.connection_attempts = 0, 1
    parameters.socket_timeout = parameters.stack_timeout = 4
    with contextlib.suppress(Exception):  # the last one
        for _number in range(params["limit"]):
            _OPEN.append(pika.BlockingConnection(parameters))
    params["opened"] = len(_OPEN)
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """Its files are used up, and nobody gets in any more. Before 4.0 it says so while some are left to itself."""
    pid = means.beam(lab)
    count = int(means.shell(lab, means.BROKER, f"ls /proc/{pid}/fd | wc -l"))
    greeting = means.hello(lab)
    alarm = means.log_line(lab, "file descriptor limit alarm set")
    if (alarm or count >= 0.9 * params["limit"]) and greeting != "start":
        said = f", and its log says: {alarm}" if alarm else ""
        return f"{count} files of {params['limit']} are open; a new connection gets '{greeting}'{said}"
    return None


def _close() -> None:
    while _OPEN:
        with contextlib.suppress(Exception):  # its broker is gone
            _OPEN.pop().close()


def heal(lab: IncusLab, _params: Params) -> None:
    """End the leak, and allow as many files as before; the limit takes a restart."""
    _close()
    means.remove_drop_in(lab)
    means.restart_broker(lab)


FAULT = Fault(
    name="file_descriptors",
    title="The broker has no file descriptors left",
    source="issue 3: file descriptors exhausted",
    causes=frozenset({"file_descriptors_exhausted"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=60.0,
)
