# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an outage in the lab is made of: load, a killed broker, a playbook, a settled end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from . import apps, broker, evidence, processes
from .ledger import Event, Outage, Verdict, judge
from .processes import MARK
from .state import CHECKOUT, Lab

KINDS = ("transcode", "dmca", "distribution", "search")

WATCH_INTERVAL = 0.1


class ScenarioError(Exception):
    """The scenario could not be set: it shows nothing, good or bad."""


def _environment(lab: Lab) -> dict[str, str]:
    """Return the environment of a child. Marked as the lab's, it is ended with the lab, whatever becomes of us."""
    return {**os.environ, MARK: str(lab.dir)}


def _signal_group(child: subprocess.Popen[Any], number: int) -> None:
    """Send a signal to a child and all its children; they have a session, and so a group, of their own."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)


class Load:
    """The load generator while it runs, as a context: outside it, it has ended."""

    def __init__(self, lab: Lab, rate: float = 6.0, seconds: float = 300.0) -> None:
        apis = [f"--api={name}={url}" for name, url in lab.urls["backends"].items()]
        self._argv = [sys.executable, "-m", "tests.lab.loadgen", *apis, f"--sink={evidence.sink(lab)}"]
        self._argv += [f"--rate={rate}", f"--seconds={seconds}"]
        self._lab = lab
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Load:
        """Start it."""
        with (self._lab.dir / "logs" / "loadgen.log").open("ab") as log:
            self._child = subprocess.Popen(
                self._argv,
                cwd=CHECKOUT,
                env=_environment(self._lab),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        if kind is not None and self._child is not None:
            # Nobody waits for the outcome of requests any more.
            _signal_group(self._child, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """Let the load generator await the answers that are under way, and end."""
        if self._child is None:
            return
        _signal_group(self._child, signal.SIGTERM)
        try:
            self._child.wait(30)
        except BaseException:
            _signal_group(self._child, signal.SIGKILL)
            self._child.wait(5)
            raise


class Watch:
    """Looks at the broker's port, from outside, from its death until it accepts connections again."""

    def __init__(self, lab: Lab) -> None:
        self._address = lab.broker_address
        self._killed_at = time.time()
        self._refused = 0
        self._back_at: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(WATCH_INTERVAL):
            try:
                socket.create_connection(self._address, timeout=1).close()
            except OSError:
                self._refused += 1
                continue
            # What still hung on to a connection as the broker died is no sign of its return.
            if self._refused:
                self._back_at = time.time()
                return

    def outage(self) -> Outage:
        """Return what was seen so far."""
        return Outage(self._killed_at, self._refused, self._back_at)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join(5)


