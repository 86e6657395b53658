# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far two clocks are apart."""

from __future__ import annotations

from ._record import instant

NOTABLE = 10.0
"""Seconds from which an offset of a log's clock counts: less may be the way of the call, and windows are wider by more.

The diagnosis has its own, which is about what a wrong clock breaks."""


def offset(reference: str | None, now: float) -> float | None:
    """Return the seconds by which ``now`` (since 1970) is ahead of an instant; None without one.

    BadInput if that is no instant with a zone.
    """
    if not reference:
        return None
    return round(now - instant(reference, "reference").timestamp(), 3)
