# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Game day E on a lab: the operator's playbook while requests flow, judged besides by what only a lab can know.

That is the ledger: what was asked of Veza, and what came of it. Sabotage shows that the game day can say no.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.lab import apps, evidence, loadgen, processes, scenario
from tests.lab.incus.lab import API_CONTAINER, IncusLab
from tests.lab.ledger import Event, Facts, Outage, judge, key_of
from tests.lab.scenario import Load, Playbook, ScenarioError, Watch
from tests.lab.state import Lab, LabError

from .alertmanager import Alertmanager

LIMIT = 900.0
"""Seconds after which a game day that does not end is given up."""

VICTIM = "backend-1"
AILING = 34
"""Seconds: six probes in a row, every 5 s, whenever they begin."""

WHO = """
import json, sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
told = [json.load(opener.open(url, timeout=5)) for url in sys.argv[1:]]
print(*(f"{one['instance']} pid {one['pid']} since {one['started_at']}" for one in told))
"""
"""Tells which processes serve, where there are no containers to ask."""

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def load_lab(directory: Path) -> Lab:
    """Return the lab whose state is in ``directory``, of whichever kind it is."""
    lab = Lab.at(directory)
    return IncusLab.at(directory) if "hosts" in lab.data else lab


def ask(method: str, url: str, body: Any = None) -> Any:
    """Send a request; return what the answer's JSON says."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with _OPENER.open(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def ail(lab: Lab) -> None:
    """Let one instance answer its health checks with 503, for longer than a game day puts up with."""
    # It may have been restarted a moment ago.
    processes.wait_until(lambda: VICTIM in _answering(lab), 10.0)
    ask("POST", f"{lab.urls['backends'][VICTIM]}/_lab/health", {"seconds": AILING})


def _answering(lab: Lab) -> list[str]:
    found = []
    for name in apps.backends(lab):
        with contextlib.suppress(OSError, ValueError):
            found.append(apps.health(lab, name)["instance"])
    return found


def restart(lab: Lab) -> None:
    """Restart one instance, as the runbook forbids."""
    if isinstance(lab, IncusLab):
        lab.on(VICTIM, "docker", "restart", "--time", "2", API_CONTAINER)
    else:
        apps.restart(lab, VICTIM)


def drop_in_silence(lab: Lab) -> None:
    """Upload one track whose events are neither published nor logged; the ledger knows of it."""
    sink = loadgen.Sink(evidence.sink(lab))
    common = {"id": "sabotage-1", "what": "upload", "api": VICTIM, "track_id": None}
    sink.write(at=time.time(), phase="sent", **common)
    answer = ask("POST", f"{lab.urls['backends'][VICTIM]}/api/v1/tracks", {"title": "Silence", "silent": True})
    sink.write(at=time.time(), phase="ended", outcome="ok", status=202, entity_id=str(answer["id"]), **common)


SABOTAGE: dict[str, Callable[[Lab], None]] = {"ailing": ail, "restarted": restart, "silent": drop_in_silence}
"""Done once the broker is down. ``no-alert`` is another one, which lasts all the time."""

NO_ALERT = "no-alert"


@contextlib.contextmanager
def silence(lab: Lab) -> Iterator[None]:
    """Silence the alert in the lab's Alertmanager."""
    api = f"{lab.urls['alertmanager']}/api/v2"
    now = datetime.now(UTC)
    matcher = {"name": "alertname", "value": "RabbitMQUnreachable", "isRegex": False, "isEqual": True}
    times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(seconds=LIMIT)).isoformat()}
    made = ask("POST", f"{api}/silences", {"matchers": [matcher], "createdBy": "a test", "comment": "E", **times})
    try:
        yield
    finally:
        ask("DELETE", f"{api}/silence/{made['silenceID']}")


