# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module queue_give_up against a real broker: killed between any two of its steps, nothing is lost or doubled."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import Refused, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._given_up import KeptFile, look, messages_of
from ansible_collections.veza.rabbitmq.plugins.modules import queue_give_up
from tests.lab import broker
from tests.lab.state import Lab

ROOT = Path(__file__).resolve().parents[2]

QUEUE = "given"
SECRET = b"body-that-no-output-shows"
TYPES = ("classic", "quorum")

SMALL = {"BATCH": 2, "FIRST": 2, "WINDOW": 2, "TRANSACTION": 2, "SETTLED": 0.3}
"""Sizes with which a few messages go through every step several times."""

KILLED = """
import json, os, signal, sys
from ansible_collections.veza.rabbitmq.plugins.modules import queue_give_up as module
for name, value in json.loads(sys.argv[2]).items():
    setattr(module, name, value)
left = int(sys.argv[3])
def step(name):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
module.run(json.loads(sys.argv[1]), False, step)
"""


def params_of(lab: Lab, path: Path, **given: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in queue_give_up.argument_spec().items()}
    account = lab.credentials["veza"]
    where = {"login_host": "127.0.0.1", "login_port": lab.ports["amqp"], "vhost": broker.VHOST}
    login = {"login_user": account["user"], "login_password": account["password"]}
    return {**defaults, **where, **login, "queue": QUEUE, "path": str(path), "keep_free": 1, **given}


