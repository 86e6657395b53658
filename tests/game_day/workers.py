# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What faults of the workers and their queues are made with, and seen with. Nothing here judges."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pika
import yaml

from tests.lab import broker, evidence, scenario
from tests.lab.veza.events import EXCHANGE, QUEUES, key_of

from . import means

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

VHOST = quote(broker.VHOST, safe="")
ORIGINAL = f"{means.COMPOSE}.game-day"
LOG = "/var/log/rabbitmq/rabbit@*.log"

DROPPED = re.compile(
    r'^rabbitmq_global_messages_dead_lettered_(\w+)_total\{.*dead_letter_strategy="disabled".*\} (\S+)$', re.M
)

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def service(kind: str) -> str:
    """Return the compose service of the worker of this kind."""
    return f"worker-{kind}"


def processes(lab: IncusLab, name: str) -> dict[str, str]:
    """Return the worker's processes as its host sees them, without the container's init: id -> state (R, S, T)."""
    top = means.container(lab, means.WORKERS, name)["State"]["Pid"]
    script = (
        f"for pid in $(cat /proc/{top}/task/{top}/children); do"
        " awk '/^State/ {print pid, $2}' pid=$pid /proc/$pid/status; done"
    )
    lines = means.shell(lab, means.WORKERS, script).splitlines() if top else []
    return {fields[0]: fields[1] for fields in map(str.split, lines)}


def depth(lab: IncusLab, queue: str) -> dict[str, int]:
    """Return a queue's consumers, messages_ready and messages_unacknowledged, as the queue itself has them."""
    columns = ("name", "consumers", "messages_ready", "messages_unacknowledged")
    text = lab.rabbitmqctl("-q", "--formatter", "json", "list_queues", "-p", broker.VHOST, *columns, timeout=30)
    (row,) = (row for row in json.loads(text) if row["name"] == queue)
    return {column: int(row[column]) for column in columns[1:]}


def change(lab: IncusLab, name: str, settings: Mapping[str, Any], host: str = means.WORKERS) -> None:
    """Deploy a worker, or a backend's API, with other settings, merged into its service of the compose file."""
    means.shell(lab, host, f"[ -e {ORIGINAL} ] || cp -p {means.COMPOSE} {ORIGINAL}")
    document = yaml.safe_load(means.shell(lab, host, f"cat {means.COMPOSE}"))
    entry = document["services"][name]
    for key, value in settings.items():
        entry[key] = {**entry[key], **value} if isinstance(value, dict) else value
    lab.on(host, "tee", means.COMPOSE, input=yaml.safe_dump(document, sort_keys=False), check=True)
    means.compose(lab, host, "up", "-d", name)


def restore(lab: IncusLab, name: str, host: str = means.WORKERS) -> None:
    """Deploy what was there before ``change``; harmless without one."""
    means.put_back(lab, host, means.COMPOSE)
    means.compose(lab, host, "up", "-d", name)


def burst(lab: IncusLab, seconds: float, rate: float = 12.0) -> None:
    """Send requests for a while, more than the usual load; the ledger has them too."""
    with scenario.Load(lab, rate=rate):
        time.sleep(seconds)


def an_entity(lab: IncusLab, kind: str) -> str:
    """Return the id of something that was asked for and had its effect: an event about it changes no account."""
    if not _done(lab, kind):
        burst(lab, 2.0)
        means.until(lambda: _done(lab, kind), 20)
    return max(_done(lab, kind), key=int)


def _done(lab: IncusLab, kind: str) -> set[str]:
    asked = {entity for request in evidence.requests(lab) for of, entity in request.events if of == kind}
    keys = (key.split(":") for key, _dispatch, _at in evidence.query(lab, evidence.EFFECTS))
    return asked & {key[1] for key in keys if key[0] == kind}


def attempts(lab: IncusLab, name: str, last: int = 5000) -> list[dict[str, Any]]:
    """Return the latest attempts of a worker, the oldest first."""
    script = f"""tail -n {last} {lab.paths["attempts"]} | grep '"worker": "{name}"' || true"""
    return [json.loads(line) for line in means.shell(lab, means.WORKERS, script).splitlines()]


def publish(lab: IncusLab, routing_key: str, body: bytes, message_id: str = "") -> bool:
    """Publish a message as Veza's API does, as administrator; False when no queue would have it."""
    properties = pika.BasicProperties(
        delivery_mode=2, message_id=message_id, content_type="application/json", headers={"x-attempt": 1}
    )
    with means.channel(lab) as channel:
        try:
            channel.basic_publish(EXCHANGE, routing_key, body, properties, mandatory=True)
        except pika.exceptions.UnroutableError:
            return False
    return True


def refuses(lab: IncusLab, kind: str) -> bool:
    """Whether the queue refuses what is published."""
    try:
        publish(lab, QUEUES[kind], done(lab, kind))
    except pika.exceptions.NackError:
        return True
    return False


def done(lab: IncusLab, kind: str) -> bytes:
    """Return the body of a done event, which its worker writes down all the same: it honours the key of the event."""
    return _body(lab, kind, {})


