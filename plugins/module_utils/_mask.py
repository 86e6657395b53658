# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others wrote, as it may be shown: short, and without what looks like a password."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

LENGTH = 300

MASK = "********"

_URL = re.compile(r"(://[^:/@\s]*:)\S+@")  # to the last @: a password may have one
# default_pass = x, --password=x, PGPASSWORD=x, {password,<<"x">>}, "token": "x"
_NAMED = re.compile(
    r"""((?:pass(?:wd|word|phrase)?|secret|token)["']?\s*(?:=>|[=:,])\s*(?:<<)?)("[^"]*"|'[^']*'|[^\s,;}\]>]+)""",
    re.IGNORECASE,
)
_CONVERTED = re.compile(r'"[^"]*"( cannot be converted to )')
# rabbitmqctl's commands that take a password as an argument of their own.
_ARGUMENT = re.compile(r"\b((?:add_user|change_password|authenticate_user)\s+\S+\s+)\S+")


def masked(line: str, length: int = LENGTH) -> str:
    """Return a line without passwords, cut to a length."""
    line = _URL.sub(r"\1***@", line)
    for pattern in (_NAMED, _ARGUMENT):
        line = pattern.sub(r"\1***", line)
    return _CONVERTED.sub(r'"***"\1', line)[:length]


def scrub(value: Any, secrets: Iterable[str]) -> Any:
    """Return ``value`` (text, or data as JSON has it) with each secret masked, wherever it stands."""
    try:
        return _scrub(value, forms(secrets))
    except RecursionError:  # nobody reads what is nested so deep
        return MASK


def forms(secrets: Iterable[str]) -> list[str]:
    """Return how secrets may be written in an answer, the longest first: plain, in a URL, in JSON, in HTML."""
    plain = [secret.strip() for secret in secrets if secret.strip()]
    written = {form for secret in plain for form in _written(secret)}
    return sorted(written, key=len, reverse=True)


def _written(secret: str) -> set[str]:
    escaped = html.escape(secret)
    coded = {
        "".join(one if one.isalnum() else style.format(ord(one)) for one in secret)
        for style in ("\\u{:04x}", "\\u{:04X}")
    }
    return {secret, quote(secret, safe="", errors="replace"), secret.replace("/", "\\/"), json.dumps(secret)[1:-1],
            escaped, escaped.replace("&#x27;", "&#39;"), *coded}  # fmt: skip


def _scrub(value: Any, needles: list[str]) -> Any:
    if isinstance(value, str):
        for needle in needles:
            value = value.replace(needle, MASK)
        return value
    if isinstance(value, dict):
        return {_scrub(key, needles): _scrub(item, needles) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrub(item, needles) for item in value]
    return value
