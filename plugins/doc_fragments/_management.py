# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_user:
    description:
      - User of the management API. The tag C(monitoring) and a permission on O(vhost) that allows nothing
        (C(set_permissions -p /veza monitor '^$' '^$' '^$')) are enough.
    type: str
    default: guest
  login_password:
    description:
      - Password of O(login_user).
    type: str
    default: guest
  login_host:
    description:
      - Host of the management API.
    type: str
    default: localhost
  login_port:
    description:
      - Port of the management API.
    type: int
    default: 15672
  login_protocol:
    description:
      - Protocol of the management API.
    type: str
    choices: [http, https]
    default: http
  vhost:
    description:
      - Virtual host, as RabbitMQ names it. Veza's is V(/veza), with the slash.
    type: str
    default: /
extends_documentation_fragment:
  - veza.rabbitmq._tls
requirements:
  - requests
"""
