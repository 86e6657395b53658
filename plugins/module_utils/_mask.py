# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others wrote, as it may be shown: short, and without what looks like a password."""

from __future__ import annotations

import re

LENGTH = 300

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
