# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a command said about who runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def identity(result: Mapping[str, Any]) -> str:
    """Return what identifies a process by the result of the command that tells; empty where it can't be told."""
    return " ".join(str(result.get("stdout") or "").split()) if result.get("rc") == 0 else ""
