# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnosis against the runbook's own commands, and rabbitmq_health against rabbitmq-diagnostics.

    .venv/bin/python -m tests.bench.diagnose --lab play [--rounds 5] [--out docs]

Both sides ask the same lab of Incus hosts, alternately. The runbook's commands are a script that types them over ssh,
as the runbook has them and, a second time, put together to one login a host; reading what they print is not counted.
The playbook is that of the collection as it is built and installed, without the checkout's ansible.cfg. Both run beside
the hosts, and once more at a desk from which a round trip to them takes as long as from a person's home.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import line
from tests.game_day import means
from tests.lab.incus.lab import IncusLab
from tests.lab.state import CHECKOUT
from tests.tools import checkout

BROKER = (
    "df -h /var/lib/rabbitmq",
    "sudo systemctl status rabbitmq-server --no-pager",
    "sudo journalctl -u rabbitmq-server -n 500 --no-pager | grep -E 'ERROR|CRASH|disk_alarm|memory_alarm'",
)
BACKEND = (
    "sudo journalctl -u veza-backend-api -n 200 --no-pager | grep amqp",
    "nc -zv -w 10 rabbitmq.lxd 5672",
    "getent hosts rabbitmq.lxd",
    "sudo docker exec veza_backend_api env | grep AMQP_URL",
)
COMMANDS = (("rabbitmq", BROKER), ("backend-1", BACKEND), ("backend-2", BACKEND))
"""The runbook's, with a limit to what would wait for ever, as a person would cut it short."""

CHECKS = ("check_running", "check_alarms", "check_local_alarms", "check_port_connectivity", "check_virtual_hosts",
          "check_if_node_is_quorum_critical", "check_port_listener 5672")  # fmt: skip
"""What rabbitmq_health asks, by the command line that the documentation recommends."""

ROUND_TRIP = 0.02
"""Seconds from a person's home to the hosts, and back."""
FAR = f"{ROUND_TRIP * 1000:.0f} ms away"

HERE = """---
all:
  hosts:
    localhost: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
    hypervisor: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  children:
    veza: {vars: {ansible_ssh_executable: ssh}}
"""
"""Over the lab's inventory, whose programs find the lab's network by themselves: the bench is there, or at its desk."""

LICENCE = "SPDX-License-Identifier" + ": GPL-3.0-or-later"


class Bench:
    """One lab, both ways."""

    def __init__(self, lab: IncusLab, collections: Path, scratch: Path) -> None:
        self.lab, self.collections, self.scratch = lab, collections, scratch
        self.inventory = scratch / "here.yml"
        self.inventory.write_text(HERE)
        self.desk: list[str] = []
        """What to put before a command to run it at a desk that is not beside the hosts."""

    def overview(self) -> None:
        """Ask the management API, the runbook's first move."""
        monitor = self.lab.credentials["monitor"]
        login = f"{monitor['user']}:{monitor['password']}"
        curl = [*self.desk, "curl", "-s", "-m", "10", "-u", login, "http://rabbitmq.lxd:15672/api/overview"]
        subprocess.run(curl, capture_output=True, check=False, timeout=60)

    def ssh(self, host: str, command: str) -> None:
        """Log in and run a command."""
        ssh = ["ssh", "-F", str(self.lab.dir / "ssh" / "config")]
        subprocess.run([*self.desk, *ssh, f"{host}.lxd", command], capture_output=True, check=False, timeout=300)

    def runbook(self) -> None:
        """Type the runbook's commands as it has them, one after the other."""
        self.overview()
        for host, commands in COMMANDS:
            for command in commands:
                self.ssh(host, command)

    def prepared(self) -> None:
        """The same by somebody who has put them into one script a host."""
        self.overview()
        for host, commands in COMMANDS:
            self.ssh(host, "\n".join(commands))

    def playbook(self) -> None:
        """Run diagnose_rabbitmq of the installed collection, with Ansible's own defaults."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        nothing = self.scratch / "ansible.cfg"
        nothing.touch()
        environment |= {"ANSIBLE_COLLECTIONS_PATH": str(self.collections), "ANSIBLE_CONFIG": str(nothing)}
        environment |= {"ANSIBLE_VAULT_PASSWORD_FILE": str(CHECKOUT / "tests" / "lab" / "vault_password")}
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        inventories = ["-i", str(self.lab.inventory), "-i", str(self.inventory)]
        argv = [*self.desk, program, *inventories, "veza.rabbitmq.diagnose_rabbitmq"]
        done = subprocess.run(argv, cwd=self.scratch, env=environment, capture_output=True, check=False, timeout=300)
        if b"CAUSE" not in done.stdout:
            raise SystemExit(f"diagnose_rabbitmq ended with {done.returncode}: {done.stdout[-500:]!r}")

    def health(self) -> None:
        """Ask by rabbitmq_health, the module alone."""
        from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

        from ansible_collections.veza.rabbitmq.plugins.modules import rabbitmq_health

        monitor = self.lab.credentials["monitor"]
        arguments = {"login_host": "rabbitmq.lxd", "login_user": monitor["user"], "login_password": monitor["password"]}
        spec = ArgumentSpecValidator(rabbitmq_health.argument_spec())
        params = spec.validate({**arguments, "vhost": "/veza"}).validated_parameters
        found = rabbitmq_health.run(params, rabbitmq_health.rungs_of(params))
        if found["verdict"] != "healthy":
            raise SystemExit(f"rabbitmq_health: {found['reason']}")

    def diagnostics(self) -> None:
        """Ask the same by rabbitmq-diagnostics on the broker's host."""
        script = "; ".join(f"rabbitmq-diagnostics -q {check}" for check in CHECKS)
        self.lab.on("rabbitmq", "sh", "-c", script, check=False, timeout=300)


