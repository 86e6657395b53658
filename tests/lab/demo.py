# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo: a real outage of a real broker, found, mended, drained, audited and reported; then judged by the ledger.

Its last line is the ledger's. It exits 0 when nothing is missing or doubled and what is listed is what was lost, 1
when not, and 130 when it was interrupted. Whatever happens, nothing of it stays but the report.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import scenario, stack
from .ledger import Verdict
from .scenario import Load, Playbook, ScenarioError
from .state import CHECKOUT, Lab, LabError, Options, state_directory

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130

RATE = 6.0
"""Requests a second."""

REPORTS = CHECKOUT / ".cache" / "reports"
STEPS = 6
SHOWN = 20
"""Findings of one verdict that are printed."""


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM, or the terminal has gone."""


class Signals:
    """The first signal interrupts the demo; after it, or once all is being taken down, they only say so."""

    def __init__(self) -> None:
        self._heed = True

    def install(self) -> None:
        """Heed signals from here on."""
        for number in SIGNALS:
            signal.signal(number, self._received)

    def ignore(self) -> None:
        """Let nothing interrupt what comes now."""
        self._heed = False

    def _received(self, _number: int, _frame: Any) -> None:
        if self._heed:
            self._heed = False
            raise Interrupted
        with contextlib.suppress(OSError):
            os.write(2, b"Taking everything down already; a moment.\n")


class Story:
    """Tells what happens, and keeps the time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._chapters: list[tuple[str, float]] = []

    def chapter(self, short: str, title: str) -> None:
        """Begin a step; ``short`` names it where the times are listed."""
        self._chapters.append((short, time.monotonic()))
        say(f"\n== {len(self._chapters)}/{STEPS}  {title}")

    def times(self) -> str:
        """Return where the time went."""
        ends = [start for _short, start in self._chapters[1:]] + [time.monotonic()]
        spent = [f"{short} {end - start:.0f} s" for (short, start), end in zip(self._chapters, ends, strict=True)]
        return f"{time.monotonic() - self._began:.0f} s: {', '.join(spent)}"