def poisonous(lab: IncusLab, kind: str) -> bytes:
    """Return the body of an event that ends its worker: PostgreSQL's text holds no NUL, and nobody foresaw one."""
    return _body(lab, kind, {"kind": f"{kind}\0"})


def failing(lab: IncusLab, kind: str) -> bytes:
    """Return the body of an event whose task fails at each attempt."""
    return _body(lab, kind, {"poison": True})


def _body(lab: IncusLab, kind: str, changes: Mapping[str, Any]) -> bytes:
    entity = an_entity(lab, kind)
    document = {"kind": kind, "entity_id": int(entity), "key": key_of(kind, int(entity)), "version": 1}
    return json.dumps({**document, **changes}).encode()


def set_aside(lab: IncusLab, queue: str, message_id: str) -> None:
    """Take one message out of a queue and put it into another, "queue.aside"; the rest stays as it is."""
    with means.channel(lab) as channel:
        channel.queue_declare(f"{queue}.aside", durable=True)
        held = []
        while True:
            method, properties, body = channel.basic_get(queue)
            if method is None:
                break
            if properties is not None and properties.message_id == message_id:
                channel.basic_publish("", f"{queue}.aside", body or b"", properties, mandatory=True)
                channel.basic_ack(method.delivery_tag)
                break
            held.append(method.delivery_tag)
        for tag in held:
            channel.basic_nack(tag, requeue=True)


def queue_of(lab: IncusLab, name: str) -> dict[str, Any]:
    """Return what the management API says of a queue."""
    return dict(means.api(lab, "GET", f"/api/queues/{VHOST}/{name}"))


def proper_arguments(kind: str) -> dict[str, Any]:
    """Return the arguments that a queue of Veza's has when all is well."""
    target = f"{QUEUES[kind]}.dlq"
    return {"x-dead-letter-exchange": broker.DEAD_LETTER_EXCHANGE, "x-dead-letter-routing-key": target}


def unbind(lab: IncusLab, queue: str) -> None:
    """Take a queue's binding away, if it has one."""
    bindings = means.api(lab, "GET", f"/api/bindings/{VHOST}/e/{EXCHANGE}/q/{queue}")
    for binding in bindings:
        key = quote(binding["properties_key"], safe="")
        means.api(lab, "DELETE", f"/api/bindings/{VHOST}/e/{EXCHANGE}/q/{queue}/{key}")


def bind(lab: IncusLab, queue: str, key: str = "") -> None:
    """Bind a queue as Veza's are bound; harmless when it is."""
    means.api(lab, "POST", f"/api/bindings/{VHOST}/e/{EXCHANGE}/q/{queue}", {"routing_key": key or queue})


def redeclare(lab: IncusLab, queue: str, arguments: Mapping[str, Any]) -> None:
    """Delete a queue and declare it anew, without losing what is in it: it waits in another one meanwhile.

    Publishers find no queue for a moment, and try again.
    """
    aside = f"{queue}.moved"
    means.api(lab, "PUT", f"/api/queues/{VHOST}/{aside}", {"durable": True, "arguments": {}})
    unbind(lab, queue)
    bind(lab, aside, queue)
    _move(lab, queue, aside)
    means.api(lab, "DELETE", f"/api/queues/{VHOST}/{queue}")
    means.api(lab, "PUT", f"/api/queues/{VHOST}/{queue}", {"durable": True, "arguments": dict(arguments)})
    unbind(lab, aside)
    bind(lab, queue)
    _move(lab, aside, queue)
    means.api(lab, "DELETE", f"/api/queues/{VHOST}/{aside}")


def _move(lab: IncusLab, source: str, target: str) -> None:
    """Move all messages that no consumer holds; each is acknowledged when the other queue has it."""
    with means.channel(lab) as channel:
        while True:
            method, properties, body = channel.basic_get(source)
            if method is None:
                return
            channel.basic_publish("", target, body or b"", properties, mandatory=True)
            channel.basic_ack(method.delivery_tag)


def bring_back(lab: IncusLab, kind: str) -> None:
    """Publish what the dead letter queue of a kind of event holds to its queue again."""
    with means.channel(lab) as channel:
        while True:
            got, properties, body = channel.basic_get(f"{QUEUES[kind]}.dlq")
            if got is None or body is None:
                return
            channel.basic_publish("", QUEUES[kind], body, properties)
            channel.basic_ack(got.delivery_tag)


def dropped(lab: IncusLab, *reasons: str) -> float:
    """Return how many messages the broker has dropped for these reasons since its start, having nowhere to put them."""
    with _OPENER.open(lab.urls["prometheus"], timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(count) for reason, count in DROPPED.findall(text) if reason in reasons)


def logged(lab: IncusLab, pattern: str) -> int:
    """Return how many lines of the broker's log match an extended regular expression."""
    argv = ("sh", "-c", f'cat {LOG} | grep -cE -e "$0" || true', pattern)
    return int(lab.on(means.BROKER, *argv, check=True, timeout=30).stdout)
