# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log lines pass through our filters; nothing in them may be taken for an expression."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from ansible.utils.unsafe_proxy import wrap_var


def plain(value: Any) -> Any:
    """Return a copy in Python's own types; ansible-core 2.19 hands over lazy and tagged ones, that can't be wrapped."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, str) else value


def untrusted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark what a filter returns as data.

    Before ansible-core 2.19, text that a filter makes is templated again when it is used: an expression in a log
    line would be carried out.
    """

    @functools.wraps(function)
    def marked(*args: Any, **kwargs: Any) -> Any:
        return wrap_var(plain(function(*args, **kwargs)))

    return marked
