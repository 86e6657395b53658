# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose fault it is that a queue is stuck."""

from __future__ import annotations

from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import untrusted
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._workers import guilty_workers


class FilterModule:
    """The guilty workers."""

    def filters(self) -> dict[str, Any]:
        """Return it by name."""
        return {"guilty_workers": untrusted(guilty_workers)}
