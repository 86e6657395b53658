#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_archive
short_description: Bring files and directories of a host to the controller as one archive, in pieces
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - Makes a gzipped tar on the controller of files and directories of a host, as root or whoever the task becomes, over
    the task's own connection. Nothing is written on the host, whose disk may be full, and no file is held in memory as
    a whole.
  - Owner, mode and time are kept, symbolic links too. Sockets, pipes and devices are left out.
  - It is refused when the controller has no room, and fails when a file changes while it is read. Stop the service that
    writes there before.
  - What is read appears in no output, at any verbosity.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - The files are listed, and not read.
  diff_mode:
    support: none
    details:
      - The contents are not to be shown.
  idempotent:
    support: partial
    details:
      - An archive that is there already is left alone, whatever is in it.
  action:
    description: Has a corresponding action plugin, so some of it runs on the controller.
    support: full
options:
  paths:
    description:
      - Absolute paths of the files and directories.
    type: list
    elements: path
    required: true
  dest:
    description:
      - The archive on the controller. It gets the mode 0600.
    type: path
    required: true
  piece_bytes:
    description:
      - Bytes that are read and sent at a time, before they are compressed.
    type: int
    default: 16777216
  pieces:
    description:
      - Filled in by the action plugin. What a task says here is ignored.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: Keep the data of the broker that is stopped
  veza.rabbitmq.host_archive:
    paths: [/var/lib/rabbitmq]
    dest: /srv/incident/rabbitmq.tar.gz
  become: true
"""

RETURN = r"""
entries:
  description: How many files, directories and links there are.
  returned: always
  type: int
bytes:
  description: Bytes of the files.
  returned: always
  type: int
size:
  description: Bytes of the archive. V(null) in check mode.
  returned: always
  type: int
dest:
  description: The archive.
  returned: always
  type: str
message:
  description: What was done, in one sentence.
  returned: always
  type: str
"""

import base64
import grp
import os
import pwd
import stat
import zlib
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import BadInput, VezaError

KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))


def argument_spec() -> dict[str, Any]:
    """Return the options, as DOCUMENTATION describes them."""
    return {
        "paths": {"type": "list", "elements": "path", "required": True},
        "dest": {"type": "path", "required": True},
        "piece_bytes": {"type": "int", "default": 16 * 1024 * 1024},
        "pieces": {"type": "list", "elements": "dict"},
    }


def walk(path: str) -> Iterator[dict[str, Any]]:
    """Yield a file, or a directory with all below it, parents first."""
    status = os.lstat(path)
    kind = next((kind for is_kind, kind in KINDS if is_kind(status.st_mode)), None)
    if kind is None:
        return
    yield {
        "path": path,
        "kind": kind,
        "mode": stat.S_IMODE(status.st_mode),
        "mtime": int(status.st_mtime),
        "size": status.st_size if kind == "file" else 0,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "uname": _name(pwd.getpwuid, status.st_uid),
        "gname": _name(grp.getgrgid, status.st_gid),
        "target": os.readlink(path) if kind == "link" else "",
        "same": _same(status),
    }
    if kind == "directory":
        for name in sorted(os.listdir(path)):
            yield from walk(os.path.join(path, name))


def _same(status: os.stat_result) -> list[int]:
    """Return by which a file is known to be the one that was listed, unchanged."""
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


def _name(find: Any, number: int) -> str:
    try:
        return str(find(number)[0])
    except KeyError:
        return ""


def read(pieces: list[dict[str, Any]]) -> bytes:
    """Return the parts of files, one after the other; VezaError when one is not what was listed."""
    parts = []
    for piece in pieces:
        handle = os.open(piece["path"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            file.seek(piece["offset"])
            part = file.read(piece["length"])
            after = _same(os.fstat(handle))
        if after != piece["same"] or len(part) != piece["length"]:
            how = "become shorter" if after[2] < piece["same"][2] else "changed"
            raise VezaError(
                f"{piece['path']} has {how} while it was read: something writes there. Stop it, and run this again."
            )
        parts.append(part)
    return b"".join(parts)


def run(params: dict[str, Any]) -> dict[str, Any]:
    """List the files, or return pieces of them."""
    if any(not os.path.isabs(path) for path in params["paths"]):
        raise BadInput("paths must be absolute.")
    if params["piece_bytes"] < 1:
        raise BadInput("piece_bytes must be at least 1.")
    try:
        if params["pieces"] is None:
            # What is gone by now needs no copy, as a log that was rotated away; but all of it is no copy at all.
            there = [path for path in params["paths"] if os.path.lexists(path)] or params["paths"]
            return {"changed": False, "files": [entry for path in there for entry in walk(path)]}
        data = read(params["pieces"])
    except OSError as error:
        raise VezaError(f"{error.filename} can't be read: {error.strerror}.") from None
    return {"changed": False, "data": base64.b64encode(zlib.compress(data, 1)).decode()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
