# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run: a fault is made while requests flow, named, mended, accounted for; and judged from outside.

Only the order of things is here. What touches the lab is behind ``Ground`` (``ground.py``); every wait is bounded.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from tests.lab.ledger import Verdict

from . import means, watchers
from .fault import Fault, Params
from .result import Row
from .trial import shown
from .watchers import Leave, Sample


class Invalid(Exception):
    """The run shows nothing, good or bad; the message says why."""


@dataclass(frozen=True)
class Limits:
    """Seconds that each step may take, and the pauses."""

    warm_up: float = 3.0
    lasts: tuple[float, float] = (3.0, 8.0)
    """How long the fault lasts before anybody looks; a matter of chance."""
    diagnose: float = 120.0
    recover: float = 420.0
    boot: int = 150
    """What the recovery itself may wait for a boot; a person would let it wait for longer."""
    drain: int = 180
    grace: float = 15.0
    """How soon after a recovery that acted and succeeded it must be seen to serve."""
    look: float = 6.0
    """How long to look whether it serves after a recovery that left all to a human."""
    serving: float = 240.0
    drained: float = 180.0
    settle: float = 90.0
    still: float = 8.0
    """How long to look for the fault after the diagnosis: one look of its may need some seconds."""


@dataclass(frozen=True)
class Played:
    """What a playbook did: its exit status (None: it did not end in time), and what the witness wrote down."""

    name: str
    status: int | None
    events: list[dict[str, Any]] = field(default_factory=list)

    def fact(self, name: str) -> tuple[float, dict[str, Any]] | None:
        """Return when a fact was set last, and to what; None when it never was."""
        found = [(event["at"], event["value"]) for event in self.events if event.get("fact") == name]
        return found[-1] if found else None

    def changed(self) -> int | None:
        """Return the changes of its recap; None when it has none."""
        recaps = [event["recap"] for event in self.events if "recap" in event]
        return sum(host["changed"] for host in recaps[-1].values()) if recaps else None

    def changed_by(self) -> list[str]:
        """Return the tasks that changed something."""
        return [f"{event['changed']} ({event['host']})" for event in self.events if "changed" in event]


class Progress(Protocol):
    """Looks from outside, again and again, from when it was begun."""

    began: float
    served_at: float | None
    drained_at: float | None

    def await_served(self, seconds: float) -> bool:
        """Wait until it serves and the fault is over; False when time ran out."""

    def await_drained(self, seconds: float) -> bool:
        """Wait until, serving, each queue has a consumer and nothing ready; False when time ran out."""


class Ground(Protocol):
    """The lab, as a run needs it."""

    lab: Any
    rabbitmq: str

    def reset(self) -> None:
        """Bring the lab into its clean state, all of it at work."""

    def versions(self) -> dict[str, str]:
        """Return the versions of what takes part."""

    def load(self, wanted: bool) -> AbstractContextManager[Any]:
        """Keep requests flowing inside the context."""

    def progress(self, over: Callable[[], bool]) -> AbstractContextManager[Progress]:
        """Look from outside inside the context; ``over`` is asked besides whether it serves."""

    def play(self, name: str, *arguments: str, extra: Mapping[str, Any], timeout: float) -> Played:
        """Run a playbook."""

    def actions(self) -> list[str]:
        """Return what the last incident's record says was done, ``name on target``."""

    def sample(self) -> Sample:
        """Return how the hosts are."""

    def settle(self, seconds: float) -> list[str]:
        """Wait until nothing is under way; return what still is when time ran out."""

    def judge(self) -> Verdict:
        """Ask the ledger; its doubts about the outage itself are left out."""


