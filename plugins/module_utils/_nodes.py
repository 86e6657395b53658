# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the management API says of a broker's nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

YOUNG = 3_600_000
"""Milliseconds of a node's uptime within which its counters tell of now."""


def young(nodes: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether all nodes that run have begun lately, and their counters with them; None if nobody tells."""
    uptimes = [node.get("uptime") for node in nodes if node.get("running")]
    known = [uptime for uptime in uptimes if isinstance(uptime, int)]
    return all(uptime < YOUNG for uptime in known) if known and len(known) == len(uptimes) else None