def timed(call: Callable[[], None]) -> float:
    """Return the seconds that a call took."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


def pairs(ours: Callable[[], None], theirs: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Return the median seconds of both, run alternately."""
    times = [(timed(ours), timed(theirs)) for _round in range(rounds)]
    return statistics.median(one for one, _other in times), statistics.median(other for _one, other in times)


def measure(bench: Bench, rounds: int) -> list[tuple[str, str, str, str]]:
    """Return the table's lines."""
    lines = []

    def compare(what: str, ours: Callable[[], None], theirs: Callable[[], None], count: int) -> None:
        mine, other = pairs(ours, theirs, count)
        lines.append((what, f"{mine:.2f} s", f"{other:.2f} s", f"{other / mine:.1f}"))
        print(" | ".join(lines[-1]), flush=True)

    compare("diagnose_rabbitmq / the runbook's commands, healthy", bench.playbook, bench.runbook, rounds)
    compare("diagnose_rabbitmq / the same in one script a host, healthy", bench.playbook, bench.prepared, rounds)
    with line.laid(ROUND_TRIP) as bench.desk:
        compare(f"diagnose_rabbitmq / the runbook's commands, healthy, {FAR}", bench.playbook, bench.runbook, rounds)
    bench.desk = []
    compare("rabbitmq_health / rabbitmq-diagnostics", bench.health, bench.diagnostics, rounds)
    pid = means.beam(bench.lab)
    bench.lab.on("rabbitmq", "kill", "-STOP", pid, check=True)
    try:
        compare("diagnose_rabbitmq / the runbook's commands, broker hung", bench.playbook, bench.runbook, 1)
    finally:
        bench.lab.on("rabbitmq", "kill", "-CONT", pid, check=True)
    means.drop_packets(bench.lab, "backend-1", "tcp dport { 5672, 15672 }")
    try:
        compare("diagnose_rabbitmq / the runbook's commands, path dropped", bench.playbook, bench.runbook, 1)
    finally:
        means.undo_packets(bench.lab, "backend-1")
    return lines


def page(lines: list[tuple[str, str, str, str]], version: str) -> str:
    """Return the page."""
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{LICENCE}
-->

# Speed of the diagnosis

Measured in one run, both sides alternately, on the lab of Incus hosts (RabbitMQ {version}, a virtual machine with two
processors) on {datetime.now(UTC):%Y-%m-%d}, by `.venv/bin/python -m tests.bench.diagnose`. Medians. The playbook ran
from the built collection, with Ansible's own settings. The runbook's commands were a script over ssh, a login each as
the runbook has them, and once more put together to one login a host; reading them is not counted, and what would wait
for ever was cut short after 10 s. Where it says "{FAR}", a round trip from where both were started to any host takes
{FAR.removesuffix(" away")}, as from a person's home; else a connection is made in 0.3 ms, as hardly anywhere.

A ratio below 1 says that ours is behind: beside the hosts, Ansible starts in the time in which a healthy broker answers
a few commands, and all the hosts at which the playbook looks at once share the two processors with it.

| Ours / theirs | Ours | Theirs | Ratio |
| --- | --- | --- | --- |
{table}
"""


def main() -> None:
    """Measure, print and write docs/bench-diagnose.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="play")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs")
    options = parser.parse_args()
    lab = IncusLab.load(options.lab)
    lab.enter()
    with tempfile.TemporaryDirectory() as scratch:
        collections = Path(scratch) / "collections"
        checkout.copy_collection(CHECKOUT, collections)
        sys.path.insert(0, str(collections))
        lines = measure(Bench(lab, collections, Path(scratch)), options.rounds)
        version = str(means.api(lab, "GET", "/api/overview")["rabbitmq_version"])
    options.out.mkdir(exist_ok=True)
    (options.out / "bench-diagnose.md").write_text(page(lines, version))


if __name__ == "__main__":
    main()
