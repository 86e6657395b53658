# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a sample of queue_drain_wait costs on a broker with 10 000 queues and on one with few, and how soon it ends.

    .venv/bin/python -m tests.bench.drain [--queues 10000] [--rounds 60] [--drains 5] [--out docs]

Two real brokers are brought up on loopback, and asked alternately. Beside it, the same from the list of all queues, as
scripts commonly do it. A drain is compared with the instant at which the last acknowledgement was answered.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika

from tests.lab.state import CHECKOUT, Lab, Options

sys.path.insert(0, str(CHECKOUT / ".collections"))

from ansible_collections.veza.rabbitmq.plugins.module_utils._arguments import management_client
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Management
from ansible_collections.veza.rabbitmq.plugins.module_utils._queues import Reader
from ansible_collections.veza.rabbitmq.plugins.modules import queue_drain_wait
from tests.lab import broker
from tests.lab.stack import up

NAMED = ("transcode_jobs", "distribution_outbox", "dmca_propagation", "search_index_updates")
INTERVAL = 2.0
LICENCE = "SPDX-License-Identifier" + ": GPL-3.0-or-later"


def params(lab: Lab, **given: Any) -> dict[str, Any]:
    """Return the module's parameters for a lab."""
    defaults = {name: option.get("default") for name, option in queue_drain_wait.argument_spec().items()}
    login = lab.credentials["monitor"]
    where = {"login_host": "127.0.0.1", "login_port": lab.ports["management"], "vhost": broker.VHOST}
    return {**defaults, **where, "login_user": login["user"], "login_password": login["password"], **given}


def management(lab: Lab) -> Management:
    """Return the management API of a lab."""
    return Management(management_client(params(lab), 30.0), lab.credentials["monitor"]["user"])


def connection(lab: Lab) -> Any:
    """Return an AMQP connection to a lab's broker."""
    account = pika.PlainCredentials(lab.credentials["veza"]["user"], lab.credentials["veza"]["password"])
    where = pika.ConnectionParameters("127.0.0.1", lab.ports["amqp"], broker.VHOST, account)
    return pika.BlockingConnection(where)


def fill(lab: Lab, count: int) -> None:
    """Have so many more queues, idle, and 50 messages in each of those that are named: a sample then asks for most."""
    with closing(connection(lab)) as link:
        channel = link.channel()
        for number in range(count):
            channel.queue_declare(f"idle.{number}", durable=True)
        for name in NAMED:
            for _number in range(50):
                channel.basic_publish("", name, b"x", pika.BasicProperties(delivery_mode=2))


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds that a call took."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def costs(labs: dict[str, Lab], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median milliseconds of a sample and of the list of all, by lab; the labs are asked in turn."""
    readers = {name: Reader(management(lab), broker.VHOST) for name, lab in labs.items()}
    lists = {name: management(lab) for name, lab in labs.items()}
    for reader in readers.values():
        reader.look(NAMED, 60.0)  # the first one asks for the version, too
    samples: dict[str, list[float]] = {name: [] for name in labs}
    everything: dict[str, list[float]] = {name: [] for name in labs}
    for _number in range(rounds):
        for name in labs:
            samples[name].append(timed(lambda of=readers[name]: of.look(NAMED, 60.0)))  # type: ignore[misc]
    # Afterwards: the broker is busy with such a list for longer than it takes.
    path = f"/api/queues/{broker.VHOST.replace('/', '%2F')}"
    for _number in range(3):
        for name in labs:
            lists[name].begin(60.0)
            everything[name].append(timed(lambda of=lists[name]: of.ask(path)))  # type: ignore[misc]
    return {name: (statistics.median(samples[name]), statistics.median(everything[name])) for name in labs}


def late(lab: Lab) -> float:
    """Drain a queue by a worker, and return the seconds from the last acknowledgement to the verdict."""
    queue, told = NAMED[0], {}

    def work() -> None:
        with closing(connection(lab)) as link:
            channel = link.channel()
            channel.basic_qos(prefetch_count=10)
            for method, _properties, _body in channel.consume(queue, inactivity_timeout=2.0):
                if method is None:
                    break
                time.sleep(0.01)
                channel.basic_ack(method.delivery_tag)
                channel.queue_declare(queue, passive=True)  # answered when the acknowledgement has been carried out
                told["at"] = time.monotonic()

    with closing(connection(lab)) as link:
        channel = link.channel()
        for _number in range(300):
            channel.basic_publish("", queue, b"x", pika.BasicProperties(delivery_mode=2))
    worker = threading.Thread(target=work)
    worker.start()
    given = params(lab, queues=[queue], interval=INTERVAL, timeout=120.0)
    result = queue_drain_wait.run(given, False, Reader(management(lab), broker.VHOST).look)
    ended = time.monotonic()
    worker.join()
    if not result["drained"]:
        raise SystemExit(result["message"])
    return ended - float(told["at"])


def page(found: dict[str, tuple[float, float]], lates: list[float], version: str, options: argparse.Namespace) -> str:
    """Return the page."""
    (few, few_list), (many, many_list) = found["few"], found["many"]
    return f"""<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{LICENCE}
-->

# Cost of watching a backlog

Measured on {datetime.now(UTC):%Y-%m-%d} with RabbitMQ {version} on a machine with two processors, by
`.venv/bin/python -m tests.bench.drain`: two brokers, asked alternately, {options.rounds} samples each, medians. A
sample of `queue_drain_wait` reads four named queues that hold messages; theirs is the list of all queues.

| Queues on the broker | A sample | The list of all |
| --- | --- | --- |
| few | {few:.1f} ms | {few_list:.1f} ms |
| {options.queues} more | {many:.1f} ms | {many_list:.1f} ms |
| ratio | {many / few:.2f} | {many_list / few_list:.1f} |

The verdict "drained" came {statistics.median(lates):.2f} s after the last acknowledgement (median of {len(lates)}
drains; the latest {max(lates):.2f} s), at an interval of {INTERVAL:g} s between samples.
"""


def main() -> None:
    """Measure, print and write docs/bench-drain.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queues", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--drains", type=int, default=5)
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs")
    options = parser.parse_args()
    with ExitStack() as stack:
        labs = {}
        for name in ("few", "many"):
            labs[name] = up(f"bench-{name}-{os.getpid()}", Options(apps=False))
            stack.callback(labs[name].down)
        fill(labs["few"], 0)
        fill(labs["many"], options.queues)
        time.sleep(12.0)  # statistics of what has just been made come in
        found = costs(labs, options.rounds)
        for name, (sample, everything) in found.items():
            print(f"{name}: sample {sample:.1f} ms, list {everything:.1f} ms", flush=True)
        print(f"ratio {found['many'][0] / found['few'][0]:.2f}", flush=True)
        with closing(connection(labs["few"])) as link:
            for queue in NAMED:
                link.channel().queue_purge(queue)
        lates = [late(labs["few"]) for _number in range(options.drains)]
        print("late by " + ", ".join(f"{seconds:.2f}" for seconds in lates) + " s", flush=True)
        version = str(broker.api(labs["few"], "GET", "/api/overview")["rabbitmq_version"])
    options.out.mkdir(exist_ok=True)
    (options.out / "bench-drain.md").write_text(page(found, lates, version, options))


if __name__ == "__main__":
    main()
