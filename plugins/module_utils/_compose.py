# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose, by its command line, on the project that a container's labels name."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from . import _containers
from ._errors import VezaError
from ._mask import masked


def labels(document: Mapping[str, Any]) -> dict[str, str]:
    """Return a container's labels."""
    found: dict[str, str] = (document.get("Config") or {}).get("Labels") or {}
    return found


def project(document: Mapping[str, Any], command: Sequence[str]) -> list[str]:
    """Return the command of compose for the project that a container belongs to, without what is to be done."""
    label = labels(document)
    argv = [*command]
    if label.get(_containers.PROJECT):
        argv += ["--project-name", label[_containers.PROJECT]]
    if label.get(_containers.DIRECTORY):
        argv += ["--project-directory", label[_containers.DIRECTORY]]
    return argv + [word for path in label.get(_containers.FILES, "").split(",") if path for word in ("--file", path)]


def run(argv: Sequence[str], timeout: float) -> str:
    """Run a command and return what it printed; VezaError with what it said, without secrets, when it fails."""
    try:
        done = subprocess.run(list(argv), capture_output=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VezaError(f"{' '.join(argv)}: {getattr(error, 'strerror', None) or 'no end in time'}.") from None
    if done.returncode != 0:
        said = masked(" ".join(done.stderr.decode("utf-8", "replace").split()[-60:]))
        raise VezaError(f"{' '.join(argv)} ended with exit code {done.returncode}: {said}")
    return done.stdout.decode("utf-8", "replace")
