# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the command lines of the labs have in common: how a command ends."""

from __future__ import annotations

import argparse
import signal
import sys

from .state import LabError


def run(
    options: argparse.Namespace,
    who: str = "lab",
    refusals: tuple[type[Exception], ...] = (LabError,),
    status: int = 1,
) -> int:
    """Call ``options.run(options)`` and return the exit status: what it returned, 0 for None.

    One of ``refusals`` is one line on stderr, and ``status``; Ctrl-C is 130.
    """
    # A command that is terminated, or whose terminal is closed, must clean up as an interrupted one does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _frame: sys.exit(128 + caught))
    try:
        return int(options.run(options) or 0)
    except refusals as error:
        print(f"{who}: {error}", file=sys.stderr)
        return status
    except KeyboardInterrupt:
        return 130
