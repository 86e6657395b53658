# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module queue_drain_wait against a real broker, alone and through its action plugin."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest
import yaml
from pika.exceptions import AMQPError

from ansible_collections.veza.rabbitmq.plugins.module_utils._arguments import management_client
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import Stuck, TimedOut, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Management
from ansible_collections.veza.rabbitmq.plugins.module_utils._queues import Look, Reader
from ansible_collections.veza.rabbitmq.plugins.modules import queue_drain_wait
from tests.lab import broker, processes
from tests.lab.state import Lab

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")

QUEUE = "transcode_jobs"
DEAD_LETTERS = f"{QUEUE}.dlq"

PATIENCE = 120.0
"""Seconds after which something has gone wrong, however busy the machine is."""

BUSY = 15.0
"""Seconds by which a busy machine may be late; where it matters, a fault would take longer than this."""


def login(lab: Lab, user: str = "monitor") -> dict[str, Any]:
    return {
        "login_host": "127.0.0.1",
        "login_port": lab.ports["management"],
        "login_user": lab.credentials[user]["user"],
        "login_password": lab.credentials[user]["password"],
        "vhost": broker.VHOST,
    }


def wait(lab: Lab, *, check_mode: bool = False, looked: threading.Event | None = None, **given: Any) -> dict[str, Any]:
    """Run the module's own code as a user of the lab; ``looked`` is set after its first look."""
    defaults = {name: option.get("default") for name, option in queue_drain_wait.argument_spec().items()}
    params = {**defaults, **login(lab), "queues": [QUEUE], "timeout": PATIENCE, "interval": 0.5, **given}
    management = Management(management_client(params, params["request_timeout"]), params["login_user"])
    reader = Reader(management, params["vhost"])

    def look(names: Sequence[str], seconds: float) -> Look:
        seen = reader.look(names, seconds)
        if looked is not None:
            looked.set()
        return seen

    return queue_drain_wait.run(params, check_mode, look)


def connected(lab: Lab, heartbeat: int = 60) -> Any:
    account = pika.PlainCredentials(lab.credentials["veza"]["user"], lab.credentials["veza"]["password"])
    where = pika.ConnectionParameters("127.0.0.1", lab.ports["amqp"], broker.VHOST, account, heartbeat=heartbeat)
    return pika.BlockingConnection(where)


@contextmanager
def channel(lab: Lab, heartbeat: int = 60) -> Iterator[Any]:
    with closing(connected(lab, heartbeat)) as connection:
        opened = connection.channel()
        opened.confirm_delivery()
        yield opened


def publish(lab: Lab, count: int, queue: str = QUEUE) -> None:
    with channel(lab) as opened:
        for _number in range(count):
            opened.basic_publish("", queue, b"x", pika.BasicProperties(delivery_mode=2))


@dataclass
class Worker:
    """What a worker has to tell."""

    done_at: float = 0.0
    """When it was last done with a message (monotonic)."""


# How a worker is done with a message; None: not at all.
OUTCOMES: dict[str, Callable[[Any, Any], None] | None] = {
    "ack": lambda opened, method: opened.basic_ack(method.delivery_tag),
    "reject": lambda opened, method: opened.basic_reject(method.delivery_tag, requeue=False),
    "requeue": lambda opened, method: opened.basic_nack(method.delivery_tag, requeue=True),
    "hold": None,
}


@contextmanager
def worker(
    lab: Lab, seconds: float = 0.0, *, outcome: str = "ack", after: threading.Event | None = None, heartbeat: int = 60
) -> Iterator[Worker]:
    """Consume with a prefetch of 10, taking so many seconds for each message, until the block ends.

    ``outcome`` is one of OUTCOMES. It begins when ``after`` is set.
    """
    ended, told, finish = threading.Event(), Worker(), OUTCOMES[outcome]

    def work() -> None:
        while after is not None and not after.wait(0.1):
            if ended.is_set():
                return
        with channel(lab, heartbeat) as opened:
            opened.basic_qos(prefetch_count=10)
            for method, _properties, _body in opened.consume(QUEUE, inactivity_timeout=0.1):
                if ended.wait(seconds if method else 0):
                    break
                if method and finish:
                    finish(opened, method)
                if method:
                    told.done_at = time.monotonic()
            opened.cancel()

    with running(work, ended):
        yield told


