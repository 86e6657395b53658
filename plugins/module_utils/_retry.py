# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask again while that may help, never past the deadline; keep the token out of what is said."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any, Callable
from urllib.parse import urlsplit

from ._errors import BadInput, RequestFailed
from ._http import HttpClient, Reply
from ._mask import MASK, forms, scrub

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 8.0
SHORTEST_REMAINDER = 0.2
"""With less than this many seconds left, another attempt can't succeed."""

HEALS_BY_ITSELF = frozenset({"name_not_resolved", "refused", "timed_out", "reset", "unreachable"})
"""Outcomes of RequestFailed that another attempt may mend; a bad certificate stays bad."""


@dataclass
class Pace:
    """How long to go on, and which clocks say so. One for each run of a module."""

    timeout: float
    """Seconds for everything together."""
    retries: int
    """Further attempts of one request after the first."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    """Seconds since the epoch: a server may name an instant to come back at."""
    sleep: Callable[[float], None] = time.sleep
    secrets: list[str] = field(default_factory=list)
    """Masked in every answer as it comes in: later it may be cut, and half a token is one that no mask finds."""
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = self.clock() + self.timeout

    def remaining(self) -> float:
        """Return the seconds that are left, or 0."""
        return max(self.deadline - self.clock(), 0.0)


@dataclass(frozen=True)
class Sent:
    """The last answer to a request, after how many attempts, and why there was no further one."""

    reply: Reply
    attempts: int
    gave_up: str = ""


def send(client: HttpClient, method: str, path: str, pace: Pace, params: Any = None) -> Sent:
    """Send a request that is harmless to repeat; return the last answer, of whatever status.

    Lost connections, 429 and 5xx are tried again. A wait that the server asks for is kept in full or, if it would
    outlast the deadline, not begun. Raises RequestFailed, with the number of attempts, if there was never an answer.
    """
    attempts = 0
    while True:
        attempts += 1
        sent: Sent | None = None
        failure: RequestFailed | None = None
        try:
            reply = client.request(method, path, params=params, timeout=pace.remaining())
            sent = Sent(_masked(reply, pace.secrets), attempts)
        except RequestFailed as error:
            failure = error
            failure.details["attempts"] = attempts
        if not _worth_repeating(sent, failure):
            break
        asked = wait_asked_for(sent.reply.headers, pace.now()) if sent else None
        wait, gave_up = _next_wait(asked, attempts, pace)
        if wait is None:
            sent = Sent(sent.reply, attempts, gave_up) if sent else None
            break
        pace.sleep(wait)
    if sent is not None:
        return sent
    raise failure if failure is not None else AssertionError("every attempt ends in an answer or a failure")


def _worth_repeating(sent: Sent | None, failure: RequestFailed | None) -> bool:
    if sent is not None:
        return sent.reply.status == 429 or sent.reply.status >= 500
    return failure is not None and failure.outcome in HEALS_BY_ITSELF


def _next_wait(asked: float | None, attempts: int, pace: Pace) -> tuple[float | None, str]:
    """Return the seconds to wait before the next attempt, or None and why there is none."""
    remaining = pace.remaining()
    if attempts > pace.retries:
        return None, f"gave up after {attempts} attempts"
    if asked is not None and asked > remaining - SHORTEST_REMAINDER:
        return None, f"it asked to wait {asked:.0f} s, and the timeout leaves {remaining:.0f} s"
    if remaining < SHORTEST_REMAINDER:
        return None, f"the timeout of {pace.timeout:g} s is used up"
    if asked is not None:
        return asked, ""
    backoff = min(FIRST_BACKOFF * 2 ** (attempts - 1), LONGEST_BACKOFF)
    return min(backoff, remaining / 2), ""


def wait_asked_for(headers: dict[str, str], now: float) -> float | None:
    """Return the seconds that an answer asks to wait, or None if it doesn't say.

    ``Retry-After`` has two forms, seconds or a date; Sentry's own header names the instant of its next window.
    """
    after = headers.get("retry-after", "").strip()
    if after.isascii() and after.isdigit():  # a "²" is a digit, and no number
        return float(after)
    if after:
        try:
            return max(parsedate_to_datetime(after).timestamp() - now, 0.0)
        except (TypeError, ValueError, OverflowError):
            pass  # it says nothing that can be understood
    reset = headers.get("x-sentry-rate-limit-reset", "").strip()
    return max(float(reset) - now, 0.0) if reset.isascii() and reset.isdigit() else None


def bearer(token: str, option: str) -> dict[str, str]:
    """Return the header that shows ``token``; BadInput, naming the option, if no header can carry it."""
    token = token.strip()  # a token that was read from a file ends with a newline
    if not token:
        raise BadInput(f"{option} is empty.")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput(f"{option} has a character that an HTTP header can't carry: is it encrypted, or cut?")
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def checked_url(url: str, option: str) -> str:
    """Return a base URL without trailing slashes; BadInput, naming the option, if it isn't one or holds a password."""
    try:
        parts = urlsplit(url)
        _unused = parts.port  # raises ValueError when it is no number
    except ValueError as error:
        raise BadInput(f"{option} is no URL ({error}).") from None
    if parts.username is not None or parts.password is not None:
        raise BadInput(f"{option} holds a user or a password; URLs are printed, so give it without.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise BadInput(f"{option} must be like https://host or https://host:port/path, not '{url}'.")
    return url.rstrip("/")


def _masked(reply: Reply, secrets: list[str]) -> Reply:
    body = reply.body
    for needle in forms(secrets):
        body = body.replace(needle.encode(), MASK.encode())
    return replace(reply, body=body, headers=scrub(reply.headers, secrets), _parsed=[])
