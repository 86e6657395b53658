# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  ca_cert:
    description:
      - File with the certificates of the authorities to trust, in PEM format. Without it the system's are trusted.
    type: path
  client_cert:
    description:
      - File with the certificate that the client shows, in PEM format.
    type: path
  client_key:
    description:
      - File with the private key of O(client_cert), in PEM format. Not needed where O(client_cert) holds both.
    type: path
  validate_certs:
    description:
      - Whether the server's certificate is checked. Turn it off only where nobody can listen in.
    type: bool
    default: true
"""
