# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time to recover against the physical floor.

    .venv/bin/python -m tests.bench.recover --lab play [--rounds 5] [--out docs]

The floor is somebody who knew: `systemctl start` typed over ssh at once, plus the broker's boot. The other side is
recover_rabbitmq from its start, which has to find out first. Both mend the same crash on the same lab of Incus hosts,
alternately; both are over when, seen from outside, a publish is confirmed and read back.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.game_day import means, probe
from tests.game_day.faults import crash
from tests.lab.incus.lab import IncusLab
from tests.lab.scenario import Playbook
from tests.lab.state import CHECKOUT

from .diagnose import LICENCE

PATIENCE = 120.0
LOOK = 0.1
"""Seconds between two looks whether it serves."""


@contextmanager
def typed_start(lab: IncusLab) -> Iterator[None]:
    """Start the broker as somebody who knew: typed over ssh, without a look at anything."""
    ssh = [str(lab.dir / "bin" / "ssh"), "-F", str(lab.dir / "ssh" / "config")]
    command = [*ssh, "rabbitmq.lxd", "sudo", "systemctl", "start", means.UNIT]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as typed:
        yield
        typed.wait(PATIENCE)


class Bench:
    """One lab, whose broker is killed again and again."""

    def __init__(self, lab: IncusLab, log: Path) -> None:
        self.lab, self.log = lab, log
        self._random = random.Random(0)

    def break_it(self) -> None:
        """Kill the broker, and see that it is gone."""
        params = crash.FAULT.inject(self.lab, self._random)
        if not means.until(lambda: crash.FAULT.present(self.lab, params), crash.FAULT.timeout):
            raise SystemExit("the crash was not to be seen")

    def served(self, began: float) -> float:
        """Return the seconds until it serves."""
        while not probe.look(self.lab).confirmed:
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"it does not serve within {PATIENCE:g} s; see {self.log}")
            time.sleep(LOOK)
        return time.monotonic() - began

    def known(self) -> float:
        """Mend it as somebody who knew."""
        self.break_it()
        began = time.monotonic()
        with typed_start(self.lab):
            return self.served(began)

    def found_out(self) -> float:
        """Mend it by recover_rabbitmq, which must find out first; let it finish its work."""
        self.break_it()
        began = time.monotonic()
        budget = ("-e", "outage_recover_restarts=1000")
        playbook = Playbook(self.lab, "recover_rabbitmq", *budget, log=self.log).start()
        try:
            seconds = self.served(began)
        finally:
            status = playbook.wait(600)
        if status != 0:
            raise SystemExit(f"recover_rabbitmq ended with {status}; see {self.log}")
        return seconds


def measure(theirs: Callable[[], float], ours: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """Return the seconds of both, alternately."""
    pairs = []
    for _round in range(rounds):
        pairs.append((theirs(), ours()))
        print(f"floor {pairs[-1][0]:.1f} s, recover_rabbitmq {pairs[-1][1]:.1f} s", flush=True)
    return pairs


def page(pairs: list[tuple[float, float]], version: str) -> str:
    """Return the page."""
    rows = "\n".join(f"| {floor:.1f} s | {ours:.1f} s | +{ours - floor:.1f} s |" for floor, ours in pairs)
    floor, ours, more = (statistics.median(values) for values in zip(*((a, b, b - a) for a, b in pairs), strict=True))
    return f"""<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{LICENCE}
-->

# Time to recover

A crashed broker (RabbitMQ {version}, systemd told not to restart it) until a publish is confirmed again, seen from
outside. *Floor*: `systemctl start` typed over ssh at once by somebody who knew what was wrong, plus the boot.
*recover_rabbitmq*: from the start of the command, which has to find out first. Alternately in one run, on the lab of
Incus hosts (a virtual machine with two processors), on {datetime.now(UTC):%Y-%m-%d}, by
`.venv/bin/python -m tests.bench.recover`.

**Median: floor {floor:.1f} s, recover_rabbitmq {ours:.1f} s: {more:.1f} s more, a ratio of {ours / floor:.2f}.**

| Floor | recover_rabbitmq | Difference |
| --- | --- | --- |
{rows}
"""


def main() -> None:
    """Measure, print and write docs/bench-recover.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="play")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs")
    options = parser.parse_args()
    lab = IncusLab.load(options.lab)
    lab.enter()
    log = Path(tempfile.gettempdir()) / f"veza-bench-recover-{options.lab}.log"
    bench = Bench(lab, log)
    pairs = measure(bench.known, bench.found_out, options.rounds)
    version = str(means.api(lab, "GET", "/api/overview")["rabbitmq_version"])
    options.out.mkdir(exist_ok=True)
    (options.out / "bench-recover.md").write_text(page(pairs, version))


if __name__ == "__main__":
    main()