@contextmanager
def running(work: Callable[[], None], ended: threading.Event) -> Iterator[None]:
    """Work in another thread until the block ends, which sets ``ended``."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def crashing_worker(lab: Lab) -> Iterator[None]:
    """Take a message and end without a word, again and again, twice a second."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.5):
            with channel(lab) as opened:
                next(opened.consume(QUEUE, inactivity_timeout=2.0))

    with running(work, ended):
        yield


@contextmanager
def publishing_worker(lab: Lab, after: threading.Event) -> Iterator[None]:
    """Hold a message, having published its result on the connection that it came by; heartbeats go on.

    It begins when ``after`` is set.
    """
    ended = threading.Event()

    def work() -> None:
        after.wait(PATIENCE)
        with closing(connected(lab)) as connection:
            opened = connection.channel()
            opened.basic_consume(QUEUE, lambda *_message: opened.basic_publish("", "nowhere", b"result"))
            while not ended.is_set():
                connection.process_data_events(0.2)

    with running(work, ended):
        yield


@contextmanager
def alarm(lab: Lab) -> Iterator[None]:
    lab.rabbitmqctl("set_disk_free_limit", "900000GB")
    try:
        yield
    finally:
        lab.rabbitmqctl("set_disk_free_limit", "50MB")


def depth(lab: Lab, queue: str = QUEUE) -> int:
    """Ask the broker by another way than the module does: ready messages, exactly."""
    with channel(lab) as opened:
        return int(opened.queue_declare(queue, passive=True).method.message_count)


@pytest.fixture
def empty_lab(bare_lab: Lab) -> Iterator[Lab]:
    """The lab with empty queues and figures that count, and empty again afterwards.

    What comes from the statistics (consumers) may still be of the test before: they lag by up to 10 s.
    """

    def purge() -> None:
        broker.start(bare_lab)
        with channel(bare_lab) as opened:
            for queue in (QUEUE, DEAD_LETTERS):
                opened.queue_purge(queue)

    def drained() -> bool:
        return bool(wait(bare_lab, check_mode=True, queues=[QUEUE, DEAD_LETTERS])["drained"])

    purge()
    assert processes.wait_until(drained, PATIENCE, 0.5)
    yield bare_lab
    purge()


def await_statistics(lab: Lab, **wanted: int) -> None:
    """Wait until the statistics show these figures of the queue.

    All figures of a queue are sampled together: the sample that shows the messages that were just published, of a
    number that no other test has, is younger than them, and so is what it says about consumers.
    """
    path = f"/api/queues/%2Fveza/{QUEUE}?columns={','.join(wanted)}"
    assert processes.wait_until(lambda: broker.api(lab, "GET", path) == wanted, PATIENCE, 0.5)


def test_it_waits_for_a_worker_and_ends_with_it(empty_lab: Lab) -> None:
    publish(empty_lab, 300)
    looked = threading.Event()
    with worker(empty_lab, 0.01, after=looked) as told:
        result = wait(empty_lab, looked=looked)
        assert time.monotonic() - told.done_at < BUSY
    assert (result["drained"], depth(empty_lab)) == (True, 0)
    depths = [entry["queues"][QUEUE]["ready"] for entry in result["samples"]]
    assert depths[0] == 300
    assert depths[-1] == 0
    assert result["elapsed"] >= 3.0  # 300 messages of 10 ms
    assert result["queues"][0]["rate"] < 0


def test_what_a_worker_holds_is_not_drained(empty_lab: Lab) -> None:
    publish(empty_lab, 5)
    with worker(empty_lab, outcome="hold"), pytest.raises(TimedOut) as timed_out:
        wait(empty_lab, timeout=12.0)
    queue = timed_out.value.details["queues"][0]
    assert (queue["ready"], queue["unacked"], queue["drained"]) == (0, 5, False)
    assert 12.0 <= timed_out.value.details["elapsed"] < 12.0 + BUSY


def test_a_timeout_says_what_is_left(empty_lab: Lab) -> None:
    publish(empty_lab, 7)
    await_statistics(empty_lab, messages=7, consumers=0)
    with pytest.raises(TimedOut, match=r"transcode_jobs: 7 left \(ready 7, unacked 0\), 0 consumers, \+0\.0/s"):
        wait(empty_lab, timeout=3.0)


def test_check_mode_looks_once(empty_lab: Lab) -> None:
    publish(empty_lab, 3)
    result = wait(empty_lab, check_mode=True)
    assert (result["drained"], result["changed"], len(result["samples"])) == (False, False, 1)
    assert result["elapsed"] < BUSY