def taken(lab: Lab, path: Path, count: int, *, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    return queue_give_up.run(params_of(lab, path, count=count, **given), check_mode)


def republished(lab: Lab, path: Path, *, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    return queue_give_up.run(params_of(lab, path, state="republished", **given), check_mode)


def without_count(headers: dict[str, Any]) -> dict[str, Any]:
    """Return headers without what a quorum queue of RabbitMQ 3.10 adds to the first delivery."""
    assert headers.pop("x-delivery-count", 0) == 0
    return headers


def finished(params: dict[str, Any]) -> dict[str, Any]:
    """Run to the end what was killed; the broker is here, so what it gives back is back soon."""
    return queue_give_up.run(params, False, sleep=lambda seconds: time.sleep(seconds / 3))


@contextmanager
def channel(lab: Lab) -> Iterator[Any]:
    account = pika.PlainCredentials(lab.credentials["veza"]["user"], lab.credentials["veza"]["password"])
    where = pika.ConnectionParameters("127.0.0.1", lab.ports["amqp"], broker.VHOST, account)
    with closing(pika.BlockingConnection(where)) as connection:
        opened = connection.channel()
        opened.confirm_delivery()
        yield opened


def publish(lab: Lab, bodies: list[bytes]) -> None:
    with channel(lab) as opened:
        for number, body in enumerate(bodies):
            headers = {"key": f"k{number}" if body != b"x" else "same", "nested": {"list": [1, True, None]}}
            properties = pika.BasicProperties(delivery_mode=2, message_id=headers["key"], headers=headers)
            opened.basic_publish("", QUEUE, body, properties)


def bodies_of(lab: Lab) -> list[bytes]:
    """Take everything out of the queue, in order."""
    found = []
    with channel(lab) as opened:
        while True:
            method, _properties, body = opened.basic_get(QUEUE, auto_ack=True)
            if method is None:
                return found
            found.append(body)


def kept(path: Path) -> list[bytes]:
    numbers = set(look(str(path)).numbers())
    return [base64.b64decode(entry["body"]) for entry in messages_of(str(path), numbers)]


@pytest.fixture
def queue(bare_lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab with an empty queue of the type that the test names, classic otherwise."""
    kind = getattr(request, "param", "classic")
    with channel(bare_lab) as opened:
        opened.queue_delete(QUEUE)
        opened.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": kind})
    yield bare_lab
    with channel(bare_lab) as opened:
        opened.queue_delete(QUEUE)


@pytest.fixture
def path() -> Iterator[Path]:
    """A path on a disk: what a test directory is on may be lost with the next reboot."""
    folder = ROOT / ".cache" / f"given-up-{os.getpid()}"
    yield folder / "sub" / "messages.jsonl"
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def killed_at(step: int, params: dict[str, Any], sizes: dict[str, Any]) -> bool:
    """Run the module in a process of its own that kills itself at a step; tell whether it came so far."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(params), json.dumps(sizes), str(step)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT / '.collections'}:{ROOT}"},
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("queue", TYPES, indirect=True)
def test_taken_and_put_back_byte_for_byte(queue: Lab, path: Path) -> None:
    sent = [b"%d" % number + SECRET for number in range(130)]
    publish(queue, sent)
    predicted = taken(queue, path, 130, check_mode=True)
    assert (predicted["changed"], predicted["moved"], path.exists()) == (True, 130, False)
    result = taken(queue, path, 130)
    assert (result["changed"], result["moved"], result["total"], result["ready"]) == (True, 130, 130, 0)
    assert result["unsure"] == 0
    assert kept(path) == sent
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert SECRET.decode() not in json.dumps(result)
    assert without_count(result["messages"][1]["headers"]) == {"key": "k1", "nested": {"list": [1, True, None]}}
    for check_mode in (True, False):
        again = taken(queue, path, 130, check_mode=check_mode)
        assert (again["changed"], again["total"]) == (False, 130)

    assert republished(queue, path, check_mode=True)["moved"] == 130
    back = republished(queue, path)
    assert (back["changed"], back["moved"], back["ready"]) == (True, 130, 130)
    assert not republished(queue, path)["changed"]
    with channel(queue) as opened:
        _method, properties, body = opened.basic_get(QUEUE)
    assert body == sent[0]
    assert without_count(properties.headers) == {"key": "k0", "nested": {"list": [1, True, None]}}
    assert (properties.delivery_mode, properties.message_id) == (2, "k0")
    assert bodies_of(queue) == sent
    counter = f"veza.given_up.{look(str(path)).head['id']}"
    with channel(queue) as opened, pytest.raises(pika.exceptions.ChannelClosedByBroker, match="404"):
        opened.queue_declare(counter, passive=True)


@pytest.mark.parametrize("same", [False, True], ids=["distinct", "identical"])
@pytest.mark.parametrize("queue", TYPES, indirect=True)
def test_killed_while_taking(queue: Lab, path: Path, same: bool) -> None:
    """Killed at each step in turn; the next run finishes, and queue and file have each message once, together."""
    sent = [b"x" if same else b"%d" % number for number in range(4)]
    step = 0
    while True:
        step += 1
        publish(queue, sent)
        params = params_of(queue, path, count=4)
        killed = killed_at(step, params, SMALL)
        result = finished(params)
        assert result["total"] == 4, f"step {step}"
        assert (Counter(kept(path)), bodies_of(queue)) == (Counter(sent), []), f"step {step}"
        assert result["unsure"] == 0
        path.unlink()
        if not killed:
            break
    assert step > 18


@pytest.mark.parametrize("same", [False, True], ids=["distinct", "identical"])
def test_killed_again_and_again(queue: Lab, path: Path, same: bool) -> None:
    """Killed at a step, then each further run one step further into its own work."""
    sent = [b"x" if same else b"%d" % number for number in range(4)]
    for first in (6, 7, 8):  # before, at and after the acknowledgement of the first batch
        publish(queue, sent)
        params = params_of(queue, path, count=4)
        killed_at(first, params, SMALL)
        for step in (2, 6, 8, 9, 10):
            killed_at(step, params, SMALL)
        result = finished(params)
        got, left = Counter(kept(path)), Counter(bodies_of(queue))
        assert not Counter(sent) - got - left, "a message was lost"
        assert (got + left - Counter(sent)).total() <= result["unsure"]
        path.unlink()


@pytest.mark.parametrize("queue", TYPES, indirect=True)
def test_killed_while_putting_back(queue: Lab, path: Path) -> None:
    sent = [b"%d" % number for number in range(4)]
    publish(queue, sent)
    taken(queue, path, 4)
    whole = path.read_bytes()
    step = 0
    while True:
        step += 1
        params = params_of(queue, path, state="republished")
        killed = killed_at(step, params, SMALL)
        finished(params)
        assert bodies_of(queue) == sent, f"step {step}"
        path.write_bytes(whole)
        if not killed:
            break
    assert step > 12


def test_more_than_typed_is_refused(queue: Lab, path: Path) -> None:
    publish(queue, [b"1", b"2", b"3"])
    for check_mode in (True, False):
        with pytest.raises(Refused, match="holds 3 messages: more than the 2"):
            taken(queue, path, 2, check_mode=check_mode)
    assert not path.exists()
    assert bodies_of(queue) == [b"1", b"2", b"3"]


def test_no_room_is_refused_before_and_ends_in_the_middle(
    queue: Lab, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [b"1", b"2" * 4000, b"3"]
    publish(queue, sent)
    with pytest.raises(Refused, match="would take some"):
        taken(queue, path, 3, expected_bytes=1 << 60)
    monkeypatch.setattr(KeptFile, "free", lambda _file: 2000)
    with pytest.raises(Refused, match="no more room") as refused:
        taken(queue, path, 3)
    assert refused.value.details["moved"] == 1
    monkeypatch.undo()
    assert taken(queue, path, 3)["moved"] == 2
    assert (kept(path), bodies_of(queue)) == (sent, [])


def test_only_what_was_delivered_before_is_set_aside(queue: Lab, path: Path) -> None:
    publish(queue, [b"poison", b"good", b"too"])
    with channel(queue) as opened:
        method, _properties, _body = opened.basic_get(QUEUE)
        opened.basic_nack(method.delivery_tag, requeue=True)
    result = taken(queue, path, 2, which="redelivered")
    assert (result["moved"], kept(path)) == (1, [b"poison"])
    assert bodies_of(queue) == [b"good", b"too"]


def test_a_disk_that_a_reboot_empties_is_refused(queue: Lab) -> None:
    with pytest.raises(Refused, match="which a reboot empties"):
        taken(queue, Path("/dev/shm/given-up.jsonl"), 1)


def test_under_an_alarm_it_takes_and_does_not_put_back(queue: Lab, path: Path) -> None:
    publish(queue, [b"1", b"2"])

    def alarm(limit: str) -> None:
        subprocess.run(
            [str(queue.dir / "bin" / "rabbitmqctl"), "set_disk_free_limit", limit], check=True, capture_output=True
        )

    alarm("100000GB")
    try:
        assert taken(queue, path, 2)["moved"] == 2
        with pytest.raises(Refused, match="under an alarm"):
            republished(queue, path)
    finally:
        alarm("50MB")
    assert republished(queue, path)["moved"] == 2
    assert bodies_of(queue) == [b"1", b"2"]


def test_a_queue_that_is_not_there(queue: Lab, path: Path) -> None:
    with pytest.raises(VezaError, match="404 NOT_FOUND"):
        taken(queue, path, 1, queue="nowhere")
    assert not path.exists()


def test_a_wrong_password_shows_nothing(queue: Lab, path: Path) -> None:
    with pytest.raises(VezaError, match="the user or the password is refused") as refused:
        taken(queue, path, 1, login_password="hunter2-never-shown")
    assert "hunter2" not in str(refused.value.fail_json_arguments())
