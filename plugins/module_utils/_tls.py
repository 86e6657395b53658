# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS options, for modules with and without ``requests``; the doc fragment ``_tls`` describes them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Tls:
    """How the server's certificate is checked, and which one we show."""

    validate: bool = True
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    def verify(self) -> bool | str:
        """Return the value that ``requests`` calls ``verify``."""
        return (self.ca_cert or True) if self.validate else False

    def cert(self) -> str | tuple[str, str] | None:
        """Return the value that ``requests`` calls ``cert``."""
        if self.client_cert and self.client_key:
            return (self.client_cert, self.client_key)
        return self.client_cert

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The same as a context of the standard library; OSError if a file is not what it should be.

        A file that is a pipe or lies on a dead file server may hold it up for ever.
        """
        context = ssl.create_default_context(cafile=self.ca_cert)
        if not self.validate:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert:
            # Without this OpenSSL asks the terminal for the pass phrase of an encrypted key, and waits.
            context.load_cert_chain(self.client_cert, self.client_key, password=lambda: "")
        return context


def tls_arguments() -> dict[str, Any]:
    """Argument spec of the doc fragment ``_tls``."""
    return {
        "ca_cert": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
    }


def tls(params: dict[str, Any]) -> Tls:
    """Return what tls_arguments() says."""
    return Tls(
        validate=params["validate_certs"],
        ca_cert=params["ca_cert"],
        client_cert=params["client_cert"],
        client_key=params["client_key"],
    )
