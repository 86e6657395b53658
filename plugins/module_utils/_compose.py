# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose, by its command line, on the project that a container's labels name."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from . import _command, _containers
from ._errors import VezaError
from ._mask import masked

ATTACHED = 3.0
"""Seconds in which the engine must begin to tell a log; a log may be empty."""


def project(document: Mapping[str, Any], command: Sequence[str]) -> list[str]:
    """Return the command of compose for the project that a container belongs to, without what is to be done."""
    label = _containers.labels(document)
    argv = [*command]
    if label.get(_containers.PROJECT):
        argv += ["--project-name", label[_containers.PROJECT]]
    if label.get(_containers.DIRECTORY):
        argv += ["--project-directory", label[_containers.DIRECTORY]]
    return argv + [word for path in label.get(_containers.FILES, "").split(",") if path for word in ("--file", path)]


def run(argv: Sequence[str], timeout: float) -> str:
    """Run a command and return what it printed; VezaError with what it said, without secrets, when it fails."""
    ended = _command.run(argv, timeout)
    if ended.code is None:
        raise VezaError(f"{' '.join(argv)} {ended.err}.")
    if ended.code != 0:
        said = masked(" ".join(ended.err.split()[-60:]))
        raise VezaError(f"{' '.join(argv)} ended with exit code {ended.code}: {said}")
    return ended.out


@contextmanager
def kept(argv: Sequence[str], path: str, timeout: float) -> Iterator[None]:
    """Have a command that follows a container's log write it to a file, until the container ends with this context.

    The container is about to be recreated, and its log ends with it: what it says until its last moment is kept.
    VezaError if the file can't be written, or the command does not end with the container.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            follower = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    except OSError as error:
        raise VezaError(f"{path}: the log can't be kept there: {error.strerror}.") from None
    try:
        deadline = time.monotonic() + ATTACHED
        while not os.path.getsize(path) and follower.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        yield
        follower.wait(timeout)
        os.utime(path)  # an audit takes it for the container's end; a quiet one wrote its last line earlier
    except subprocess.TimeoutExpired:
        raise VezaError(f"{' '.join(argv)} does not end with the container; what there is of it: {path}.") from None
    finally:
        if follower.poll() is None:
            follower.kill()
            follower.wait()
