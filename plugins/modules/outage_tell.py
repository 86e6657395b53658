#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: outage_tell
short_description: Print a few lines for the person who reads the run
version_added: 0.1.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - Prints lines as they are, which is what a tired person can read. It can fail at the same time, so that the lines are
    the last thing to be seen of a run that went wrong.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
options:
  lines:
    description:
      - The lines.
    type: list
    elements: str
    required: true
  failed:
    description:
      - Whether the task fails after it has printed them. Its message is O(failure), else the first line.
    type: bool
    default: false
  failure:
    description:
      - What failed, where the first line does not tell.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Print the verdict
  veza.rabbitmq.outage_tell:
    lines: "{{ {'verdict': verdict, 'queues': veza_queues} | veza.rabbitmq.outage_summary }}"
"""

RETURN = r"""
msg:
  description: O(failure) of a task that fails, else the first line.
  returned: always
  type: str
lines:
  description: All lines.
  returned: success
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name.
