# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that several modules share; the doc fragments describe them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from ._errors import BadInput
from ._http import HttpClient
from ._text import is_text
from ._tls import tls, tls_arguments

MAX_DOCUMENT = 16 * 1024 * 1024
"""Bytes of one document of the broker; it must also be parsed within the deadline."""

PLAIN = {"Accept-Encoding": "identity"}
"""To pack and unpack so little takes longer than to send it."""


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

    ``timeout`` bounds each request (seconds). BadInput when they name nothing that can be asked.
    """
    host, found = params["login_host"], []
    if not host or re.search(r"[/@\s?#]", host) or host.count(":") == 1:
        found.append("login_host must be a name or an address, without protocol, port, user and path")
    if not 0 < params["login_port"] < 65536:
        found.append(f"login_port is {params['login_port']}; a port is a number from 1 to 65535")
    found += [f"{name} has a character that is none" for name in ("login_user", "login_password", "vhost")
              if not is_text(params[name])]  # fmt: skip
    if found:
        raise BadInput("; ".join(found) + ".")
    return HttpClient(
        url(params["login_protocol"], params["login_host"], params["login_port"]),
        auth=(params["login_user"], params["login_password"]),
        headers=PLAIN,
        tls=tls(params),
        timeout=timeout,
        max_body=MAX_DOCUMENT,
    )


def url(protocol: str, host: str, port: int) -> str:
    """Return the URL of a server; an IPv6 address gets its brackets."""
    return (
        f"{protocol}://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{protocol}://{host}:{port}"
    )


def segment(name: str) -> str:
    """Return a vhost's or queue's name as one segment of a URL's path (``/veza`` becomes ``%2Fveza``)."""
    if name in (".", ".."):
        raise BadInput(f"'{name}' is the name of nothing that can be asked for: in a URL it is a step of the path.")
    return quote(name, safe="")
