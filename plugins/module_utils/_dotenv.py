# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An environment file as docker compose reads it: one variable is read or changed, every other byte stays. Pure.

Nothing here puts a value into a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from ._errors import BadInput

SCHEMES = ("amqp", "amqps")

_PLAIN = re.compile(r"[\w./:@%+,=~-]*")
"""What compose takes literally, with whichever quotes or none."""

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class Entry:
    """Where a variable's value stands in the text (without its quotes), and what it means."""

    start: int
    end: int
    quotes: str
    value: str


def find(text: str, name: str) -> Entry | None:
    """Return the entry of a variable that counts, which is the last; None if it is not there."""
    found = None
    line = re.compile(
        rf"""^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*[=:][ \t]*
        (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\n]*?)(?=[ \t]*(?:[ \t]\#[^\n]*)?\r?$))""",
        re.MULTILINE | re.VERBOSE | re.DOTALL,
    )
    for match in line.finditer(text):
        kind = next(group for group in ("single", "double", "bare") if match[group] is not None)
        raw = match[kind]
        value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), raw) if kind == "double" else raw
        quotes = {"single": "'", "double": '"', "bare": ""}[kind]
        found = Entry(*match.span(kind), quotes, value)
    return found


def changed(text: str, name: str, value: str) -> str:
    """Return the text with the variable's value, in the quotes that it has; added at the end if it is not there.

    BadInput if no quotes can carry the value.
    """
    entry = find(text, name)
    if entry is None:
        end = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{end}{name}={_quoted(value)}\n"
    if entry.value == value:
        return text
    if _PLAIN.fullmatch(value):
        return text[: entry.start] + value + text[entry.end :]
    width = len(entry.quotes)
    return text[: entry.start - width] + _quoted(value) + text[entry.end + width :]


def removed(text: str, name: str) -> str:
    """Return the text without the lines that set a variable."""
    line = re.compile(rf"^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*[=:]")
    return "".join(part for part in text.splitlines(keepends=True) if not line.match(part))


def with_password(value: str, user: str, password: str) -> str:
    """Return an AMQP URL with another password; of what is no URL, the password itself.

    BadInput if the URL's user is another one, or its password comes from another variable.
    """
    scheme, separator, rest = value.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        return password
    authority = re.match(r"[^/?#]*", rest)
    login, at, host = authority[0].rpartition("@") if authority else ("", "", "")
    if not at:
        raise BadInput("the AMQP URL holds no user, so its password is not ours to change")
    own, _colon, secret = login.partition(":")
    if quote(user, safe="") != own and user != own:
        raise BadInput(f"the AMQP URL logs in as '{own}', not as '{user}' whose password is known")
    if "${" in secret or secret.startswith("$"):
        raise BadInput("the password in the AMQP URL comes from another variable: name that one as the variable")
    tail = rest[len(authority[0]) :] if authority else ""
    return f"{scheme}://{own}:{quote(password, safe='')}@{host}{tail}"


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value or "\n" in value or "\\" in value:
        raise BadInput("the value has a quote, a backslash or a line break, which an environment file can't carry")
    return f"'{value}'"
