# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the kill to serving again with nobody touching anything, against a person who knew.

    .venv/bin/python -m tests.bench.chain --lab play [--rounds 2] [--out docs]

Both are told by the same alert of the same Prometheus and Alertmanager. The person types `systemctl start` the moment
the alert fires, without a look at anything; the chain is Alertmanager's webhook, ansible-rulebook and answer_rabbitmq.
"""

from __future__ import annotations

import argparse
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.game_day import means
from tests.game_day.faults import crash
from tests.lab import broker, processes
from tests.lab.incus import chain
from tests.lab.incus.lab import IncusLab
from tests.lab.state import CHECKOUT

from .diagnose import LICENCE
from .recover import typed_start

GROUP_INTERVAL = 70.0
"""Seconds within which the rulebook is told that it is over, and looks: it would mend the next one at once."""
FIRES = 120.0
SERVES = 180.0
NAMED = "[broker_crashed]"


@dataclass(frozen=True)
class Round:
    """Seconds of one outage; ``named`` is from the alert to the diagnosis, None where nobody asked for one."""

    fired: float
    named: float | None
    served: float


def until(what: str, true: Callable[[], bool], seconds: float) -> float:
    """Wait until it is so; return the instant."""
    if not processes.wait_until(true, seconds, 0.1):
        raise SystemExit(f"not within {seconds:g} s: {what}")
    return time.monotonic()


def killed(lab: IncusLab) -> tuple[float, float]:
    """Kill the broker when all is quiet; return that instant and the one at which the alert fired."""
    chain.await_quiet(lab)
    crash.FAULT.inject(lab, random.Random(0))
    began = time.monotonic()
    return began, until("the alert fires", lambda: bool(chain.firing(lab)), FIRES)


def person(lab: IncusLab) -> Round:
    """Mend it as somebody who knows what is wrong as soon as the alert fires."""
    began, fired = killed(lab)
    with typed_start(lab):
        served = until("it serves", lambda: broker.serves(lab), SERVES)
    return Round(fired - began, None, served - began)


def nobody(lab: IncusLab, log: Path) -> Round:
    """Watch the chain mend it, to the end of its work."""
    chain.await_quiet(lab)
    time.sleep(GROUP_INTERVAL)
    before = log.read_text().count(NAMED)
    closed = len(lab.incident_documents())
    began, fired = killed(lab)
    named = until("the cause is named", lambda: log.read_text().count(NAMED) > before, SERVES)
    served = until("it serves", lambda: broker.serves(lab), SERVES)
    until("the incident is closed", lambda: finished(lab) > closed, 2 * SERVES)
    return Round(fired - began, named - fired, served - began)


def finished(lab: IncusLab) -> int:
    """Return how many incidents are reported and closed."""
    return sum(not document["record"]["open"] for document in lab.incident_documents() if "record" in document)


def page(people: list[Round], alone: list[Round], version: str) -> str:
    """Return the page."""

    def middle(rounds: list[Round], what: str) -> float:
        return statistics.median(getattr(one, what) for one in rounds)

    def lines(rounds: list[Round], who: str) -> str:
        cells = (["–" if value is None else f"{value:.1f} s" for value in astuple(one)] for one in rounds)
        return "\n".join(f"| {who} | {' | '.join(row)} |" for row in cells)

    theirs, ours = middle(people, "served"), middle(alone, "served")
    # What an alert takes is chance (when the next scrape comes) and the same for both.
    after = [statistics.median(one.served - one.fired for one in rounds) for rounds in (people, alone)]
    return f"""<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{LICENCE}
-->

# From the alert to serving, with nobody touching anything

RabbitMQ {version} is killed and not started again by systemd, on the lab of Incus hosts (a virtual machine with two
processors), on {datetime.now(UTC):%Y-%m-%d}. *A person who knew* types `systemctl start` over ssh the moment the alert
fires, without a look at anything. *Nobody*: Alertmanager's webhook, ansible-rulebook, `answer_rabbitmq`, which looks
from every host before it acts. By `.venv/bin/python -m tests.bench.chain`.

**From the kill to serving: a person who knew {theirs:.1f} s, nobody {ours:.1f} s, a ratio of {ours / theirs:.2f}. From
the alert: {after[0]:.1f} s and {after[1]:.1f} s. From the alert to the diagnosis: {middle(alone, "named"):.1f} s.**

| | kill to alert | alert to diagnosis | kill to serving |
| --- | --- | --- | --- |
{lines(people, "a person who knew")}
{lines(alone, "nobody")}
"""


def main() -> None:
    """Measure, print and write docs/bench-chain.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="play")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs")
    options = parser.parse_args()
    python = chain.python()
    lab = IncusLab.load(options.lab)
    lab.enter()
    version = str(means.api(lab, "GET", "/api/overview")["rabbitmq_version"])
    token = secrets.token_hex(16)
    chain.tell_the_rulebook(lab, token)
    with tempfile.TemporaryDirectory() as where, chain.rulebook(lab, python, Path(where), token, restarts=100) as log:
        until("the rulebook has looked once", lambda: "[healthy]" in log.read_text(), FIRES)
        alone = [nobody(lab, log) for _round in range(options.rounds)]
    print(*alone, sep="\n", flush=True)
    # Last, as nobody accounts for these outages: the chain would find them.
    people = [person(lab) for _round in range(options.rounds)]
    print(*people, sep="\n", flush=True)
    options.out.mkdir(exist_ok=True)
    (options.out / "bench-chain.md").write_text(page(people, alone, version))


if __name__ == "__main__":
    main()