def test_no_false_zero_after_a_crash(empty_lab: Lab) -> None:
    publish(empty_lab, 1500)
    broker.kill(empty_lab)
    broker.launch(empty_lab)
    with pytest.raises(TimedOut) as timed_out:
        wait(empty_lab, timeout=1.0, interval=0.1)
    assert 1.0 <= timed_out.value.details["elapsed"] < 1.0 + BUSY
    # Nobody works: 1500 is as few as it gets, and it ends when that counts.
    samples = wait(empty_lab, threshold=1500, interval=0.1)["samples"]
    known = [entry["queues"][QUEUE]["ready"] for entry in samples]
    assert set(known) == {None, 1500}
    assert known[0] is None
    with worker(empty_lab):
        assert wait(empty_lab)["drained"]
    assert depth(empty_lab) == 0


def test_a_broker_that_comes_back_while_we_wait(empty_lab: Lab) -> None:
    publish(empty_lab, 10)
    broker.kill(empty_lab)
    starter = threading.Timer(2.0, broker.start, [empty_lab])
    starter.start()
    result = wait(empty_lab, threshold=10)
    starter.join()
    assert result["samples"][0]["queues"][QUEUE]["ready"] is None
    assert result["queues"][0]["messages"] == 10


def test_dead_lettered_is_told_from_done(empty_lab: Lab) -> None:
    publish(empty_lab, 40)
    publish(empty_lab, 2, DEAD_LETTERS)
    wait(empty_lab, queues=[DEAD_LETTERS], threshold=2)
    before = wait(empty_lab, dead_letter_queues={QUEUE: DEAD_LETTERS}, threshold=40)
    assert (before["drained"], before["dead_lettered"], before["queues"][0]["dead_letters"]) == (True, 0, 2)
    looked = threading.Event()
    with worker(empty_lab, 0.05, outcome="reject", after=looked), pytest.raises(Stuck) as given_up:
        wait(empty_lab, dead_letter_queues={QUEUE: DEAD_LETTERS}, looked=looked)
    result = given_up.value.details
    assert (result["drained"], result["queues"][0]["case"]) == (False, "dead_lettered")
    assert 35 <= result["dead_lettered"] <= 40  # the last ones may still be on their way from queue to queue
    assert result["queues"][0]["dead_letters"] == result["dead_lettered"] + 2
    assert "emptied into its dead letter queue" in result["message"]


def stuck(lab: Lab, **given: Any) -> dict[str, Any]:
    """Wait, and return the queue that the wait ends with because it is stuck."""
    with pytest.raises(Stuck) as raised:
        wait(lab, on_stuck="fail", stuck_after=2.0, **given)
    (queue,) = raised.value.details["queues"]
    assert raised.value.details["stuck"] == [QUEUE]
    assert f"{queue['case']} (stuck)" in raised.value.message
    assert queue["case_samples"][-1]["elapsed"] <= raised.value.details["elapsed"]
    assert raised.value.details["elapsed"] < 60.0 + BUSY
    return dict(queue)


def seen(lab: Lab, seconds: float, **given: Any) -> dict[str, Any]:
    """Wait for so long, and return the queue, which is neither drained nor stuck."""
    with pytest.raises(TimedOut) as timed_out:
        wait(lab, on_stuck="fail", timeout=seconds, **given)
    (queue,) = timed_out.value.details["queues"]
    assert not queue["stuck"]
    return dict(queue)


def test_nobody_consumes(empty_lab: Lab) -> None:
    publish(empty_lab, 11)
    await_statistics(empty_lab, messages=11, consumers=0)
    queue = stuck(empty_lab)
    assert (queue["case"], queue["restart_may_help"]) == ("no_consumer", True)


def test_a_worker_that_hangs_with_heartbeats(empty_lab: Lab) -> None:
    publish(empty_lab, 12)
    with worker(empty_lab, outcome="hold", heartbeat=3):
        await_statistics(empty_lab, messages=12, consumers=1)
        queue = stuck(empty_lab, task_seconds={QUEUE: 12})
    assert (queue["case"], queue["restart_may_help"]) == ("consumers_not_acking", True)


