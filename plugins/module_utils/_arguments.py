# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that several modules share; the doc fragments describe them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ._http import HttpClient
from ._tls import tls, tls_arguments


def management_arguments() -> dict[str, Any]:
    """Argument spec of the doc fragment ``_management``."""
    return {
        "login_user": {"type": "str", "default": "guest"},
        "login_password": {"type": "str", "default": "guest", "no_log": True},
        "login_host": {"type": "str", "default": "localhost"},
        "login_port": {"type": "int", "default": 15672},
        "login_protocol": {"type": "str", "choices": ["http", "https"], "default": "http"},
        "vhost": {"type": "str", "default": "/"},
        **tls_arguments(),
    }


def management_client(params: dict[str, Any], timeout: float) -> HttpClient:
    """Return a client of the management API that management_arguments() names; nothing is sent yet.

    ``timeout`` bounds each request (seconds).
    """
    host = params["login_host"]
    if ":" in host and not host.startswith("["):  # an IPv6 address
        host = f"[{host}]"
    return HttpClient(
        f"{params['login_protocol']}://{host}:{params['login_port']}",
        auth=(params["login_user"], params["login_password"]),
        tls=tls(params),
        timeout=timeout,
    )


def segment(name: str) -> str:
    """Return a vhost's or queue's name as one segment of a URL's path (``/veza`` becomes ``%2Fveza``)."""
    return quote(name, safe="")
