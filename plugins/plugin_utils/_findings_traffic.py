# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about queues, consumers and publishers, from the counters of the management API.

A depth or a counter is a sample, up to some seconds old. Nothing here is proved by a zero alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._checks import DEAD_STATES
from ansible_collections.veza.rabbitmq.plugins.module_utils._nodes import young

from ._findings import (
    NO,
    RECENT,
    UNKNOWN,
    Evidence,
    Finding,
    Proof,
    Question,
    Truth,
    anywhere,
    goes_on,
    infos,
    proof,
)
from ._findings_apps import OF_LIMIT, probes, running, workers_crash_loop

Queue = Mapping[str, Any]

SOURCE = "/api/queues"
AGAIN = 2
"""How often messages must have come back before that tells more than one worker's end."""

REPEATED = 120.0
"""Seconds within which a client that is refused has tried again: their backoff ends at 30 s."""

DATABASE_AWAY = ("refused", "timed_out", "name_not_resolved", "error")
"""What a database answers that is down, or cut off; what is refused to this login, or to TLS, tells of us only."""

QUIET = 40.0
"""Seconds after which a trouble that wrote a line is over, if that is longer than some of the pauses between them."""

NO_ACK_AFTER = 60
"""Seconds after which a worker that holds messages should have acknowledged one."""

STUCK = 300
"""Seconds after which that is told of a worker that has acknowledged some before."""

REMEMBERED = 540
"""Seconds of the past that rabbitmq_health surely tells of: a task may take longer than that."""

MANY_MORE = 100
"""Messages by which a queue must have risen in five minutes."""


def traffic(evidence: Evidence) -> Mapping[str, Any] | None:
    """Return what rabbitmq_health saw of the traffic, if it saw any."""
    return (evidence.get("health") or {}).get("traffic") or None


def queues(holds: Callable[[Queue], Truth], tell: Callable[[Queue], str], dead_letters: bool = False) -> Question:
    """Return a question to each named queue, or to each of their dead letter queues."""

    def ask(evidence: Evidence) -> Finding:
        seen = traffic(evidence)
        if seen is None:
            return UNKNOWN
        tasks = {one["name"]: one.get("task_seconds") for one in evidence.get("queues") or []}
        looping = workers_crash_loop(evidence).queues
        asked = [
            {**queue, "task_seconds": tasks.get(queue["name"]), "looping": queue["name"] in looping}
            for queue in seen["queues"]
            if bool(queue.get("of")) is dead_letters
        ]
        answers = [(queue, holds(queue)) for queue in asked]
        yes = [queue for queue, truth in answers if truth]
        if yes:
            told: list[Proof] = [proof("controller", SOURCE, tell(queue)) for queue in yes]
            return Finding(True, told, queues=sorted(queue.get("of") or queue["name"] for queue in yes))
        return NO if answers and all(truth is False for _queue, truth in answers) else UNKNOWN

    return ask


def waiting(queue: Queue) -> int | None:
    """Return the messages that are in a queue, ready or given to a worker; a queue whose process is dead has no count.

    The broker says 0 of such a one, whatever it holds.
    """
    count = queue.get("messages")
    return count if isinstance(count, int) and str(queue.get("state")) not in DEAD_STATES else None


def tell_waiting(queue: Queue) -> str:
    """Say how many wait."""
    count = waiting(queue)
    return "how many messages wait is not known" if count is None else f"{count} messages wait"


def nobody_consumes(queue: Queue) -> Truth:
    """Whether the queue has no consumer."""
    count = queue.get("consumers")
    return None if count is None else count == 0


def moved(queue: Queue, counter: str) -> bool | None:
    """Whether a counter moved between the two samples; None when there were not two."""
    value = queue.get(counter)
    return None if value is None else value > 0


