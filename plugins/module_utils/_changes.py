# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changed on a host lately: packages and files."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from ._record import stamp

WITHIN = 7 * 86400.0
"""Seconds for which a change is told."""

_DPKG = re.compile(r"^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) (install|upgrade|remove|purge) (\S+) (\S+) (\S+)")

Change = dict[str, Any]


def packages(text: str, names: re.Pattern[str]) -> list[Change]:
    """Return what dpkg's log says about packages of these names; its times are in the host's own zone."""
    found = []
    for line in text.splitlines():
        match = _DPKG.match(line)
        if match and names.search(match[4]):
            # Without a zone: astimezone() takes it for local time, which it is.
            at = datetime.fromisoformat(f"{match[1]}T{match[2]}").astimezone(timezone.utc)
            what = f"{match[3]} {match[4].split(':')[0]} {match[5]} -> {match[6]}"
            found.append({"at": stamp(at), "kind": "package", "what": what})
    return found


def dpkg(names: re.Pattern[str], log: str = "/var/log/dpkg.log") -> list[Change]:
    """Return the changes of packages, from dpkg's log and the one before."""
    found: list[Change] = []
    for path in (f"{log}.1", log):
        with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            found += packages(file.read(), names)
    return found


def files(patterns: Iterable[str], kind: str) -> list[Change]:
    """Return when files were last written."""
    found = []
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)):
            with suppress(OSError):
                written = os.stat(path).st_mtime
                at = datetime.fromtimestamp(written, timezone.utc)
                found.append({"at": stamp(at), "kind": kind, "what": f"{path} was written"})
    return found


def lately(changes: Iterable[Change], now: float | None = None) -> list[Change]:
    """Return the changes of the last days, the last one last."""
    since = stamp(datetime.fromtimestamp((time.time() if now is None else now) - WITHIN, timezone.utc))
    return sorted(
        (change for change in changes if change["at"] and change["at"] >= since), key=lambda one: str(one["at"])
    )
