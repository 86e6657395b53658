# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody stops the broker, and nobody says that it may run: the recovery must leave it alone."""

from __future__ import annotations

from dataclasses import replace

from tests.game_day.faults import stopped

FAULT = replace(
    stopped.FAULT,
    name="left_stopped",
    title="Somebody stopped the broker; nobody said that it may be started",
    recovers=False,
    flags=(),
)
