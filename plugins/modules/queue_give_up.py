#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: queue_give_up
short_description: Take messages out of a queue into a file, and put them back from it, each once
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - With O(state=taken) it takes messages from the head of a queue. They are got with manual acknowledgement, written to
    a file, synced to the disk, and only then acknowledged, at most O(count) of them. The queue is never purged.
  - With O(state=republished) it puts them back into the queue, in their order and byte for byte, and returns when the
    broker has confirmed them.
  - It is the last resort of a full disk (O(which=all)), and the way to move poison messages aside
    (O(which=redelivered)). A person decides on the queue and the number.
  - Needs nothing but Python's standard library. It runs where the file shall be, so never on the broker's own volume.
  - No message is lost, wherever a run is interrupted, with C(kill -9) too. The same call, run again, goes on where it
    was. What was not acknowledged is in the queue; what was acknowledged is in the file.
  - No message is doubled either, in the same circumstances, as long as nobody else consumes the queue. Whether the
    broker has heard an acknowledgement that was sent at the very moment of an interruption can be seen from what is in
    the queue, as nobody else takes from it. Where consumers make that impossible both copies are kept, and counted in
    RV(unsure).
  - Putting back is one transaction for every 50 messages, in which a queue of the module's own counts along. So what
    was published is known to the broker itself, wherever a run is interrupted. What is not promised is the broker's own
    crash within a transaction, which RabbitMQ does not make atomic over two queues. It may double one such batch.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._tls
attributes:
  check_mode:
    support: full
    details:
      - The broker is asked for the queue's length and the file is read. No message is got, and no file is made.
  diff_mode:
    support: none
    details:
      - What changes is a queue, whose messages can't be shown without getting them.
  idempotent:
    support: full
    details:
      - What was taken into O(path) is not taken twice, and what was put back from it is not put back twice. To take
        more after a call that has ended, name another file.