def redelivered_in_vain(queue: Queue) -> Truth:
    """Whether messages are delivered again and again, and none is acknowledged: between the looks, or before."""
    again, acked, before = moved(queue, "redelivered_count"), moved(queue, "acked"), queue.get("in_vain")
    if not acked and before is not None and before >= AGAIN:
        return True
    # A worker that ends at once is started some times within one sample of the past; what it holds now came back once.
    least = AGAIN * max(queue.get("unacked") or 0, 1)
    if not acked and queue["looping"] and (queue.get("came_back") or 0) >= least and (waiting(queue) or 0) > 0:
        return True
    if again and not before and not queue["looping"] and queue["redelivered_count"] <= (queue.get("unacked") or 0):
        return False  # a worker that has just come back has got again what it held
    return None if again is None or acked is None else again and not acked


def tell_in_vain(queue: Queue) -> str:
    """Say what came back."""
    if moved(queue, "redelivered_count"):
        return f"{queue['name']}: {queue['redelivered_count']} redeliveries, no acknowledgement, between two samples"
    if (queue.get("in_vain") or 0) < AGAIN:
        held = queue["messages"]
        return f"{queue['name']}: {queue['came_back']} redeliveries of {held} messages, and none was acknowledged since"
    return f"{queue['name']}: {queue['in_vain']} times in 10 min messages came back, and none was acknowledged since"


def never_acked(queue: Queue) -> Truth:
    """Whether a worker has held messages of a queue for long, and none was acknowledged.

    That none ever was proves nothing by itself: the first message of a rare queue may have been delivered just now.
    """
    if queue.get("unacked") is None or queue.get("acked_total") is None:
        return None
    if not queue["unacked"] or not queue.get("consumers"):
        return False
    held = queue.get("unacked_for")
    least = max(STUCK if queue["acked_total"] else NO_ACK_AFTER, min(queue.get("task_seconds") or 0, REMEMBERED))
    return None if held is None else held >= least


def rises(queue: Queue) -> Truth:
    """Whether ever more messages wait in a queue whose workers work."""
    risen, stuck_for = queue.get("risen"), queue.get("stuck_for")
    if risen is None or stuck_for is None:
        return False if queue.get("messages") is not None else None
    return risen >= MANY_MORE and stuck_for < NO_ACK_AFTER


def stuck(evidence: Evidence) -> Finding:
    """Whether messages are held, and none was acknowledged between the samples."""

    def holds(queue: Queue) -> Truth:
        acked = moved(queue, "acked")
        return None if acked is None or queue.get("unacked") is None else queue["unacked"] > 0 and not acked

    def tell(queue: Queue) -> str:
        seconds = (traffic(evidence) or {}).get("seconds", 0)
        held = f"{queue['unacked']} held by {queue['consumers']} consumers"
        return f"{queue['name']}: {held}, none acknowledged in {seconds:g} s"

    return queues(holds, tell)(evidence)


def dropped(evidence: Evidence, *names: str) -> Finding:
    """Whether the broker drops messages, for one of these reasons, with no target to keep them.

    Its counters begin with the broker: they tell of now if that is not long ago, or if they move between two looks.
    """
    seen = traffic(evidence) or {}
    counters = seen.get("dropped")
    if not counters:
        return UNKNOWN
    fresh = young(seen.get("nodes") or [])
    known = {name: _lost(counters.get(name), fresh) for name in names}
    told = [
        proof("controller", "dropped messages", f"{count:.0f} messages were dropped ({name}) since the broker began")
        for name, count in known.items()
        if count
    ]
    if told:
        return Finding(True, told)
    return UNKNOWN if None in known.values() else NO


def _lost(counter: Mapping[str, Any] | None, fresh: bool | None) -> float | None:
    """Return how many messages are gone by a counter that is fresh or moves, 0 if it does neither; None if unknown.

    Of dead letters only those are gone that had nowhere to go, where the counter tells.
    """
    if not counter:
        return None
    total, moved = counter["discarded"], counter["discarded_delta"]
    if total is None:
        total, moved = counter["total"], counter["delta"]
    if fresh or moved or not total:
        return float(total)
    return None if moved is None else 0.0


