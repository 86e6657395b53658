# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel kills the broker, because its host's memory is used up; its service manager restarts it."""

from __future__ import annotations

import random
import re
import subprocess
import time
from typing import TYPE_CHECKING

from tests.game_day import means
from tests.game_day.fault import Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


def inject(lab: IncusLab, rng: random.Random) -> Params:
    """Take memory from the host, and have a process in the broker want more than is left."""
    params = {
        "limit_mb": rng.randrange(420, 520),
        "hog_mb": rng.randrange(540, 700),
        "since": time.clock_gettime(time.CLOCK_MONOTONIC),
    }
    lab.incus("config", "set", means.BROKER, f"limits.memory={params['limit_mb']}MiB")
    hog = f"B = binary:copy(<<1>>, {params['hog_mb']} * 1024 * 1024), receive stop -> size(B) end"
    # It may be dead before it answers.
    means.attempt(lambda: means.evaluate(lab, f"spawn(fun() -> {hog} end)."))
    return params


def present(lab: IncusLab, params: Params) -> str | None:
    """The kernel says so, in its log on the machine: the host itself can't read it. systemd says 9/KILL."""
    kernel = subprocess.run(["dmesg"], check=True, capture_output=True, text=True, errors="replace", timeout=20).stdout
    for stamp, text in re.findall(r"^\[ *([0-9.]+)\] (oom-kill:.*)$", kernel, re.MULTILINE):
        if float(stamp) > params["since"] and f"/lxc.payload.{means.BROKER}/" in text and "task=beam" in text:
            killed = text.split("task=")[1].split(",")[0]
            said = f"journalctl -q -u {means.UNIT} -o cat | grep -m1 'status=9/KILL'"
            journal = means.shell(lab, means.BROKER, said, check=False).strip()
            return f"the kernel's oom-kill of {killed} on {means.BROKER}; {journal}" if journal else None
    return None


def heal(lab: IncusLab, _params: Params) -> None:
    """Give the host its memory back; the unit starts the broker again by itself."""
    lab.incus("config", "unset", means.BROKER, "limits.memory")
    means.until(lambda: means.hello(lab) == "start", 60)
    means.start_broker(lab)


FAULT = Fault(
    name="oom_kill",
    title="The kernel killed the broker for want of memory; systemd restarts it",
    source="LAB: OOM kill",
    # From a container on cgroup v1 nobody can tell it from somebody's kill -9, and the second one says so.
    causes=frozenset({"broker_oom_killed", "broker_killed_or_oom"}),
    inject=inject,
    present=present,
    heal=heal,
    recovers=True,
    fleeting=True,
)
