# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Extra variables as AWX writes them."""

from __future__ import annotations

from typing import Any

import yaml


class Unsafe(yaml.SafeDumper):
    """Writes what AWX does not trust: each text is tagged, which ansible-core 2.19 and later read as they like."""

    def represent_data(self, data: Any) -> yaml.Node:
        """Tag texts."""
        return self.represent_scalar("!unsafe", data) if isinstance(data, str) else super().represent_data(data)