class Demo:
    """One run of the demo."""

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        self._options = options
        self._mine = False
        self._story = Story()
        self.report: Path | None = None
        self.record: Mapping[str, Any] = {}

    def run(self) -> tuple[Verdict, int]:
        """Let it all happen; return the ledger's verdict, and the playbook's exit status."""
        lab = self._bring_up()
        with Load(lab, RATE) as load:
            self._work()
            watch = self._kill(lab)
            status = self._recover(lab)
            self._story.chapter("settle", "Let it come to rest, so that nothing on its way counts as lost")
            load.stop()
        over = time.time()
        scenario.settle(lab, over, tell=lambda text: say(f"   {text}"))
        watch.stop()
        self._story.chapter("judge", "Ask the ledger, which knows only what was asked of Veza and what came of it")
        verdict = scenario.verdict(lab, watch.outage(), scenario.audits(lab))
        self._save(lab)
        return verdict, status

    def take_down(self) -> None:
        """Take down what was brought up; harmless to repeat."""
        if self._mine:
            stack.down(self._name)
            self._mine = False

    def conclude(self, verdict: Verdict, status: int) -> int:
        """Print what there is to know, the ledger last; return the exit status."""
        say(f"   asked: {verdict.accepted} requests accepted, {verdict.unknown} without an answer")
        replayed = ", ".join(f"{count} {kind}" for kind, count in verdict.replayed.items()) or "nothing"
        say(f"   swallowed by the outage and brought back: {replayed}")
        say(
            f"   swallowed and left for a human: {len(verdict.lost)}; redelivered by the broker: {verdict.redeliveries}"
        )
        findings = verdict.findings()
        for finding in findings[:SHOWN]:
            say(f"   {finding}")
        if len(findings) > SHOWN:
            say(f"   and {len(findings) - SHOWN} more")
        if status:
            say(f"   the playbook failed: exit status {status}")
        say()
        self._summarise()
        say(f"Time      {self._story.times()}")
        if self._mine:
            name = "" if self._name == "play" else f" --name {self._name}"
            say(f"Kept      {state_directory(self._name)}; take it down: python -m tests.lab down{name}")
        say(verdict.line())
        return 0 if verdict.ok and status == 0 else 1

    def _summarise(self) -> None:
        if self.record.get("summary"):
            say(f"Incident  {self.record['summary']}")
        say(f"Report    {self.report if self.report is not None else 'none was written'}")

    def _bring_up(self) -> Lab:
        instances = self._options.instances
        self._story.chapter("up", f"Bring up Veza: RabbitMQ, PostgreSQL, {instances} API instances, four workers")
        if stack.is_up(state_directory(self._name)):
            raise LabError(
                f"The lab '{self._name}' is up; take it down first: python -m tests.lab down --name {self._name}"
            )
        self._mine = True
        lab = stack.up(self._name, self._options)
        confirms = "with" if self._options.confirms else "without"
        say(f"   all of it on loopback, {confirms} publisher confirms, in {lab.dir}")
        return lab

    def _work(self) -> None:
        self._story.chapter("work", "Let it work: uploads, takedowns, distributions; every request is written down")
        # Never the same moment twice.
        seconds = random.uniform(3.0, 6.0)
        say(f"   {RATE:g} requests a second, for {seconds:.1f} s before anything breaks; and on until all is mended")
        time.sleep(seconds)

    def _kill(self, lab: Lab) -> scenario.Watch:
        self._story.chapter("outage", "Kill the broker (SIGKILL) while events are being published")
        watch = scenario.kill_broker(lab)
        say(f"   The API answers 202 as ever. It retries for {lab.options.backoff:g} s, then it is degraded: what it")
        say("   accepts from then on loses its event.")
        lost = scenario.await_losses(lab)
        counts = ", ".join(f"{lost[kind]} {kind}" for kind in scenario.KINDS)
        say(f"   {' and '.join(scenario.degraded(lab))} degraded; events lost so far: {counts}")
        return watch

    def _recover(self, lab: Lab) -> int:
        self._story.chapter("recover", "One command mends it, while requests keep coming")
        playbook = Playbook(lab, "recover_rabbitmq")
        say(f"   ansible-playbook {' '.join(playbook.argv[1:])}\n")
        return playbook.start().wait()

    def _save(self, lab: Lab) -> None:
        """Keep report and record: the lab's directory goes away."""
        files = sorted(Path(lab.paths["incidents"]).glob("*/*.*"), key=lambda path: path.stat().st_mtime)
        wanted = [path for path in files if path.suffix in {".md", ".json", ".jsonl", ".html"} and path.stem != "lease"]
        REPORTS.mkdir(parents=True, exist_ok=True)
        for path in wanted:
            copy = Path(shutil.copy2(path, REPORTS))
            if copy.suffix == ".md":
                self.report = copy
            elif copy.suffix == ".json":
                self.record = json.loads(copy.read_text()).get("record", {})


def say(text: str = "") -> None:
    """Print a line at once: a child's output may follow on the same terminal."""
    print(text, flush=True)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the right to be the one demo of this name in this checkout; LabError when another one runs."""
    path = CHECKOUT / ".cache" / f"demo-{name}.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabError(f"Another demo named '{name}' runs from this checkout.") from error
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--confirms", choices=("on", "off"), default="on", help="publisher confirms (on)")
    parser.add_argument("--keep", action="store_true", help="leave the lab up at the end, to look around")
    parser.add_argument("--name", default="demo", help="the lab's name (demo)")
    chosen = parser.parse_args(arguments)
    demo = Demo(chosen.name, Options(confirms=chosen.confirms == "on"))
    signals = Signals()
    signals.install()
    try:
        with alone(chosen.name):
            return perform(demo, signals, chosen.keep)
    except (LabError, ScenarioError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except Interrupted:
        say("\nInterrupted. Everything is down, nothing is left running.")
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads what is printed; there is nowhere left to say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def perform(demo: Demo, signals: Signals, keep: bool) -> int:
    """Run the demo, and take everything down whatever comes of it, before its conclusion is printed."""
    try:
        try:
            verdict, status = demo.run()
        except BaseException:
            signals.ignore()
            demo.take_down()
            raise
        signals.ignore()
        if not keep:
            demo.take_down()
    except Interrupted:
        # It came in the very moment before signals were ignored.
        demo.take_down()
        raise
    return demo.conclude(verdict, status)


if __name__ == "__main__":
    sys.exit(main())