class Playbook:
    """A playbook of this collection, run against a lab as a child; its output live, or in a file."""

    def __init__(
        self,
        lab: Lab,
        name: str,
        *arguments: str,
        log: Path | None = None,
        inventory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(inventory or lab.inventory),
            str(Path("playbooks") / f"{name}.yml"),
            *arguments,
        ]
        self.log = log
        self._lab = lab
        self._environment = dict(environment or {})
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> Playbook:
        """Start it."""
        own = self._lab.dir / "ansible"
        environment = {
            **_environment(self._lab),
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            # What Ansible writes for itself goes with the lab too.
            "ANSIBLE_HOME": str(own),
            **self._lab.ansible_environment(),
            "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8"),
            **self._environment,
        }
        with self._output() as output:
            self._child = subprocess.Popen(
                self.argv,
                cwd=CHECKOUT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                # A Ctrl-C reaches us alone, and we end it in order.
                start_new_session=True,
            )
        return self

    @contextlib.contextmanager
    def _output(self) -> Iterator[IO[bytes] | None]:
        if self.log is None:
            yield None
        else:
            with self.log.open("wb") as file:
                yield file

    def wait(self, timeout: float = 300.0) -> int:
        """Return its exit status; ScenarioError when it does not end in time. However this ends, it has ended."""
        assert self._child is not None
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ScenarioError(f"{' '.join(self.argv)} has not ended after {timeout:g} s") from error
        finally:
            self.end()

    def ended(self) -> bool:
        """Tell whether it has ended."""
        return self._child is not None and self._child.poll() is not None

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.signal(signal.SIGINT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and all that it started."""
        assert self._child is not None
        _signal_group(self._child, number)

    def end(self) -> None:
        """End it, as gently as it lets itself be ended."""
        for number, patience in ((signal.SIGINT, 5.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
            if self._child is None or self._child.poll() is not None:
                return
            _signal_group(self._child, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(patience)

    def text(self) -> str:
        """Return what it printed into its log."""
        assert self.log is not None
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def recap(text: str) -> dict[str, dict[str, int]]:
    """Return the figures that Ansible prints last, by host; empty where it did not come so far."""
    found = {}
    for line in text.rpartition("PLAY RECAP")[2].splitlines():
        host, _unused, figures = line.partition(":")
        if pairs := re.findall(r"(\w+)=(\d+)", figures):
            found[host.strip()] = {name: int(value) for name, value in pairs}
    return found


def dropped(lab: Lab) -> Counter[str]:
    """Return how many events the API gave up, by kind, as its instances logged it. Only the pace depends on it."""
    counts: Counter[str] = Counter()
    for name in apps.backends(lab):
        for text in lab.log_text(name).splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if line.get("msg") == "publish dropped":
                    counts[line["kind"]] += 1
    return counts


def degraded(lab: Lab) -> list[str]:
    """Return the API instances that are in degraded mode."""
    found = []
    for name in apps.backends(lab):
        with contextlib.suppress(OSError, ValueError):
            if apps.health(lab, name)["eventbus"] == "degraded":
                found.append(name)
    return found


def kill_broker(lab: Lab) -> Watch:
    """Kill the broker with SIGKILL, and watch its port from then on."""
    broker.kill(lab)
    return Watch(lab)


def await_losses(
    lab: Lab, each: int = 2, timeout: float = 120.0, before: Mapping[str, int] | None = None
) -> Counter[str]:
    """Wait until an API instance is degraded and ``each`` events of every kind were lost; return how many were.

    ``before`` is what had been lost when the outage began.
    """
    start = Counter(before or {})

    def lost() -> Counter[str]:
        return dropped(lab) - start

    def enough() -> bool:
        counts = lost()
        return bool(degraded(lab)) and all(counts[kind] >= each for kind in KINDS)

    if not processes.wait_until(enough, timeout, 0.3):
        raise ScenarioError(f"After {timeout:g} s of outage only {dict(lost())} events were lost")
    return lost()


def settle(lab: Lab, since: float, timeout: float = 180.0, tell: Callable[[str], None] = lambda _text: None) -> bool:
    """Wait until nothing is under way any more, and long enough that nothing can come; False when time ran out.

    ``since`` is when the load and the outage were over (seconds since the epoch).
    """
    deadline = time.monotonic() + timeout
    pause = since + evidence.quiet_seconds(lab) - time.time()
    if pause > 0:
        tell(f"waiting {pause:.0f} s more: the publishers' backoff and {evidence.HEARTBEATS} heartbeats")
        # A little more: the ledger wants it longer than this.
        time.sleep(pause + 0.2)
    while left := under_way(lab):
        if time.monotonic() >= deadline:
            return False
        tell(f"still under way: {', '.join(left[:4])}{', ...' if len(left) > 4 else ''}")
        time.sleep(1.0)
    return True


def under_way(lab: Lab) -> list[str]:
    """Return what is still on its way, in words."""
    state = evidence.settled(lab)
    figures: dict[str, int | None] = {
        **{f"publisher {name}": count for name, count in state.buffered.items()},
        "sockets": state.sockets,
        **{f"{name} (ready)": count for name, count in state.ready.items()},
        **{f"{name} (unacknowledged)": count for name, count in state.unacked.items()},
        "transcode jobs": state.live_jobs,
    }
    return [f"{name} {'unreadable' if count is None else count}" for name, count in figures.items() if count != 0]


def verdict(lab: Lab, outage: Outage | None, listed: frozenset[Event] | None, **more: Any) -> Verdict:
    """Return the ledger's verdict over a lab that was settled."""
    return judge(evidence.gather(lab, outage, listed, **more))


def audits(lab: Lab) -> frozenset[Event] | None:
    """Return what the audits of this lab's incidents list."""
    return evidence.listed(lab.incident_documents())