options:
  state:
    description:
      - V(taken) takes messages out of the queue into the file.
      - V(republished) puts all of them back. It is refused after an interrupted V(taken), and while an alarm is on.
    type: str
    choices: [taken, republished]
    default: taken
  queue:
    description:
      - The queue. With O(state=republished) it may be another one than the messages came from. It is refused when an
        interrupted run has begun to put them into a third.
    type: str
    required: true
  count:
    description:
      - At most so many messages are taken. It is the number that a person typed, and needed for O(state=taken).
      - With O(which=all) it is refused when the queue holds more. Consumers' unacknowledged messages are not counted,
        because they are not in the queue any more.
    type: int
  which:
    description:
      - V(all) takes every message.
      - V(redelivered) takes messages from the head as long as they were delivered before. The first other one is given
        back to its place, at once. For a quorum queue that counts as one delivery of it.
    type: str
    choices: [all, redelivered]
    default: all
  path:
    description:
      - The file, with mode 0600. Its directory is made with mode 0700 where it is missing. A file system that a reboot
        empties is refused.
      - It is made of JSON lines. A line of a message has its properties for a person to read, and C(properties) and
        C(body) in base64. B(It has the messages' contents.) Treat it as the broker's own data.
    type: path
    required: true
  expected_bytes:
    description:
      - How large the bodies are in all, where that is known. It is refused when there is no room for them, before
        anything is taken.
    type: int
    default: 0
  keep_free:
    description:
      - MiB that stay free on the file's disk. When they would not, it ends with what it has taken until then.
    type: int
    default: 100
  timeout:
    description:
      - Seconds that the broker may take for one answer.
    type: float
    default: 30.0
  login_host:
    description:
      - Name or address of the broker.
    type: str
    default: localhost
  login_port:
    description:
      - Its port for AMQP.
    type: int
    default: 5672
  login_user:
    description:
      - User to log in as. It needs the permission to read the queue; to put back, those to write to C(amq.default) and
        to configure C(veza.given_up.*).
    type: str
    required: true
  login_password:
    description:
      - Password of O(login_user).
    type: str
    required: true
  vhost:
    description:
      - Virtual host, as RabbitMQ names it. Veza's is V(/veza), with the slash.
    type: str
    default: /
  tls:
    description:
      - Whether the port speaks TLS.
    type: bool
    default: false
seealso:
  - module: veza.rabbitmq.queue_drain_wait
"""

EXAMPLES = r"""
- name: Give up the search index updates, which a reindex replaces
  veza.rabbitmq.queue_give_up:
    login_host: rabbitmq.lxd
    login_user: veza
    login_password: "{{ veza_rabbitmq_password }}"
    vhost: /veza
    queue: search_index_updates
    count: 120000
    path: /var/lib/veza/incidents/veza/given-up/search_index_updates.jsonl

- name: Put them back when there is room again
  veza.rabbitmq.queue_give_up:
    login_host: rabbitmq.lxd
    login_user: veza
    login_password: "{{ veza_rabbitmq_password }}"
    vhost: /veza
    queue: search_index_updates
    path: /var/lib/veza/incidents/veza/given-up/search_index_updates.jsonl
    state: republished

- name: Set the poison message aside
  veza.rabbitmq.queue_give_up:
    login_host: rabbitmq.lxd
    login_user: veza
    login_password: "{{ veza_rabbitmq_password }}"
    vhost: /veza
    queue: dmca_propagation
    count: 1
    which: redelivered
    path: /var/lib/veza/incidents/veza/set-aside/dmca_propagation.jsonl
"""

RETURN = r"""
moved:
  description: How many messages this run has taken or put back; in check mode, how many it would at most.
  returned: always
  type: int
total:
  description: How many messages the file has.
  returned: always
  type: int
bytes:
  description: How large their bodies are.
  returned: always
  type: int
unsure:
  description:
    - How many of RV(total) may be in the queue or with a consumer as well, because a run was interrupted while others
      consumed.
  returned: always
  type: int
ready:
  description: How many messages the queue has, ready to be delivered, at the end.
  returned: always
  type: int
consumers:
  description: How many consumers the queue has.
  returned: always
  type: int
path:
  description: The file.
  returned: always
  type: str
messages:
  description: The first 20 messages of the file, without their bodies.
  returned: always
  type: list
  elements: dict
  contains:
    number: {description: "Its number in the file.", type: int}
    message_id: {description: "Its id. V(null) without one.", type: str}
    type: {description: "Its type. V(null) without one.", type: str}
    timestamp: {description: "Its time, in seconds since 1970. V(null) without one.", type: int}
    headers: {description: "Its headers, those of the broker included.", type: dict}
    exchange: {description: "Where it was published.", type: str}
    routing_key: {description: "Under which key.", type: str}
    redelivered: {description: "Whether it was delivered before.", type: bool}
    size: {description: "Bytes of its body.", type: int}
message:
  description: What was done, in one sentence.
  returned: always
  type: str
"""

import base64
import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._amqp import Failed, Target, connected
from ..module_utils._amqp_channel import Channel, Depth, Message
from ..module_utils._amqp_frames import PERSISTENT
from ..module_utils._deadline import check_durations
from ..module_utils._errors import BadInput, Refused, VezaError
from ..module_utils._given_up import (
    FORMAT,
    Batch,
    KeptFile,
    Story,
    check_path,
    entry_of,
    fate,
    look,
    shown_of,
)
from ..module_utils._record import stamp
from ..module_utils._tls import tls, tls_arguments

BATCH = 500
"""Messages that are acknowledged together: so many the broker gives out twice after an interruption."""

HELD = 32 * 1024 * 1024
"""Bytes that a batch may have: the broker keeps them in its memory until they are acknowledged."""

FIRST = 20
"""Messages of the first batch, as long as it isn't known how large they are."""

WINDOW = 20
"""Messages that are asked for before the first has come."""

TRANSACTION = 50
"""Messages that are put back together: so many the broker's own crash may double."""

SETTLED = 1.0
"""Seconds between two looks at a queue whose last client has just died; equal, nothing is on its way back to it."""

CARRIED_OUT = (30.0, 0.05)
"""Seconds that a queue may take to carry out an acknowledgement, and between two looks whether it has."""

LONGEST = 255
"""Bytes of a queue's name."""

LISTED = 20
"""Messages that the result shows."""

Step = Callable[[str], None]
"""Called between any two steps; a test interrupts there."""


def argument_spec() -> dict[str, Any]:
    """Return the options, as DOCUMENTATION describes them."""
    return {
        "state": {"type": "str", "choices": ["taken", "republished"], "default": "taken"},
        "queue": {"type": "str", "required": True},
        "count": {"type": "int"},
        "which": {"type": "str", "choices": ["all", "redelivered"], "default": "all"},
        "path": {"type": "path", "required": True},
        "expected_bytes": {"type": "int", "default": 0},
        "keep_free": {"type": "int", "default": 100},
        "timeout": {"type": "float", "default": 30.0},
        "login_host": {"type": "str", "default": "localhost"},
        "login_port": {"type": "int", "default": 5672},
        "login_user": {"type": "str", "required": True},
        "login_password": {"type": "str", "required": True, "no_log": True},
        "vhost": {"type": "str", "default": "/"},
        "tls": {"type": "bool", "default": False},
        **tls_arguments(),
    }


def checked(params: dict[str, Any]) -> Target:
    """Return where the broker is; BadInput or Refused if the parameters make no sense."""
    if params["state"] == "taken" and (params["count"] is None or params["count"] < 1):
        raise BadInput("state=taken needs count, at least 1: the number of messages that may be taken.")
    check_durations(params, ["timeout"])
    if params["keep_free"] < 0 or params["expected_bytes"] < 0:
        raise BadInput("keep_free and expected_bytes must not be negative.")
    if not 0 < len(params["queue"].encode("utf-8", "replace")) <= LONGEST:
        raise BadInput(f"queue is no name of a queue: it has 1 to {LONGEST} bytes.")
    check_path(params["path"])
    return Target(
        host=params["login_host"],
        port=params["login_port"],
        user=params["login_user"],
        password=params["login_password"],
        vhost=params["vhost"],
        tls=tls(params) if params["tls"] else None,
        timeout=params["timeout"],
        name="veza.rabbitmq.queue_give_up",
    )


@dataclass(frozen=True)
class Got:
    """A message that was got and written."""

    message: Message
    mark: str
    size: int


@dataclass
class Work:
    """What both ways need: parameters, channel, file, and the time."""

    params: dict[str, Any]
    channel: Channel
    file: KeptFile
    step: Step
    sleep: Callable[[float], None]
    moved: int = 0

    def run(self) -> None:
        """Do it."""
        raise NotImplementedError

    @property
    def story(self) -> Story:
        """What the file tells."""
        return self.file.story

    def settled(self, queue: str) -> Depth:
        """Return a queue's depth when two looks agree: the broker gives back what a dead client held."""
        depth = self.channel.depth(queue)
        for _try in range(30):
            self.sleep(SETTLED)
            before, depth = depth, self.channel.depth(queue)
            if before == depth:
                break
        return depth


class Taking(Work):
    """Takes messages out of the queue into the file."""

    full = False
    """Whether the disk has no room for more."""
    consumers = 0
    """Who else consumes."""
    going = True
    """Whether the next message may still be taken."""

    @property
    def window(self) -> int:
        """Messages that are asked for ahead: none where the next one may have to be given back."""
        return WINDOW if self.params["which"] == "all" else 1

    def run(self) -> None:
        """Take what may be taken; what an interruption has left is judged first."""
        queue, limit, story = self.params["queue"], self.params["count"], self.story
        depth = self.settled(queue) if story.pending else self.channel.depth(queue)
        self.consumers = depth.consumers  # now: a quorum queue counts our own gets as consumers
        see_count(self.params, depth.ready, story)
        self.see_room()
        self.file.cut()
        if not story.head:
            self.file.note("head", format=FORMAT, id=secrets.token_hex(6), vhost=self.params["vhost"], queue=queue)
        want, more = min(FIRST, limit - story.held), True
        while more and want:
            pending = replace(story.pending) if story.pending else None  # as it was before this run judges it
            if pending:
                want = pending.count
                self.file.note("judging", first=pending.first)
                self.step("judging noted")
            messages, more = self.got(want)
            if pending:
                self.judge(pending, messages, depth)
                see_count(self.params, len(messages), story)
            if messages:
                depth = self.keep(messages)
            if self.full:
                raise Refused(
                    f"There is no more room on the disk of {self.file.path}, beside the {self.params['keep_free']} MiB "
                    f"that stay free. {self.moved} messages were taken; the others are in the queue."
                )
            largest = max((one.size for one in messages), default=0)
            want = min(BATCH, max(1, HELD // max(1, largest)), limit - story.held)
        self.file.see_name()
        self.file.note("taken", at=stamp(datetime.now(timezone.utc)))
        self.step("end noted")

    def see_room(self) -> None:
        """Raise Refused when there is no room for what is expected."""
        expected = self.params["expected_bytes"] * 3 // 2  # base64, and the properties
        if expected > self.file.free():
            raise Refused(
                f"{self.file.path} would take some {expected} bytes; {max(0, self.file.free())} are free beside "
                f"the {self.params['keep_free']} MiB that stay free. Nothing was taken. Name a path with more room."
            )

    def got(self, want: int) -> tuple[list[Got], bool]:
        """Get up to so many messages and write them; tell whether there may be more to take.

        What isn't written stays unacknowledged: it goes back to its place when the channel is closed.
        """
        written: list[Got] = []
        self.going = True
        for message in self.channel.get(self.params["queue"], want, self.window, lambda: self.going):
            self.step("got")
            if not self.going or (self.window == 1 and not message.redelivered):
                self.going = False
                continue
            entry = entry_of(self.story.next_number, message)
            self.going = self.file.write(entry)
            if self.going:
                written.append(Got(message, entry["print"], entry["size"]))
                self.step("written")
            else:
                self.full = True
        return written, self.going and len(written) == want

    def judge(self, batch: Batch, again: list[Got], depth: Depth) -> None:
        """Settle what became of a batch whose acknowledgement was interrupted."""
        verdict = fate(batch, [(one.mark, one.message.redelivered) for one in again], depth.ready, self.consumers)
        self.file.note({"returned": "void"}.get(verdict, verdict), first=batch.first)
        self.step("judged")

    def keep(self, messages: list[Got]) -> Depth:
        """See that the messages are on the disk, acknowledge them, and return the depth that is left."""
        last, number = messages[-1].message, self.story.next_number
        self.file.sync()
        self.step("synced")
        self.file.see_name()
        self.file.note(
            "acking", first=number - len(messages), last=number - 1, left=last.left, consumers=self.consumers
        )
        self.step("acking noted")
        self.channel.acknowledge(last.tag)
        self.step("acknowledged")
        depth = self.carried_out()
        self.step("answered")
        self.file.note("acked", first=number - len(messages))
        self.moved += len(messages)
        self.step("acked noted")
        return depth

    def carried_out(self) -> Depth:
        """Wait until the queue has carried out what was acknowledged, and return its depth.

        A classic queue answers after it. A quorum queue takes 32 acknowledgements at once and leaves the others with
        the channel, in whose end they would be lost: measured on RabbitMQ 3.10, whose queue had 77 of 130 messages
        again. Until then it counts each message that was got as a consumer.
        """
        longest, pause = CARRIED_OUT
        for _try in range(int(longest / pause)):
            depth = self.channel.depth(self.params["queue"])
            if depth.consumers <= self.consumers:
                return depth
            self.sleep(pause)
        raise VezaError(
            f"The queue '{self.params['queue']}' has not carried out the acknowledgements of the last messages within "
            f"{longest:g} s. They are in the file. Run the same again: it settles what became of them."
        )


class Putting(Work):
    """Puts the messages of the file back into a queue."""

    def run(self) -> None:
        """Put back what the broker doesn't count as put back."""
        if self.story.republished:
            self.channel.delete(self.marker)
            return
        self.see_state()
        self.channel.see_no_alarm()
        done = self.begun()
        self.channel.begin()
        size = self.story.publishing["size"]  # of the run that began: its transactions are counted
        entries = self.file.messages(self.story.numbers()[done * size :])
        while batch := list(itertools.islice(entries, size)):
            done += 1
            self.put(batch)
            self.file.note("published", batches=done)
            self.moved += len(batch)
            self.step("published noted")
        self.file.note("republished", at=stamp(datetime.now(timezone.utc)))
        self.step("end noted")
        self.channel.delete(self.marker)
        self.step("counter deleted")

    @property
    def marker(self) -> str:
        """The queue that counts the transactions, in the broker itself."""
        return f"veza.given_up.{self.story.head['id']}"

    def see_state(self) -> None:
        """Raise Refused when the messages can't be put back now."""
        queue, begun = self.params["queue"], self.story.publishing
        if self.story.pending:
            raise Refused(
                f"Taking messages into {self.file.path} was interrupted. Run it again with state=taken first: only the "
                "queue can tell what became of the last of them."
            )
        if begun and begun["queue"] != queue:
            raise Refused(
                f"An interrupted run has begun to put these messages into '{begun['queue']}'. Name that queue again."
            )

    def begun(self) -> int:
        """Return how many transactions the broker has committed; the counter is made where this is the first run."""
        resumed = bool(self.story.publishing)
        self.channel.depth(self.params["queue"])  # it must be there
        if not resumed:
            self.file.note(
                "publishing", queue=self.params["queue"], size=TRANSACTION, at=stamp(datetime.now(timezone.utc))
            )
            self.step("publishing noted")
        self.channel.declare(self.marker)
        self.step("counter declared")
        done = self.settled(self.marker).ready if resumed else 0
        if done < self.story.committed:
            raise Refused(
                f"The broker counts {done} transactions in the queue '{self.marker}', the file {self.story.committed}: "
                "somebody has emptied the broker. Whether what was put back is still there is for you to find out; to "
                f"put everything back again, delete the lines 'publishing' and 'published' from {self.file.path}."
            )
        return done

    def put(self, entries: list[dict[str, Any]]) -> None:
        """Put these messages back, in one transaction with its count."""
        for entry in entries:
            properties, body = base64.b64decode(entry["properties"]), base64.b64decode(entry["body"])
            self.channel.publish(self.params["queue"], properties, body)
            self.step("published")
        self.channel.publish(self.marker, PERSISTENT, b"")
        self.step("counted")
        returned = self.channel.commit()
        self.step("committed")
        if returned:
            raise VezaError(
                f"The queue '{self.params['queue']}' vanished while messages were put back: {returned} of those with "
                f"the numbers {entries[0]['number']} to {entries[-1]['number']} found no queue. They are in the file."
            )


WORK: dict[str, type[Work]] = {"taken": Taking, "republished": Putting}
VERBS = {"taken": "taken out of", "republished": "put back into"}


def run(
    params: dict[str, Any],
    check_mode: bool,
    step: Step = lambda name: None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Take or put back, and return the module's result; errors tell what was done until then."""
    target = checked(params)
    before = look(params["path"])
    see_head(params, before)
    try:
        with connected(target) as link:
            channel = Channel(link, params["timeout"])
            depth = channel.depth(params["queue"])
            left = would_move(params, before, depth)
            if check_mode or (params["state"] == "taken" and before.taken):
                return result_of(params, before, left, depth)
            with KeptFile(params["path"], params["keep_free"] * 1024 * 1024) as file:
                work = WORK[params["state"]](params, channel, file, step, sleep)
                try:
                    work.run()
                except VezaError as error:
                    raise type(error)(error.message, **result_of(params, file.story, work.moved, None)) from None
                after = Depth(channel.depth(params["queue"]).ready, depth.consumers)
                return result_of(params, file.story, work.moved, after)
    except Failed as failure:
        raise VezaError(failure.detail) from None


def see_head(params: dict[str, Any], story: Story) -> None:
    """Raise BadInput or Refused when the file can't be the one of this call."""
    path, state, head = params["path"], params["state"], story.head
    if state == "republished" and not head:
        raise BadInput(f"{path} has no messages: there is nothing to put back.")
    if head and head["vhost"] != params["vhost"]:
        raise BadInput(f"{path} has messages of the virtual host '{head['vhost']}', not of '{params['vhost']}'.")
    if head and state == "taken" and head["queue"] != params["queue"]:
        raise BadInput(f"{path} has messages of the queue '{head['queue']}', not of '{params['queue']}'.")
    if state == "taken" and story.publishing:
        raise Refused(f"The messages in {path} are being put back, or were. To take others, name another file.")


def would_move(params: dict[str, Any], story: Story, depth: Depth) -> int:
    """Return how many messages are to be moved, at most; Refused when the queue holds more than was typed."""
    if params["state"] == "republished":
        done = story.committed * story.publishing.get("size", TRANSACTION)
        return 0 if story.republished else story.held - done
    if story.taken:
        return 0
    if not story.pending:
        see_count(params, depth.ready, story)
    return min(depth.ready, params["count"] - story.held)


def see_count(params: dict[str, Any], ready: int, story: Story) -> None:
    """Raise Refused when the queue holds more than a person typed."""
    held = story.count("acked")
    if params["which"] == "all" and ready + held > params["count"]:
        before = f", and {held} were taken before" if held else ""
        raise Refused(
            f"The queue '{params['queue']}' holds {ready} messages{before}: more than the {params['count']} that may "
            "be taken. Nothing more was taken. Look at the queue again, and type the number that you mean."
        )


def result_of(params: dict[str, Any], story: Story, moved: int, depth: Depth | None) -> dict[str, Any]:
    """Return the module's result."""
    unsure = story.count("unsure")
    verb, path = VERBS[params["state"]], params["path"]
    doubt = f" {unsure} of them may be in the queue as well, or with a consumer." if unsure else ""
    return {
        "changed": moved > 0,
        "moved": moved,
        "total": story.held,
        "bytes": story.bytes,
        "unsure": unsure,
        "ready": depth.ready if depth else None,
        "consumers": depth.consumers if depth else None,
        "path": path,
        "messages": shown_of(path, set(story.numbers()[:LISTED])),
        "message": f"{moved} messages {verb} '{params['queue']}'; {path} has {story.held}.{doubt}",
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
