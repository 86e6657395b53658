# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Permissions were changed: the login works, and what it does is refused."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


REFUSED = "caused a channel exception access_refused"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Take the right to write, or to read, from the application's user; it stays connected."""
    right = rng.choice(("write", "read"))
    rights = {"configure": ".*", "write": ".*", "read": ".*", right: "^$"}
    user = lab.credentials["veza"]["user"]
    _permit(lab, user, rights)
    for host in (*means.BACKENDS, means.WORKERS):
        means.close_connections(lab, host)
    return {"user": user, "right": right}


def _permit(lab: IncusLab, user: str, rights: Params) -> None:
    means.api(lab, "PUT", f"/api/permissions/{workers.VHOST}/{user}", rights)


def present(lab: IncusLab, params: Params) -> str | None:
    """The broker refuses the user again and again."""
    times = workers.logged(lab, f"{REFUSED}.*{params['right']} access|{REFUSED}.* refused for user")
    return f"{times} times {params['user']} was refused to {params['right']}" if times >= 2 else None


def heal(lab: IncusLab, params: Params) -> None:
    """Give it back; what is connected asks again by itself."""
    _permit(lab, params["user"], {"configure": ".*", "write": ".*", "read": ".*"})


FAULT = Fault(
    name="permission_lost",
    title="The application's user may log in, and may no longer publish or consume",
    source="written down nowhere: permissions changed",
    causes=frozenset({"permissions_missing"}),
    inject=inject,
    present=present,
    heal=heal,
)
