# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A line about work that goes on."""

from __future__ import annotations

from ansible.utils.display import Display


def tell(line: str) -> None:
    """Show a line at once, on the standard error as progress is: Ansible leaves what it prints elsewhere in a buffer.

    Seen with ansible-core 2.19 and its output in a pipe or a file: nothing of a wait was there before its end.
    """
    Display().display(line, stderr=True)