def no_target(queue: Queue) -> Truth:
    """Whether a queue has nowhere to put what it gives up."""
    if queue.get("type") is None:
        return None
    return "x-dead-letter-exchange" not in queue["arguments"] and "dead-letter-exchange" not in queue["policy"]


REFUSES = ("reject-publish", "reject-publish-dlx")
"""What the overflow of a queue is called that takes nothing more once it is full."""


def full(queue: Queue) -> list[str]:
    """Return which limits of a queue are reached, and by how much: a limit counts what is ready."""
    limits = queue.get("limits") or {}
    found = []
    for name, held, unit in (("max_length", "ready", "messages"), ("max_bytes", "ready_bytes", "bytes")):
        limit, count = limits.get(name), queue.get(held)
        if limit is not None and isinstance(count, int) and count >= limit:
            found.append(f"{count} {unit} are ready, {limit} are allowed")
    return found


def refuses(queue: Queue) -> Truth:
    """Whether a queue refuses what is published because it is full."""
    if queue.get("overflow") not in REFUSES:
        return None if queue.get("type") is None else False
    return None if queue.get("ready") is None else bool(full(queue))


def steals(queue: Queue) -> Truth:
    """Whether one of a queue's consumers takes messages without acks while others acknowledge theirs.

    Where all do so it may be how the site's own workers are.
    """
    takers, consumers = queue.get("without_ack"), queue.get("consumers")
    if takers is None or consumers is None:
        return None
    return False if not takers else True if len(takers) < consumers else None


def tell_thieves(queue: Queue) -> str:
    """Say which they are."""
    ends = ", ".join(f"{one['host']} port {one['port']}" for one in queue["without_ack"])
    return f"{queue['name']}: of {queue['consumers']} consumers, what is at {ends} acknowledges nothing that it takes"


def publishers_blocked(evidence: Evidence) -> Finding:
    """Whether connections are blocked."""
    seen = (traffic(evidence) or {}).get("connections")
    if not seen or seen.get("blocked") is None:
        return UNKNOWN
    if not seen["blocked"]:
        return NO
    hosts = ", ".join(f"{host}: {count['blocked']}" for host, count in seen["by_host"].items() if count["blocked"])
    return Finding(
        True, [proof("controller", "/api/connections", f"{seen['blocked']} connections are blocked ({hosts})")]
    )


IN_VHOST = re.compile(r"in vhost '([^']*)'")
"""How the broker's log names the virtual host of what it refuses."""


def of_another_vhost(line: Mapping[str, Any], site: str | None) -> bool:
    """Whether a line is about another virtual host than the site's."""
    named = IN_VHOST.search(line["line"])
    return site is not None and named is not None and named[1] != site


def logged(*names: str, within: float = REPEATED, quiet: float = QUIET) -> Question:
    """Return the question whether a line about clients was written to a broker's log since its last start, and lately.

    ``within`` is after how many seconds a trouble that goes on has certainly written another one, ``quiet`` before how
    many that can't be told.
    """

    def ask(evidence: Evidence) -> Finding:
        told, queues, unknown = [], [], False
        for host, info in infos(evidence, "brokers"):
            if info is None or not info.get("logs"):
                unknown = True
                continue
            now = (info.get("clock") or {}).get("now")
            for line in info.get("signatures") or []:
                if line["name"] not in names or not line["count"] or not goes_on(line, now, within, quiet):
                    continue
                if of_another_vhost(line, evidence.get("vhost")):
                    unknown = True  # only the last of its kind is quoted: earlier ones may have been about the site's
                else:
                    text = f"{line['line']} ({line['count']} times)"
                    told.append(proof(host, line["file"], text, line["last_at"]))
                    queues += [one["name"] for one in evidence.get("queues") or [] if f"'{one['name']}'" in text]
        if told:
            return Finding(True, told, queues=sorted(set(queues)))
        return UNKNOWN if unknown else NO

    return ask


OF_USER = re.compile(r"for user '([^']+)'.*connection limit \(")
"""Whose connections the broker's log says are too many; a probe proves nothing of a limit of channels."""


