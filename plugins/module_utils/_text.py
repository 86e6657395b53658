# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts as others can be told them."""

from __future__ import annotations


def is_text(value: str) -> bool:
    """Tell whether a text can be sent: what was read as another encoding than it has may hold halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