def test_a_worker_whose_host_vanished(empty_lab: Lab) -> None:
    publish(empty_lab, 13)
    connection = connected(empty_lab, heartbeat=20)
    opened = connection.channel()
    opened.basic_qos(prefetch_count=5)
    opened.basic_consume(QUEUE, lambda *_message: None)
    connection.process_data_events(2.0)
    await_statistics(empty_lab, messages=13, consumers=1)  # and from now on it says nothing
    silent = seen(empty_lab, 27.0, stuck_after=2.0, task_seconds={QUEUE: 600})
    # The broker gives up on it, and what it held is ready again.
    queue = stuck(empty_lab, task_seconds={QUEUE: 600})
    with contextlib.suppress(AMQPError):
        connection.close()
    assert silent["case"] == "consumer_vanished"
    assert (queue["case"], queue["ready"]) == ("no_consumer", 13)


def test_a_poison_message(empty_lab: Lab) -> None:
    publish(empty_lab, 14)
    with worker(empty_lab, 0.05, outcome="requeue"):
        queue = stuck(empty_lab)
    first, last = queue["case_samples"]
    assert (queue["case"], queue["restart_may_help"]) == ("poison", False)
    assert last["redelivered_count"] - first["redelivered_count"] > 5 * (last["acked"] - first["acked"])


def test_a_worker_that_crashes_again_and_again(empty_lab: Lab) -> None:
    publish(empty_lab, 15)
    with crashing_worker(empty_lab):
        queue = stuck(empty_lab)
    assert (queue["case"], queue["restart_may_help"]) == ("crash_loop", False)


def test_a_slow_worker_is_not_stuck(empty_lab: Lab) -> None:
    publish(empty_lab, 16)
    with worker(empty_lab, 7.0):
        queue = seen(empty_lab, 40.0, stuck_after=2.0, task_seconds={QUEUE: 9})
    assert queue["case"] == "slow"
    assert queue["eta"] > 0


def test_more_comes_in_than_is_done(empty_lab: Lab) -> None:
    publish(empty_lab, 17)
    ended = threading.Event()

    def load() -> None:
        with channel(empty_lab) as opened:
            while not ended.wait(0.02):
                opened.basic_publish("", QUEUE, b"x")

    with running(load, ended), worker(empty_lab, 0.1):
        queue = seen(empty_lab, 25.0)
    assert queue["case"] == "inflow"


def test_what_leaves_is_given_up(empty_lab: Lab) -> None:
    publish(empty_lab, 400)
    with worker(empty_lab, 0.1, outcome="reject"):
        queue = seen(empty_lab, 15.0, dead_letter_queues={QUEUE: DEAD_LETTERS})
    assert queue["case"] == "dead_lettering"


def test_an_alarm_is_not_the_worker_s_fault(empty_lab: Lab) -> None:
    publish(empty_lab, 18)
    with worker(empty_lab, outcome="hold", heartbeat=3), alarm(empty_lab):
        queue = stuck(empty_lab, task_seconds={QUEUE: 600})
    assert (queue["case"], queue["restart_may_help"]) == ("alarm", False)
    assert "disk space" in queue["case_reason"]


def test_a_worker_that_publishes_is_blocked_by_an_alarm(empty_lab: Lab) -> None:
    publish(empty_lab, 19)
    begun = threading.Event()
    # A blocked connection can't even be closed: the alarm ends first.
    with publishing_worker(empty_lab, begun), alarm(empty_lab):
        begun.set()
        queue = stuck(empty_lab, task_seconds={QUEUE: 600})
    assert (queue["case"], queue["restart_may_help"]) == ("worker_blocked", False)


def test_a_quorum_queue_without_a_leader(empty_lab: Lab) -> None:
    path = "/api/queues/%2Fveza/drain-leaderless"
    broker.api(empty_lab, "PUT", path, {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    # A quorum queue that is younger than a second when its only node is killed has no leader ever after.
    broker.kill(empty_lab)
    broker.start(empty_lab)
    try:
        with pytest.raises(Stuck) as raised:
            wait(empty_lab, queues=["drain-leaderless"], on_stuck="fail", stuck_after=2.0)
        assert raised.value.details["queues"][0]["case"] == "no_leader"
    finally:
        broker.api(empty_lab, "DELETE", path)


def test_a_quorum_queue_is_confirmed(empty_lab: Lab) -> None:
    path = "/api/queues/%2Fveza/drain-quorum"
    broker.api(empty_lab, "PUT", path, {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    try:
        publish(empty_lab, 3, "drain-quorum")
        with pytest.raises(TimedOut):
            wait(empty_lab, queues=["drain-quorum"], timeout=12.0)
        with channel(empty_lab) as opened:
            opened.queue_purge("drain-quorum")
        result = wait(empty_lab, queues=["drain-quorum"])
        assert result["drained"]
        assert result["elapsed"] >= 10.0
    finally:
        broker.api(empty_lab, "DELETE", path)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"queues": [QUEUE, "nosuch"]}, "no queue nosuch in virtual host '/veza'"),
        ({"vhost": "/nosuch"}, "or that virtual host does not exist"),
        ({"login_password": "wrong"}, "wrong user or password"),
    ],
)
def test_what_waiting_can_not_mend_fails_at_once(empty_lab: Lab, given: dict[str, Any], named: str) -> None:
    began = time.monotonic()
    with pytest.raises(VezaError) as refused:
        wait(empty_lab, **given)
    assert not isinstance(refused.value, TimedOut)
    assert named in refused.value.message
    assert time.monotonic() - began < BUSY