def let_in(evidence: Evidence) -> set[str]:
    """Return the users of whom every container that runs gets through: a limit is reached for all, or for none."""
    seen: dict[str, list[bool]] = {}
    for _host, container in running(evidence):
        if container is None or not container.get("probe"):
            return set()
        user = (container.get("amqp") or {}).get("user")
        seen.setdefault(str(user), []).append(bool(container["probe"]["ok"]))
    return {user for user, answers in seen.items() if all(answers)}


def refused_by_limit(evidence: Evidence) -> Finding:
    """Whether the broker refuses connections or channels for a limit: to a container that was asked, or by its log.

    The log tells of the past half minute, and whoever is let in tells of now.
    """
    seen = probes(lambda probe, _one: not probe["ok"] and bool(OF_LIMIT.search(probe["message"])))(evidence)
    by_log = logged("connection_limit")(evidence)
    if by_log.holds and not seen.holds:
        users = let_in(evidence)
        if all((of := OF_USER.search(line["text"])) and of[1] in users for line in by_log.proof):
            return UNKNOWN
    if seen.holds or by_log.holds:
        return Finding(True, [*by_log.proof, *seen.proof], seen.targets)
    return by_log


def worker_missing(evidence: Evidence) -> Finding:
    """Whether queues that nobody consumes have a worker of which no host has a container."""
    idle = FINDINGS["no_consumer"](evidence)
    if not idle.holds:
        return idle
    seen: dict[str, list[tuple[str, bool]]] = {}
    for host, info in infos(evidence, "apps"):
        for container in (info or {}).get("containers") or []:
            seen.setdefault(str(container.get("service")), []).append((host, container["state"] == "missing"))
    unseen = any(info is None for _host, info in infos(evidence, "apps"))
    workers = {queue["name"]: queue.get("worker") for queue in evidence.get("queues") or []}
    answers: list[tuple[str, Truth, list[Proof]]] = []
    about = []
    for queue in idle.queues:
        there = seen.get(str(workers.get(queue)), [])
        gone = bool(there) and all(missing for _host, missing in there)
        told = f"there is no container of {workers.get(queue)}, the worker of {queue}"
        for host, _missing in there or [("controller", False)]:
            answers.append((host, None if gone and unseen else gone, [proof(host, "docker", told)] if gone else []))
        about += [queue] if gone else []
    return anywhere(answers, about)


def worker_unseen(evidence: Evidence) -> Finding:
    """Whether queues that nobody consumes have a worker that is on no host which could be looked at, and one couldn't.

    Then it may be there, and nothing done to it would get through.
    """
    idle, unreachable = FINDINGS["no_consumer"](evidence), evidence.get("unreachable") or {}
    if not idle.holds:
        return idle
    away = sorted(host for host, info in infos(evidence, "apps") if info is None and host in unreachable)
    seen = {
        container.get("service")
        for _host, info in infos(evidence, "apps")
        for container in (info or {}).get("containers") or []
    }
    workers = {queue["name"]: queue.get("worker") for queue in evidence.get("queues") or []}
    about = [queue for queue in idle.queues if workers.get(queue) and workers[queue] not in seen]
    if not about or not away:
        return NO
    told = [proof("controller", "connection", f"{host} can't be looked at: {unreachable[host]}") for host in away]
    idling = [one for one in idle.proof if any(queue in one["text"] for queue in about)]
    return Finding(True, [*told, *idling], away, about)


def database_down(evidence: Evidence) -> Finding:
    """Whether the database does not answer the controller, as a server that is away does not."""
    seen = evidence.get("database")
    if not seen:
        return UNKNOWN
    holds = seen["outcome"] in DATABASE_AWAY
    return Finding(holds, [proof("controller", "database_info", seen["detail"])] if holds else [])


