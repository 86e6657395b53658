# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that must end in time; how it ended is a value, whatever happens."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How it ended. ``code`` is None when it could not be run or did not end in time: ``err`` is the reason then."""

    code: int | None
    out: str
    err: str
    absent: bool = False
    """Whether there is no such program."""

    def failure(self) -> str:
        """Return how it failed, as the end of a sentence that begins with its name."""
        if self.code is None:
            return self.err
        return f"ended with exit code {self.code}: {' '.join(self.err.split())}"


def run(argv: Sequence[str], timeout: float) -> Ended:
    """Run a program without a shell and without input, in the C locale, for ``timeout`` seconds at most."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return Ended(None, "", f"did not end within {timeout:g} s")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Ended(None, "", f"can't be run: {reason}", isinstance(error, FileNotFoundError))
    return Ended(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
