# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that somebody else named: no pipe, and nothing else that may be waited for without end."""

from __future__ import annotations

import errno
import os
import stat


class NoRegularFile(OSError):
    """A named pipe, a device, a directory."""


def regular(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a regular file and return its descriptor; NoRegularFile if it is another. An opener for ``open``, too."""
    file = os.open(path, flags | os.O_NONBLOCK, mode)  # a pipe that nobody writes would be waited for
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise NoRegularFile(errno.EINVAL, "it is no regular file")
    return file
