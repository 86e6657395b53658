# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits with a line for each slice; see plugin_utils/_patient.py."""

from __future__ import annotations

from ansible_collections.veza.rabbitmq.plugins.module_utils._amqp import LASTING
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._patient import PatientAction


class ActionModule(PatientAction):
    """Runs module amqp_probe."""

    module = "veza.rabbitmq.amqp_probe"
    answered = "outcome"
    reason = "message"
    lasting = LASTING
