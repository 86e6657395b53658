# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An AMQP probe from inside a container, with the login in the container's own environment."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from ._amqp import Target, probe
from ._containers import Login, login_of
from ._deadline import within
from ._namespaces import NoEntry, Visit
from ._tls import Tls

VARIABLE = "AMQP_URL"


def target_inside(login: Login, like: Target, trust: Tls) -> Target:
    """Return the target that the container's own login names; how long is as in ``like``, how strict is ``trust``."""
    return replace(
        like,
        host=login.host,
        port=login.port,
        user=login.user,
        password=login.password,
        vhost=login.vhost,
        tls=trust if login.tls else None,
    )


def begin(document: dict[str, Any], variable: str, like: Target, trust: Tls) -> Visit | None:
    """Begin the probe from inside a container (``docker inspect``); None where it has no login or does not run.

    NoEntry when it can't be entered. Several can be under way at once.
    """
    login = login_of(environment(document), variable)
    pid = (document.get("State") or {}).get("Pid")
    if login is None or not pid:
        return None
    return visit(pid, target_inside(login, like, trust))


def visit(pid: int, target: Target) -> Visit:
    """Begin a probe as a process sees the network; NoEntry when its namespaces can't be entered.

    The certificates' files are this host's, and so are read before.
    """
    late = NoEntry("the certificate files of this host could not be read in time")
    try:
        if tls := target.tls:
            within(target.timeout, lambda: tls.context, lambda: late)
    except (OSError, ValueError) as error:
        raise NoEntry(f"a certificate file of this host can't be used: {error}") from None
    return Visit(pid, lambda: asdict(probe(target)), target.timeout)


def environment(document: dict[str, Any]) -> list[str]:
    """Return the environment of a container; it holds secrets."""
    return [str(entry) for entry in (document.get("Config") or {}).get("Env") or []]


__all__ = ["VARIABLE", "NoEntry", "begin", "environment", "target_inside", "visit"]
