# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reckon with instants."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ansible.errors import AnsibleFilterError


def shift_instant(instant: str, seconds: float = 0.0) -> str:
    """Return ``instant`` (ISO 8601 with an offset) moved by ``seconds``, in UTC with milliseconds."""
    try:
        moment = datetime.fromisoformat(str(instant).replace("Z", "+00:00"))
    except ValueError as error:
        raise AnsibleFilterError(f"shift_instant: {instant!r} is not an instant in ISO 8601.") from error
    if moment.tzinfo is None:
        raise AnsibleFilterError(
            f"shift_instant: {instant!r} has no offset; write for instance 2026-11-23T02:00:00+01:00."
        )
    moved = (moment + timedelta(seconds=float(seconds))).astimezone(timezone.utc)
    return moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")
