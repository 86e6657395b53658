# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tries the parts of one fault on a lab that is up, without load, playbooks or ledger: for who writes a fault."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from . import means
from .fault import EXTRA_VARS, Fault, Params

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

PARTS = ("reset", "inject", "present", "heal", "gone")


def shown(params: Params) -> Params:
    """Return the parameters without what is not to be printed or recorded."""
    return {name: value for name, value in params.items() if name != EXTRA_VARS}


def run(lab: IncusLab, fault: Fault, seed: int, parts: Collection[str], say: Callable[[str], None] = print) -> bool:
    """Run the chosen parts in their order; True when each did what it must.

    ``present`` must show the fault in time, ``gone`` must see the broker serve and the fault be over after ``heal``.
    """
    rng = random.Random(f"{seed}:{fault.name}")
    params: Params = {}
    kept = lab.dir / f"trial-{fault.name}.json"
    good = True
    for part in (part for part in PARTS if part in parts):
        began = time.monotonic()
        if part == "reset":
            lab.reset()
            told = "the lab is clean"
        elif part == "inject":
            params = fault.inject(lab, rng)
            kept.write_text(json.dumps(shown(params)))
            told = f"injected {shown(params)}"
        else:
            params = params or json.loads(kept.read_text() if kept.exists() else "{}")
            told = _part(part, lab, fault, params)
            good = good and not told.startswith("FAILED")
        say(f"{part:<8} {time.monotonic() - began:6.1f} s  {told}")
    return good


def _part(part: str, lab: IncusLab, fault: Fault, params: Params) -> str:
    if part == "present":
        seen = means.until(lambda: fault.present(lab, params), fault.timeout)
        return f"present: {seen}" if seen else f"FAILED: not to be seen after {fault.timeout:g} s"
    if part == "heal":
        fault.heal(lab, params)
        return "healed"
    over = means.until(lambda: means.hello(lab) == "start" and (fault.mended is None or fault.mended(lab, params)), 90)
    left = means.attempt(lambda: fault.present(lab, params))
    told = f"; present() still says: {left}" if left else ""
    return f"it serves and the fault is over{told}" if over else f"FAILED: not over after 90 s{told}"
