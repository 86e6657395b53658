# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another process has a port of the broker: it cannot boot."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

SQUATTER = "game-day-squatter"


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """While the broker is down for a moment, have another program listen; then start the broker."""
    params = {"port": rng.choice((5672, 15672, 25672))}
    lab.on(means.BROKER, "systemctl", "stop", means.UNIT, check=True, timeout=90)
    # On all addresses of both families, as the broker's own listeners; it accepts nothing.
    listen = (
        f"import socket, time; s = socket.create_server(('', {params['port']}), family=socket.AF_INET6,"
        " dualstack_ipv6=True); time.sleep(86400)"
    )
    lab.on(means.BROKER, "systemd-run", "-q", f"--unit={SQUATTER}", "python3", "-c", listen, check=True)
    means.until(lambda: _owner(lab, params) or None, 10)
    means.begin_boot(lab)
    return params


def _owner(lab: IncusLab, params: Params) -> str:
    """Return who listens, as ss prints it."""
    return means.shell(lab, means.BROKER, f"ss -Hltnp 'sport = {params['port']}'").strip()


def present(lab: IncusLab, params: Params) -> str | None:
    """The port has a listener that is not the broker, and the broker does not boot and says why."""
    state = means.unit(lab)
    owner = _owner(lab, params)
    if not owner or "beam" in owner or state["ActiveState"] == "active" or int(state["NRestarts"]) == 0:
        return None
    said = f"could_not_start_listener.*{params['port']}|could not bind to distribution port|dist_port_already_used"
    line = means.log_line(lab, said)
    return f"port {params['port']}: {' '.join(owner.split()[-1:])}; the broker: {line}" if line else None


def heal(lab: IncusLab, _params: Params) -> None:
    """End the other program."""
    lab.on(means.BROKER, "systemctl", "stop", SQUATTER, check=False, timeout=30)
    means.mend_boot(lab)


FAULT = Fault(
    name="port_taken",
    title="Another process has the broker's port: it cannot boot",
    source="LAB: boot failure (port taken)",
    causes=frozenset({"port_taken"}),
    inject=inject,
    present=present,
    heal=heal,
)
