# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The password at the broker is a new one; a backend's container still has the old one in its environment."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means, workers
from tests.game_day.fault import EXTRA_VARS, Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Change it at the broker and in the operator's inventory, not in the containers; close what is connected."""
    password = f"rotated-{rng.getrandbits(64):016x}"
    user = lab.credentials["veza"]["user"]
    means.api(lab, "PUT", f"/api/users/{user}", {"password": password, "tags": ""})
    for host in (*means.BACKENDS, means.WORKERS):
        means.close_connections(lab, host)
    return {"user": user, EXTRA_VARS: {"veza_rabbitmq_password": password}}


def present(lab: IncusLab, params: Params) -> str | None:
    """No backend is connected, and the broker's log says why."""
    states = {backend: means.bus(lab, backend) for backend in means.BACKENDS}
    seen = workers.logged(lab, f"login refused: user '{params['user']}' - invalid credentials")
    if "connected" not in states.values() and seen:
        return f"the broker refused {seen} logins of {params['user']}; backends: {states}"
    return None


def heal(lab: IncusLab, params: Params) -> None:
    """Give the broker the old password back: the containers live on, and no secret needs to be spread."""
    means.api(lab, "PUT", f"/api/users/{params['user']}", {"password": lab.credentials["veza"]["password"], "tags": ""})


FAULT = Fault(
    name="rotated_password",
    title="The password was rotated, and the containers have the old one",
    source="LAB: rotated password",
    causes=frozenset({"credentials_rotated"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    flags=("-e", "outage_recover_allow_backend_recreate=true"),
    may_change=frozenset({"backend_restarted", "worker_restarted"}),
)
