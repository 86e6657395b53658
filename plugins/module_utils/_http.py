# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP with a deadline that holds.

``requests`` bounds the wait for each read, not for the whole answer, and nothing bounds name resolution: a server
that sends one byte a second, or a dead name server, would hold a module for minutes. Here every request runs in a
daemon thread that is given up at the deadline.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import time
import traceback
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import missing_required_lib

from ._deadline import within
from ._errors import RequestFailed, VezaError
from ._mask import scrub
from ._tls import Tls

try:
    import requests
    from requests.adapters import HTTPAdapter

    REQUESTS_IMPORT_ERROR = None
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()

MAX_BODY = 64 * 1024 * 1024
"""Bytes read of one answer: an endless body must not fill the controller's memory."""

PIECE = 64 * 1024
"""Bytes read at once."""

EXCERPT = 300
"""Characters of an unexpected body that a message quotes."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, whatever its status."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    elapsed: float
    """Seconds from the request to the last byte."""
    url: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What a message must not quote of it: a server may repeat what it was sent."""
    _parsed: list[Any] = field(default_factory=list, repr=False, compare=False)

    def json(self) -> Any:
        """Return the parsed body, or None if it is not JSON."""
        if not self._parsed:
            try:
                self._parsed.append(json.loads(self.body))
            except (ValueError, RecursionError):  # also brackets without end
                self._parsed.append(None)
        return self._parsed[0]

    def excerpt(self) -> str:
        """Return the start of the body, for a message."""
        # Without zeros UTF-16 reads as well.
        plain = self.body.replace(b"\0", b"").decode("utf-8", "replace")
        # Masked before it is cut: half a password is one that no mask finds.
        text = " ".join(str(scrub(plain, self.secrets)).split())
        return text[:EXCERPT] + ("…" if len(text) > EXCERPT else "")


class HttpClient:
    """Kept-alive connections to one server.

    ``base_url`` has no credentials and no trailing slash. ``timeout`` (seconds) bounds each request as a whole,
    ``max_body`` the bytes of an answer. Several threads may ask at a time: each then has a connection of its own.
    Redirects are not followed: credentials must not travel to another server.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
        tls: Tls | None = None,
        timeout: float = 5.0,
        max_body: int = MAX_BODY,
    ) -> None:
        if REQUESTS_IMPORT_ERROR is not None:
            raise VezaError(missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self._max_body = max_body
        self._auth = auth
        self._headers = headers or {}
        self._tls = tls or Tls()
        self._session = self._new_session()
        self._addresses = 0

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        # Neither proxies nor .netrc: what is asked and with which password is for the inventory alone to say.
        session.trust_env = False
        session.verify = self._tls.verify()
        session.cert = self._tls.cert()
        if self._auth is not None:
            # Encoded here, because requests would encode as latin-1 and fail on other characters.
            session.auth = tuple(part.encode() for part in self._auth)  # type: ignore[assignment]
        session.headers.update(self._headers)
        adapter = HTTPAdapter(max_retries=0)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        json_body: Any = None,
        timeout: float | None = None,
    ) -> Reply:
        """Send one request; return the answer of any status, or raise RequestFailed.

        ``path`` begins with a slash and is already percent-encoded.
        """
        limit = self.timeout if timeout is None else min(timeout, self.timeout)
        url = self.base_url + path
        session = self._session

        began = time.monotonic()

        def call() -> Reply:
            wait = (limit / self._shares(), limit)
            with session.request(
                method, url, params=params, json=json_body, timeout=wait, allow_redirects=False, stream=True
            ) as response:
                body = self._body(response, f"{method} {url}")
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, headers, body, time.monotonic() - began, url, self._secrets())

        try:
            return within(limit, call, lambda: self._timed_out(method, url, limit))
        except (requests.RequestException, OSError, ValueError) as error:
            raise failure_of(error, method, url) from error
        except Exception as error:  # urllib3's own errors escape while a body is read
            if isinstance(error, VezaError):
                raise
            raise failure_of(error, method, url) from error

    def _secrets(self) -> tuple[str, ...]:
        shown = [value.partition(" ")[2] for name, value in self._headers.items() if name.lower() == "authorization"]
        if self._auth is not None:
            shown += [self._auth[1], base64.b64encode(":".join(self._auth).encode()).decode()]
        return tuple(shown)

    def _shares(self) -> int:
        """Return how many addresses the server's name has: none may use up the time of those after it."""
        if not self._addresses:
            try:
                parts = urlsplit(self.base_url)
                found = socket.getaddrinfo(parts.hostname, parts.port or parts.scheme, type=socket.SOCK_STREAM)
                self._addresses = len({address for *_kind, address in found})
            except ValueError:
                return 1  # the request itself says so
        return max(self._addresses, 1)

    def _body(self, response: requests.Response, asked: str) -> bytes:
        body = bytearray()
        # In pieces: a small answer that unpacks to an endless one must not do so either.
        for piece in response.raw.stream(PIECE, decode_content=True):
            body += piece
            if len(body) > self._max_body:
                raise RequestFailed("not_http", f"{asked}: the answer is larger than {self._max_body} bytes.")
        return bytes(body)

    def _timed_out(self, method: str, url: str, limit: float) -> RequestFailed:
        # The abandoned thread still holds the old connection.
        self._session = self._new_session()
        return RequestFailed("timed_out", f"{method} {url}: no complete answer within {round(limit, 1):g} s.")

    def get(self, path: str, *, params: Any = None, timeout: float | None = None) -> Reply:
        """Send a GET; see request()."""
        return self.request("GET", path, params=params, timeout=timeout)


