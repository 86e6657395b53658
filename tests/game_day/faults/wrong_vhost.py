# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backend or a worker is deployed with another virtual host, which is there and lets it in: all lights are green."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.game_day import means, workers
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

ALL = {"configure": ".*", "write": ".*", "read": ".*"}


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Let the application's user into the default virtual host, and send one of its containers there."""
    host = rng.choice((means.BACKENDS[0], means.WORKERS))
    service = workers.service(rng.choice(means.KINDS)) if host == means.WORKERS else "api"
    login = lab.credentials["veza"]
    means.api(lab, "PUT", f"/api/permissions/%2F/{login['user']}", ALL)
    url = f"amqp://{login['user']}:{quote(login['password'], safe='')}@rabbitmq.lxd:5672/%2F"
    workers.change(lab, service, {"environment": {"AMQP_URL": url}}, host)
    return {"host": host, "service": service}


def present(lab: IncusLab, params: Params) -> str | None:
    """Its process runs with that address."""
    container = means.container(lab, params["host"], params["service"])
    ours = [text for text in container["Config"]["Env"] if text.startswith("AMQP_URL=") and text.endswith("/%2F")]
    running = container["State"]["Status"] in ("running", "restarting")
    return f"{params['service']} on {params['host']} was made with the vhost /" if ours and running else None


def heal(lab: IncusLab, params: Params) -> None:
    """Deploy it as it was."""
    workers.restore(lab, params["service"], params["host"])


FAULT = Fault(
    name="wrong_vhost",
    title="A container uses another virtual host",
    source="a deploy with the wrong vhost",
    causes=frozenset({"backend_wrong_vhost", "worker_wrong_vhost"}),
    inject=inject,
    present=present,
    heal=heal,
)
