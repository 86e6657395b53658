# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab that only pretends: what a run asks of it, and what it answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.game_day.fault import Fault
from tests.game_day.run import Played
from tests.game_day.watchers import Sample
from tests.lab.ledger import Verdict

GOOD = Verdict(
    effects=9,
    missing=(),
    doubled={},
    listed=(("search", "3"),),
    lost=(("search", "3"),),
    not_listed=(),
    wrongly_listed=(),
    replayed={},
    redeliveries=0,
    accepted=9,
    unknown=0,
)


def fault(**changes: Any) -> Fault:
    """Return a fault that shows at once, and is mended by the recovery."""
    common: dict[str, Any] = {
        "name": "fake",
        "title": "A fault",
        "source": "nowhere",
        "causes": frozenset({"broker_crashed"}),
        "inject": lambda _lab, rng: {"dice": rng.randrange(1000)},
        "present": lambda _lab, _params: "seen",
        "heal": lambda lab, _params: lab.append("healed"),
        "recovers": True,
        "timeout": 0.01,
    }
    return Fault(**{**common, **changes})


def playbook(
    name: str,
    *,
    status: int | None = 0,
    cause: str = "broker_crashed",
    decision: str = "act",
    changed: int = 0,
    actions: tuple[str, ...] = (),
) -> Played:
    """Return what the witness would have of a playbook."""
    planned = [dict(zip(("name", "target"), action.split(" on "), strict=True)) for action in actions]
    events: list[dict[str, Any]] = [
        {"at": time.time(), "fact": "outage_diagnose_verdict", "value": {"cause": cause, "also": []}},
        {"at": time.time(), "fact": "outage_recover_plan", "value": {"decision": decision, "actions": planned}},
        *({"at": 0.0, "changed": f"Task {number}", "host": "localhost"} for number in range(changed)),
        {"at": 0.0, "recap": {"localhost": {"changed": changed}}},
    ]
    return Played(name, status, events)


class FakeProgress:
    """Serves when it is told so."""

    def __init__(self, ground: FakeGround, over: Callable[[], bool]) -> None:
        self.began = 100.0
        self.served_at: float | None = None
        self.drained_at: float | None = None
        self._ground, self._over = ground, over

    def await_served(self, _seconds: float) -> bool:
        """Serve after a recovery that mends, or after healing."""
        if (self._ground.mends or "healed" in self._ground.lab) and self._over():
            self.served_at = 104.5
        return self.served_at is not None

    def await_drained(self, _seconds: float) -> bool:
        """Drain at once."""
        self.drained_at = 107.0
        return True


@dataclass
class FakeGround:
    """Says what the test gave it; notes what was asked in ``asked``."""

    mends: bool = True
    plays: dict[str, list[Played]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    verdict: Verdict = GOOD
    lab: list[str] = field(default_factory=list)
    rabbitmq: str = "4.0"
    asked: list[str] = field(default_factory=list)
    extras: list[Mapping[str, Any]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Note it."""
        self.asked.append("reset")

    def versions(self) -> dict[str, str]:
        """Return some."""
        return {"rabbitmq": "4.0.5", "ansible_core": "2.19.14", "collection": "0.1.0"}

    @contextlib.contextmanager
    def load(self, wanted: bool) -> Iterator[None]:
        """Note it."""
        self.asked.append(f"load {wanted}")
        yield
        self.asked.append("load over")

    @contextlib.contextmanager
    def progress(self, over: Callable[[], bool]) -> Iterator[FakeProgress]:
        """Begin."""
        yield FakeProgress(self, over)

    def play(self, name: str, *arguments: str, extra: Mapping[str, Any], timeout: float) -> Played:
        """Return what the test prepared, in order; the default is a run that goes well."""
        assert timeout > 0
        name = "check" if "--check" in arguments else name
        self.asked.append(" ".join([name, *(word for word in arguments if "start_stopped" in word)]))
        self.extras.append(extra)
        prepared = self.plays.get(name)
        return prepared.pop(0) if prepared else playbook(name)

    def actions(self) -> list[str]:
        """Return what the test says was done."""
        return self.done

    def sample(self) -> Sample:
        """Return what the test prepared, in order; the last one stays."""
        if not self.samples:
            return Sample()
        return self.samples.pop(0) if len(self.samples) > 1 else self.samples[0]

    def settle(self, _seconds: float) -> list[str]:
        """Return what the test says is left."""
        self.asked.append("settle")
        return self.left

    def judge(self) -> Verdict:
        """Return the test's verdict."""
        return self.verdict
