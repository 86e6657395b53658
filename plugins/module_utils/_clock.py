# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time, so that tests can turn it by hand."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class Clock:
    """The real clock: monotonic for waits, UTC for what is written down."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(seconds, 0.0))

    def now(self) -> datetime:
        """Return the instant, in UTC."""
        return datetime.now(timezone.utc)