# What of that text is the question, not the answer: a queue may be called lossless_jobs.
_ASKED = re.compile(r"host=\\*'[^']*'|with url: \S+|resolve \\*'[^']*'")

# Found in the text of an error, or of what caused it; the first that matches wins.
_OUTCOMES = (
    (
        ("gaierror", "name or service not known", "nameresolution", "temporary failure in name", "getaddrinfo"),
        "name_not_resolved",
    ),
    (("timed out", "timeout"), "timed_out"),
    (("wrong_version_number", "ssl", "certificate", "tls"), "tls_failed"),
    (("connection refused",), "refused"),
    (("reset by peer", "broken pipe", "remotedisconnected", "connection aborted", "incompleteread"), "reset"),
    (("no route", "network is unreachable"), "unreachable"),
)

_SENTENCES = {
    "name_not_resolved": "the name can't be resolved",
    "timed_out": "no answer in time",
    "tls_failed": "TLS failed",
    "refused": "connection refused: nothing listens there",
    "reset": "the connection was closed in the middle of the answer",
    "unreachable": "no route to it",
    "not_http": "the answer is not HTTP",
}


def failure_of(error: BaseException, method: str, url: str) -> RequestFailed:
    """Put a client library's error into one of our outcomes."""
    if isinstance(error, (requests.exceptions.InvalidURL, UnicodeError)):
        return RequestFailed("name_not_resolved", f"{method} {url}: that is no address that can be asked ({error}).")
    text = _ASKED.sub("", repr(error)).lower()
    outcome = next((name for needles, name in _OUTCOMES if any(needle in text for needle in needles)), "not_http")
    why = _of_tls(error) if outcome == "tls_failed" else type(error).__name__
    return RequestFailed(outcome, f"{method} {url}: {_SENTENCES[outcome]} ({why}).")


def _of_tls(error: BaseException) -> str:
    """Return what the TLS library says, or which of our files can't be used."""
    inner: Any = error
    while inner is not None:
        if isinstance(inner, ssl.SSLError):
            return str(getattr(inner, "verify_message", "") or inner.reason or type(inner).__name__)
        # requests and urllib3 wrap the one into the other.
        inner = next((one for one in [*getattr(inner, "args", ()), getattr(inner, "reason", None), inner.__cause__,
                                      inner.__context__] if isinstance(one, BaseException)), None)  # fmt: skip
    return type(error).__name__ if isinstance(error, requests.RequestException) else str(error)
