# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a fault of the catalogue is, and the catalogue itself.

A file ``faults/NAME.py`` defines ``FAULT = Fault(name="NAME", ...)``. What it is made of:

* ``inject(lab, rng)`` breaks the lab and returns parameters, plain JSON data. Whatever is a matter of chance (which
  backend, which signal, how full) comes from ``rng``, so that the seed repeats it. It returns when the fault was
  *made*; it needs not have shown yet. Never a secret among the parameters: they are printed and recorded. One key is
  special: ``extra_vars``, variables that the operator's inventory would hold by now (a rotated password); they are
  handed to every playbook in a private file, and are never recorded.
* ``present(lab, params)`` is the proof: a sentence that says what was seen of the fault from outside, or None while it
  is not to be seen. It is polled; whatever it raises because something does not answer counts as "not yet". It must
  not say yes because ``inject`` was called: it looks at what the fault *does* (a port, an alarm, a log, a counter).
  A fault that never shows makes the run INVALID. Unless ``fleeting``, it must still show after the diagnosis.
* ``heal(lab, params)`` is what a person would do who knows the cause. It is called when the recovery did not mend it,
  and must work whatever is mended already.
* ``causes`` are the causes that the fault may *rightly* be taken for: files in roles/outage_diagnose/causes, or names
  that the diagnosis is yet to learn (``causes.py``).

The lab is in its clean state at ``inject``, with load on it, and is reset by snapshot afterwards.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

Params = dict[str, Any]

EXTRA_VARS = "extra_vars"
"""The key of the parameters that holds what the operator's inventory says by now."""

VERSIONS = ("4.0", "3.10")
"""The families of RabbitMQ that the lab can bring up."""


@dataclass(frozen=True)
class Fault:
    """One fault: how to make it, how to see it, what it may be taken for, how it ends."""

    name: str
    """The name of its file."""
    title: str
    """What has happened, for a person: a line of the scoreboard."""
    source: str
    """Where it comes from: the row of the lab's fault table, the runbook's section."""
    causes: frozenset[str]
    inject: Callable[[IncusLab, random.Random], Params]
    present: Callable[[IncusLab, Params], str | None]
    heal: Callable[[IncusLab, Params], None]
    recovers: bool = False
    """Whether recover_rabbitmq, given ``flags``, has a remedy and is to mend this by itself."""
    fails: bool = False
    """recover_rabbitmq does something about it, and says all the same that a human is needed."""
    flags: tuple[str, ...] = ()
    """What a person would add to the recovery's command line for this, such as ``-e``, ``outage_...=true``."""
    versions: tuple[str, ...] = VERSIONS
    """The families of RabbitMQ on which it can be made."""
    load: bool = True
    """Whether requests flow meanwhile."""
    timeout: float = 45.0
    """Seconds in which it must have shown."""
    fleeting: bool = False
    """It ends by itself, so it need not show any more after the diagnosis."""
    sticky: bool = False
    """A reset by snapshot can't undo it, so it is healed in any case. ``heal`` must work with no parameters then, too:
    the injection may have failed half-way."""
    each: tuple[frozenset[str], ...] = ()
    """Of several faults at once the causes of each: one of each is to be named, first or among the others."""
    mended: Callable[[IncusLab, Params], bool] | None = None
    """For what serving does not show: whether it is over. Serving is: a publish is confirmed, each backend's bus is
    connected, each queue has its consumer. Without this, serving is all there is to it."""
    may_change: frozenset[str] = frozenset()
    """Names of watchers (``watchers.py``) whose change is this fault's rightful remedy, such as a recreated backend."""

    def __post_init__(self) -> None:
        """Refuse what could never be right."""
        if not self.causes:
            raise ValueError(f"{self.name}: no cause that it may rightly be taken for")
        if not self.versions or set(self.versions) - set(VERSIONS):
            raise ValueError(f"{self.name}: versions must be some of {', '.join(VERSIONS)}")


def catalogue() -> dict[str, Fault]:
    """Return all faults by name, in the order of their names."""
    from . import faults

    found: dict[str, Fault] = {}
    for module in sorted(pkgutil.iter_modules(faults.__path__), key=lambda item: item.name):
        fault = importlib.import_module(f"{faults.__name__}.{module.name}").FAULT
        if fault.name != module.name:
            raise ValueError(f"faults/{module.name}.py defines '{fault.name}': the file and the fault share a name")
        found[fault.name] = fault
    return found


def chosen(names: str, every: Mapping[str, Fault]) -> list[Fault]:
    """Return the faults of a comma-separated list, all for an empty one; ValueError for a name that is none."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(every)
    strangers = [name for name in wanted if name not in every]
    if strangers:
        raise ValueError(f"no such fault: {', '.join(strangers)}; there are {', '.join(every)}")
    return [every[name] for name in wanted]