def test_a_monitoring_user_without_the_vhost_is_not_told_drained(empty_lab: Lab) -> None:
    user = {"password": "s3cret-never-shown", "tags": "monitoring"}
    broker.api(empty_lab, "PUT", "/api/users/short-lived", user)
    try:
        with pytest.raises(VezaError, match="set_permissions"):
            wait(empty_lab, login_user="short-lived", login_password=user["password"])
    finally:
        broker.api(empty_lab, "DELETE", "/api/users/short-lived")


class Play:
    """One task of queue_drain_wait, run as a person would; what it prints goes into a file."""

    def __init__(self, tmp_path: Path, task: dict[str, Any], *options: str) -> None:
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        book = [{"hosts": "all", "gather_facts": False, "tasks": [{"veza.rabbitmq.queue_drain_wait": task}]}]
        hosts = {"all": {"hosts": {"controller": variables}}}
        for name, content in (("play.yml", book), ("hosts.yml", hosts)):
            (tmp_path / name).write_text(yaml.safe_dump(content))
        command = [PLAYBOOK, "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), *options]
        environment = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "LC_ALL": "C.UTF-8"}
        self._log = tmp_path / "printed"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)

    @property
    def text(self) -> str:
        return self._log.read_text()

    def finish(self) -> int:
        try:
            return self._process.wait(2 * PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()


def result_of(output: str) -> dict[str, Any]:
    result: dict[str, Any] = json.JSONDecoder().raw_decode(output[output.index("=> {") + 3 :])[0]
    return result


def test_the_live_line(empty_lab: Lab, tmp_path: Path) -> None:
    publish(empty_lab, 1200)
    task = {**login(empty_lab), "queues": [QUEUE], "timeout": PATIENCE, "interval": 0.5}
    ran = Play(tmp_path, task, "-v")
    try:
        assert processes.wait_until(lambda: f"{QUEUE}  " in ran.text, PATIENCE), ran.text
    finally:
        with worker(empty_lab, 0.01):
            status = ran.finish()
    assert status == 0, ran.text
    lines = [line for line in ran.text.splitlines() if line.startswith(f"{QUEUE}  ")]
    assert "condition not met yet" in lines[0]
    assert any("/s  ETA " in line for line in lines[1:-1])
    assert lines[-1].endswith("drained")
    assert "FAILED - RETRYING" not in ran.text
    assert task["login_password"] not in ran.text
    result = result_of(ran.text)
    elapsed = [entry["elapsed"] for entry in result["samples"]]
    assert (result["drained"], "continued" in result, elapsed) == (True, False, sorted(elapsed))
    assert len(elapsed) > len(lines)


def test_the_deadline_holds_through_the_slices(empty_lab: Lab, tmp_path: Path) -> None:
    publish(empty_lab, 3)
    ran = Play(tmp_path, {**login(empty_lab), "queues": [QUEUE], "timeout": 8})
    assert ran.finish() == 2
    result = result_of(ran.text)
    assert result["msg"].startswith(f"Not drained after {result['elapsed']:.1f} s: ")
    assert 8.0 <= result["elapsed"] < 8.0 + BUSY
    assert result["queues"][0]["messages"] == 3


def test_check_mode_through_the_action_plugin(empty_lab: Lab, tmp_path: Path) -> None:
    publish(empty_lab, 3)
    ran = Play(tmp_path, {**login(empty_lab), "queues": [QUEUE]}, "--check", "-v")
    assert ran.finish() == 0, ran.text
    result = result_of(ran.text)
    assert (result["drained"], result["changed"], len(result["samples"])) == (False, False, 1)
