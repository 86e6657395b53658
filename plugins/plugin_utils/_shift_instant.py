# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reckon with instants."""

from __future__ import annotations

from datetime import timedelta, timezone

from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._window import parse_instant


def shift_instant(instant: str, seconds: float = 0.0) -> str:
    """Return ``instant`` (ISO 8601 with an offset) moved by ``seconds``, in UTC with milliseconds."""
    try:
        moment = parse_instant(str(instant))
    except ValueError as error:
        raise AnsibleFilterError(f"shift_instant: {error}.") from error
    try:
        moved = (moment + timedelta(seconds=float(seconds))).astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise AnsibleFilterError(f"shift_instant: {instant!r} can't be moved by {seconds!r} s: {error}.") from error
    return moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")
