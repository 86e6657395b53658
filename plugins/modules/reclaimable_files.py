#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reclaimable_files
short_description: Free a broker's disk by removing exactly the files that were listed, if they are unchanged and closed
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - Removes files that M(veza.rabbitmq.rabbitmq_host_info) has listed in C(disk.reclaimable). Crash dumps, rotated logs,
    and journal above its limit.
  - A file that has changed since, that some process has open, or that has another name, is left alone. It would free
    nothing. RabbitMQ under Debian's unit still writes to its rotated C(*.log.1), for instance.
  - Copy them off the host before. This module makes no copy.
  - Needs nothing but Python's standard library, and root, to see who has a file open.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - The files that go are in RV(removed).
  idempotent:
    support: full
    details:
      - A file that is gone counts as done.
options:
  files:
    description:
      - The files, as they were listed.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: "The path.", type: path, required: true}
      kind: {description: "What it is.", type: str, required: true, choices: [crash_dump, rotated_log, journal]}
      bytes: {description: "What it takes on the disk.", type: int, required: true}
      size: {description: "Its size.", type: int, required: true}
      device: {description: "The number of its file system.", type: int, required: true}
      inode: {description: "Its own number.", type: int, required: true}
      modified_ns: {description: "When it was last written, in ns since 1970.", type: int, required: true}
      links: {description: "How many names it has.", type: int, required: true}
seealso:
  - module: veza.rabbitmq.rabbitmq_host_info
"""

EXAMPLES = r"""
- name: Look at the broker's host
  veza.rabbitmq.rabbitmq_host_info:
  register: broker_host
  become: true

- name: Free what is safely freed
  veza.rabbitmq.reclaimable_files:
    files: "{{ broker_host.disk.reclaimable }}"
  become: true
"""

RETURN = r"""
removed:
  description: The files that were removed, in check mode those that would be.
  returned: always
  type: list
  elements: dict
  contains:
    path: {description: "The path.", type: str}
    kind: {description: "What it was.", type: str}
    bytes: {description: "What it took.", type: int}
kept:
  description: The files that were left alone, with the same keys and C(why).
  returned: always
  type: list
  elements: dict
freed:
  description: The bytes of RV(removed).
  returned: always
  type: int
message:
  description: What was done, in one sentence.
  returned: always
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._reclaim import KINDS, Open, open_files, remove


def argument_spec() -> dict[str, Any]:
    """Return the options, as DOCUMENTATION describes them."""
    numbers = ("bytes", "size", "device", "inode", "modified_ns", "links")
    file = {
        "path": {"type": "path", "required": True},
        "kind": {"type": "str", "required": True, "choices": list(KINDS)},
        **{name: {"type": "int", "required": True} for name in numbers},
    }
    return {"files": {"type": "list", "elements": "dict", "required": True, "options": file}}


def run(params: dict[str, Any], check_mode: bool, look: Callable[[], Open] = open_files) -> dict[str, Any]:
    """Remove what may go, and return the module's result."""
    done = remove(params["files"], look(), check_mode)
    freed = sum(entry["bytes"] for entry in done["removed"])
    left = f"; {len(done['kept'])} were left alone" if done["kept"] else ""
    return {
        "changed": bool(done["removed"]),
        **done,
        "freed": freed,
        "message": f"{len(done['removed'])} files removed, {freed // 1024} KiB freed{left}.",
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    module.exit_json(**run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
