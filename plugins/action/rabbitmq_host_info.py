# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on the controller as it lies there; see plugin_utils/_here.py."""

from __future__ import annotations

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._here import HereAction


class ActionModule(HereAction):
    """Runs module rabbitmq_host_info."""

    module = "veza.rabbitmq.rabbitmq_host_info"