class Run:
    """One run of one fault."""

    def __init__(
        self,
        ground: Ground,
        fault: Fault,
        seed: int,
        limits: Limits | None = None,
        tell: Callable[[str], None] = lambda _text: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ground, self._fault = ground, fault
        self._limits, self._tell, self._sleep = limits or Limits(), tell, sleep
        self._random = random.Random(f"{seed}:{fault.name}")
        self._params: Params = {}
        self._step = "begin"
        self.row = Row(fault.name, fault.title, ground.rabbitmq, seed, at=_now(), expected=sorted(fault.causes))
        self.row.each = [sorted(part) for part in fault.each]
        self.row.recovers = fault.recovers

    def go(self) -> Row:
        """Let it all happen; whatever goes wrong with the lab itself makes the row INVALID."""
        return self._guarded(self._all)

    def name(self) -> Row:
        """Only make the fault and have it named; the rest of the row stays empty."""
        return self._guarded(self._only_named)

    def _guarded(self, steps: Callable[[], None]) -> Row:
        try:
            steps()
        except Invalid as reason:
            self.row.invalid = str(reason)
        except Exception as error:
            # The lab, not what is measured: a playbook that fails is no exception here.
            self.row.invalid = f"{self._step}: {type(error).__name__}: {error}"[:400]
        if self._fault.sticky and self.row.mended_by is None:
            # What can't be healed now makes the next reset fail, which tells.
            means.attempt(lambda: self._fault.heal(self._ground.lab, self._params))
        return self.row

    def _all(self) -> None:
        with self._timed("reset"):
            self._ground.reset()
            self.row.versions = self._ground.versions()
        with self._ground.load(self._fault.load):
            self._sleep(self._limits.warm_up)
            injected = self._make()
            before = self._diagnose()
            # What ends by itself may have ended when the run comes that check mode speaks of.
            foretold = None if self._fault.fleeting else self._recover("check", "--check")
            with self._ground.progress(self._is_over) as progress:
                self._mend(progress, before, injected, foretold)
                self._second(progress)
        with self._timed("settle"):
            left = self._ground.settle(self._limits.settle)
        if left:
            raise Invalid(f"the end could not be judged; still under way: {', '.join(left[:6])}")
        with self._timed("judge"):
            self._judge(self._ground.judge())

    def _only_named(self) -> None:
        with self._timed("reset"):
            self._ground.reset()
            self.row.versions = self._ground.versions()
        with self._ground.load(self._fault.load):
            self._sleep(self._limits.warm_up)
            self._make()
            self._diagnose()

    def _make(self) -> float:
        """Make the fault and see that it is there; return when it began."""
        injected = time.time()
        with self._timed("inject"):
            self._params = self._fault.inject(self._ground.lab, self._random)
            self.row.params = shown(self._params)
        with self._timed("present"):
            self.row.present = means.until(self._present, self._fault.timeout)
        if self.row.present is None:
            raise Invalid(f"the fault was not to be seen within {self._fault.timeout:g} s of its injection")
        self._tell(f"present: {self.row.present}")
        self._sleep(self._random.uniform(*self._limits.lasts))
        return injected

    def _present(self) -> str | None:
        return self._fault.present(self._ground.lab, self._params)

    def _is_over(self) -> bool:
        mended = self._fault.mended
        return mended is None or bool(means.attempt(lambda: mended(self._ground.lab, self._params)))

    def _diagnose(self) -> Sample:
        """Have the cause named; return how the hosts are afterwards."""
        before = self._ground.sample()
        began = time.time()
        played = self._play("diagnose", "diagnose_rabbitmq", timeout=self._limits.diagnose)
        if played.status != 0:
            self.row.failures.append(_failed(played))
        if verdict := played.fact("outage_diagnose_verdict"):
            at, value = verdict
            self.row.cause, self.row.also = value["cause"], [other["cause"] for other in value["also"]]
            self.row.seconds_to_name = round(at - began, 1)
        after = self._watched("diagnose_rabbitmq", before)
        self._tell(f"named: {self.row.cause} ({'right' if self.row.right else 'WRONG'})")
        if not self._fault.fleeting and not means.until(self._present, self._limits.still):
            raise Invalid("the fault was gone before the diagnosis had ended")
        return after

    def _mend(self, progress: Progress, before: Sample, injected: float, foretold: Played | None) -> None:
        """Run the recovery; where it leaves the fault to a human, be that human. Then have all accounted for."""
        played = self._recover("recover")
        plan = played.fact("outage_recover_plan")
        self.row.decision = plan[1]["decision"] if plan else None
        acted = self.row.decision in ("act", "finish")
        after = self._watched("recover_rabbitmq", before)
        patience = self._limits.grace if acted and played.status == 0 else self._limits.look
        if progress.await_served(patience):
            self.row.mended_by = "recover" if acted else "itself"
        else:
            self._heal(progress)
            after = self._ground.sample()
        if acted and played.status == 0:
            self.row.audited_by = "recover"
            self._compare(foretold)
        elif acted:
            self.row.failures += [] if self._fault.fails else [_failed(played)]
            self._finish("recover", after)
        else:
            self._finish("person", after, injected)
        self.row.seconds_to_serving = _since(progress.began, progress.served_at)

    def _heal(self, progress: Progress) -> None:
        self._tell(f"recover_rabbitmq decided '{self.row.decision}' and did not mend it; healing it by hand")
        with self._timed("heal"):
            self._fault.heal(self._ground.lab, self._params)
            if not progress.await_served(self._limits.serving):
                raise Invalid(f"it does not serve within {self._limits.serving:g} s of the catalogue's own healing")
        self.row.mended_by = "human"

    def _finish(self, who: str, before: Sample, injected: float = 0.0) -> None:
        """Have the losses accounted for: by the same command once more, or by an audit of the window."""
        self.row.audited_by = who
        if who == "recover":
            played = self._recover("finish")
        else:
            window = ("-e", f"outage_audit_start={_now(injected - 1)}", "-e", f"outage_audit_end={_now()}")
            limit = ("-e", f"outage_audit_drain_timeout={self._limits.drain}")
            played = self._play("audit", "audit_rabbitmq", *window, *limit, timeout=self._limits.recover)
        if played.status != 0:
            self.row.failures.append(_failed(played))
        self._watched(played.name, before)

    def _second(self, progress: Progress) -> None:
        """Run the recovery once more: nothing may change; and let the queues drain."""
        before = self._ground.sample()
        again = self._recover("second")
        self.row.second_changed, self.row.changed_by = again.changed(), again.changed_by()
        if again.status != 0:
            self.row.failures.append(f"second run: {_failed(again)}")
        self._watched("the second run", before)
        progress.await_drained(self._limits.drained)
        self.row.seconds_to_drained = _since(progress.began, progress.drained_at)

    def _judge(self, verdict: Verdict) -> None:
        if verdict.invalid:
            raise Invalid(f"the ledger cannot judge: {'; '.join(verdict.invalid)}"[:400])
        if self._fault.load and not verdict.accepted:
            raise Invalid("no request was accepted")
        self.row.missing = [" ".join(event) for event in verdict.missing]
        self.row.doubled = [f"{key}: {why}" for key, why in verdict.doubled.items()]
        self.row.listed = len(verdict.listed)
        self.row.misaccounted = [
            *(f"{' '.join(event)} not listed" for event in verdict.not_listed if event not in verdict.missing),
            *(f"{' '.join(event)} listed, not lost" for event in verdict.wrongly_listed),
        ]

    def _compare(self, foretold: Played | None) -> None:
        """Note what check mode said and what was done."""
        if plan := foretold and foretold.fact("outage_recover_plan"):
            self.row.predicted = [f"{action['name']} on {action['target']}" for action in plan[1].get("actions", [])]
            self.row.taken = self._ground.actions()
            self.row.foreseen = plan[1].get("not_simulated", [])

    def _recover(self, step: str, *arguments: str) -> Played:
        bounds = ["-e", f"outage_recover_boot_timeout={self._limits.boot}"]
        bounds += ["-e", f"outage_recover_drain_timeout={self._limits.drain}"]
        flags = (*bounds, *self._fault.flags, *arguments)
        return self._play(step, "recover_rabbitmq", *flags, timeout=self._limits.recover)

    def _play(self, step: str, name: str, *arguments: str, timeout: float) -> Played:
        with self._timed(step):
            return self._ground.play(name, *arguments, extra=self._params.get("extra_vars", {}), timeout=timeout)

    def _watched(self, step: str, before: Sample) -> Sample:
        """Note what a step did and must not do; return how the hosts are."""
        after = self._ground.sample()
        leave = Leave(self._fault.flags, self._params.get("worker"), self._fault.may_change)
        self.row.forbidden += watchers.forbidden(step, before, after, leave)
        return after

    @contextlib.contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        self._step, began = step, time.monotonic()
        try:
            yield
        finally:
            self.row.steps[step] = round(time.monotonic() - began, 1)
            self._tell(f"{step}: {self.row.steps[step]:.1f} s")


def _failed(played: Played) -> str:
    return f"{played.name} {'did not end in time' if played.status is None else f'failed ({played.status})'}"


def _since(began: float, at: float | None) -> float | None:
    return None if at is None else round(max(0.0, at - began), 1)


def _now(at: float | None = None) -> str:
    instant = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