def database_read_only(evidence: Evidence) -> Finding:
    """Whether the database takes no writes: of a standby only where work fails, as the URL may be that of a replica."""
    seen = evidence.get("database")
    if not seen or seen["outcome"] != "ok":
        return UNKNOWN
    holds = {"setting": True, "recovery": work_fails(evidence).holds}.get(seen.get("read_only") or "", False)
    return Finding(holds, [proof("controller", "database_info", seen["detail"])] if holds else [])


def work_fails(evidence: Evidence) -> Finding:
    """Whether workers take messages and get nothing done: of these signs one is enough."""
    signs = [FINDINGS[name](evidence) for name in ("redelivered_in_vain", "held_and_stuck", "dead_letters_grow")]
    signs.append(workers_crash_loop(evidence))
    seen = [sign for sign in signs if sign.holds]
    if not seen:
        return UNKNOWN if None in [sign.holds for sign in signs] else NO
    told = [one for sign in seen for one in sign.proof]
    return Finding(True, told, queues=sorted({queue for sign in seen for queue in sign.queues}))


FINDINGS: dict[str, Question] = {
    "no_consumer": queues(nobody_consumes, lambda q: f"{q['name']} has no consumer; {tell_waiting(q)}"),
    "worker_missing": worker_missing,
    "worker_unseen": worker_unseen,
    "never_acked": queues(
        never_acked,
        lambda q: f"{q['name']}: {q['consumers']} consumers hold {q['unacked']}, acknowledged none"
                  f" for {q['unacked_for']} s",
    ),
    "held_and_stuck": stuck,
    "redelivered_in_vain": queues(
        redelivered_in_vain,
        tell_in_vain,
    ),
    "backlog_rises": queues(
        rises,
        lambda q: f"{q['name']}: {q['risen']} more wait than 5 minutes ago, though its {q['consumers']} consumers work",
    ),
    "bindings_missing": queues(
        lambda q: None if q.get("bindings") is None else q["bindings"] == 0,
        lambda q: f"{q['name']} has no binding: what is published for it is unroutable",
    ),
    "queue_is_limited": queues(
        lambda q: any((q.get("limits") or {}).get(limit) is not None for limit in ("ttl", "max_length", "max_bytes")),
        lambda q: f"{q['name']} is limited: " + ", ".join(f"{k}={v}" for k, v in q["limits"].items() if v is not None),
    ),
    "queue_refuses": queues(
        refuses,
        lambda q: f"{q['name']} refuses what is published ({q['overflow']}): {', '.join(full(q))}",
    ),
    "nothing_keeps_dead_letters": queues(
        no_target,
        lambda q: f"{q['name']} has no dead letter target: what it gives up is gone",
    ),
    "dead_letters_grow": queues(
        lambda q: None if q.get("grown") is None else q["grown"] > 0,
        lambda q: f"{q['name']}: {q['grown']} more within the look, {q.get('messages')} in all",
        dead_letters=True,
    ),
    "dead_letters_wait": queues(
        lambda q: None if waiting(q) is None else (waiting(q) or 0) > 0,
        lambda q: f"{q['name']} holds {q['messages']} messages",
        dead_letters=True,
    ),
    "expired_or_overflowed": lambda e: dropped(e, "expired", "maxlen"),
    "given_up": lambda e: dropped(e, "delivery_limit", "rejected"),
    "unroutable": lambda e: dropped(e, "unroutable"),
    "consumer_steals": queues(steals, tell_thieves),
    "publishers_blocked": publishers_blocked,
    "database_down": database_down,
    "database_read_only": database_read_only,
    "work_fails": work_fails,
    "arguments_refused": logged("arguments_refused"),
    "permission_refused": logged("permission_refused"),
    "localhost_only": logged("guest_from_afar"),
    "exclusive_use": logged("exclusive_use"),
    "exchange_missing": logged("exchange_missing"),
    "message_too_large": logged("message_too_large"),
    "operation_refused": logged("operation_refused"),
    "ack_timeout": logged("ack_timeout", within=RECENT, quiet=RECENT),
    "connections_refused_by_limit": refused_by_limit,
}  # fmt: skip
