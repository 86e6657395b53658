# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's version, as galaxy.yml has it: an installed collection has no galaxy.yml to ask."""

from __future__ import annotations

VERSION = "0.1.0"