@contextlib.contextmanager
def settings(lab: Lab, sabotage: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the variables that the lab's inventory lacks, while what they name is there."""
    disabled = NO_ALERT in sabotage
    common = {"outage_game_day_publisher_confirms": lab.options.confirms}
    if isinstance(lab, IncusLab):
        with silence(lab) if disabled else contextlib.nullcontext():
            yield common
        return
    health = [f"{url}/api/v1/health" for url in lab.urls["backends"].values()]
    with Alertmanager(lab.broker_address, disabled) as alertmanager:
        yield {
            **common,
            "veza_environment": "lab",
            "veza_alertmanager_url": alertmanager.url,
            "outage_game_day_identity_command": [sys.executable, "-c", WHO, *health],
        }


class Scenario:
    """One run."""

    def __init__(self, lab: Lab, sabotage: Sequence[str], arguments: Sequence[str]) -> None:
        self._lab, self._sabotage, self._arguments = lab, sabotage, arguments

    def run(self) -> int:
        """Let it all happen; return 0 when neither playbook nor ledger has anything to say against it."""
        began = time.time()
        with settings(self._lab, self._sabotage) as extra, Load(self._lab, seconds=LIMIT) as load:
            playbook = Playbook(self._lab, "game_day_rabbitmq", *self._arguments, "-e", json.dumps(extra))
            watch = Watch(self._lab)
            try:
                down_at = self._rehearse(playbook, watch)
                status = playbook.wait(1.0)
            finally:
                playbook.end()
                watch.stop()
            load.stop()
        if down_at is None:
            say("The broker was never away: nothing to judge.")
            return status or 1
        return self._judge(watch.outage(), began, down_at) or status

    def _rehearse(self, playbook: Playbook, watch: Watch) -> float | None:
        """Run the playbook to its end; return when the broker was first seen to be away. Then sabotage strikes."""
        down_at, deadline = None, time.monotonic() + LIMIT
        playbook.start()
        while not playbook.ended():
            if down_at is None and watch.outage().refused:
                down_at = time.time()
                for name in self._sabotage:
                    SABOTAGE.get(name, lambda _lab: None)(self._lab)
            if time.monotonic() > deadline:
                raise ScenarioError(f"The game day has not ended after {LIMIT:g} s")
            time.sleep(0.2)
        return down_at

    def _judge(self, seen: Outage, began: float, down_at: float) -> int:
        if not scenario.settle(self._lab, time.time(), tell=say):
            say(f"INVALID: still under way: {', '.join(scenario.under_way(self._lab))}")
            return 1
        outage = Outage(down_at, seen.refused, seen.back_at)
        facts = evidence.gather(self._lab, outage, scenario.audits(self._lab))
        verdict = judge(facts)
        unnoted = silent(facts, noted(self._lab), began) if self._lab.options.confirms else []
        for finding in verdict.findings():
            say(finding)
        for kind, entity in unnoted:
            say(f"silent: {kind} {entity} was accepted and never delivered, and no log has it")
        say(
            f"asked: {verdict.accepted} requests accepted; swallowed by the outage: {sum(verdict.replayed.values())} "
            f"brought back, {len(verdict.lost)} left for a human"
        )
        say(verdict.line())
        return 0 if verdict.ok and not unnoted else 1


def noted(lab: Lab) -> set[Event]:
    """Return the events that a backend logged as dropped."""
    found = set()
    for name in apps.backends(lab):
        for text in lab.log_text(name).splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if line.get("msg") == "publish dropped":
                    found.add((str(line["kind"]), str(line["entity_id"])))
    return found


def silent(facts: Facts, logged: Iterable[Event], since: float = 0.0) -> list[Event]:
    """Return the events accepted ``since`` that no message brought to an effect, that are no dead letter, in no log.

    A lab may have had another game day before, which was red.
    """
    delivered = {effect.key for effect in facts.effects if not effect.dispatch.startswith("job:")}
    known = delivered | set(facts.settled.dead_letters or ())
    obliged = {event for request in facts.requests if request.sent_at >= since for event in request.events}
    return sorted(event for event in obliged - set(logged) if key_of(event) not in known)


def say(text: str) -> None:
    """Print a line at once: the playbook's output is on the same terminal."""
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.game_day.scenario_e", description=__doc__)
    parser.add_argument("lab", type=Path, help="directory of a lab that is up")
    parser.add_argument(
        "--sabotage", action="append", default=[], choices=(*SABOTAGE, NO_ALERT), help="what must turn it red"
    )
    options, rest = parser.parse_known_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _frame: sys.exit(128 + caught))
    try:
        lab = load_lab(options.lab)
        if isinstance(lab, IncusLab):
            lab.enter()
        return Scenario(lab, options.sabotage, rest).run()
    except (LabError, ScenarioError) as error:
        print(f"scenario E: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
