# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of an AMQP probe, for the module amqp_probe and for those that probe besides."""

from __future__ import annotations

from typing import Any

from ._amqp import Target
from ._deadline import check_durations
from ._errors import BadInput
from ._tls import tls, tls_arguments


def probe_arguments() -> dict[str, Any]:
    """Return the argument spec of one probe."""
    return {
        "login_host": {"type": "str", "default": "localhost"},
        "login_port": {"type": "int", "default": 5672},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "vhost": {"type": "str", "default": "/"},
        "tls": {"type": "bool", "default": False},
        "publish": {"type": "bool", "default": False},
        "timeout": {"type": "float", "default": 5.0},
        "slow_after": {"type": "float", "default": 1.0},
        **tls_arguments(),
    }


def probe_option() -> dict[str, Any]:
    """Return the argument spec of the option ``probe`` of a module that looks at a host."""
    options = {name: spec for name, spec in probe_arguments().items() if name != "publish"}
    return {"type": "dict", "options": options, "required_together": [("login_user", "login_password")]}


def target_of(params: dict[str, Any], publish: bool = False) -> Target:
    """Return what is to be probed; BadInput if the parameters make no sense."""
    check_durations(params, ["timeout"], ["slow_after"])
    if not 0 < params["login_port"] < 65536:
        raise BadInput(f"login_port is {params['login_port']}; a port is a number from 1 to 65535.")
    return Target(
        host=params["login_host"],
        port=params["login_port"],
        user=params["login_user"],
        password=params["login_password"],
        vhost=params["vhost"],
        tls=tls(params) if params["tls"] else None,
        publish=publish,
        timeout=params["timeout"],
        slow_after=params["slow_after"],
    )
