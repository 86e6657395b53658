# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application's user may log in from the broker's own host alone: right name, right password, no login."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

REFUSED = "can only connect via localhost"


def _loopback(lab: IncusLab, *users: str) -> None:
    names = ", ".join(f'<<"{user}">>' for user in users)
    means.evaluate(lab, f"application:set_env(rabbit, loopback_users, [{names}]).")


def inject(lab: IncusLab, _rng: random.Random) -> Params:
    """Make it a loopback user, and have everybody log in anew."""
    user = lab.credentials["veza"]["user"]
    _loopback(lab, "guest", user)
    for host in (*means.BACKENDS, means.WORKERS):
        means.close_connections(lab, host)
    return {"user": user}


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker refuses the user again and again, for that."""
    times = workers.logged(lab, f"'{params['user']}' {REFUSED}")
    return f"{times} times {params['user']} was refused, who {REFUSED}" if times >= 2 else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Take it out again; what is not connected tries again by itself."""
    _loopback(lab, "guest")


FAULT = Fault(
    name="login_from_localhost",
    title="The application's user may log in from the broker's own host alone",
    source="loopback_users",
    causes=frozenset({"login_from_localhost_only"}),
    inject=inject,
    present=present,
    heal=heal,
)
