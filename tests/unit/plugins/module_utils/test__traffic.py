# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._checks import Expected, Seen
from ansible_collections.veza.rabbitmq.plugins.module_utils._deadline import Later
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import RequestFailed
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Answer, Management, mapping
from ansible_collections.veza.rabbitmq.plugins.module_utils._metrics import Metrics
from ansible_collections.veza.rabbitmq.plugins.module_utils._traffic import (
    _QUEUE,
    Sample,
    Surroundings,
    Traffic,
    consumer_hosts,
    counted,
    dead_letters,
    is_open,
    limits,
    overflow,
    past,
    receivers,
    report,
    routing_keys,
    without_ack,
)

Made = Callable[..., Any]

DEAD = {"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "jobs.dlq"}
BINDINGS = [
    {"source": "", "destination": "jobs", "destination_type": "queue", "routing_key": "jobs"},
    {"source": "events", "destination": "jobs", "destination_type": "queue", "routing_key": "jobs"},
    {"source": "dlx", "destination": "jobs.dlq", "destination_type": "queue", "routing_key": "jobs.dlq"},
]
COLUMNS = "columns=source,destination,destination_type,routing_key"
CONNECTIONS = ("/api/connections?columns=state,peer_host&page=1&page_size=500", {"items": [], "total_count": 0})
TOTALS = "columns=name,messages,messages_ready,messages_unacknowledged&disable_stats=true&enable_queue_totals=true"
LIST = (f"/api/queues/v?{TOTALS}", [])
QUESTION = (
    "/api/queues/v/jobs?columns=messages_details,messages_unacknowledged_details,message_stats.ack_details,"
    "message_stats.deliver_no_ack_details,"
    "message_stats.get_no_ack_details,message_stats.redeliver_details"
    "&lengths_age=600&lengths_incr=10&msg_rates_age=600&msg_rates_incr=10"
)
PAST = (QUESTION, {})
EXPIRED = "rabbitmq_global_messages_dead_lettered_expired_total"


def queue(name: str = "jobs", messages: int = 0, unacked: int = 0, **more: Any) -> dict[str, Any]:
    counts = {"messages": messages, "messages_ready": messages - unacked, "messages_unacknowledged": unacked}
    return {"name": name, "type": "classic", "state": "running", "consumers": 1, "arguments": {}, **counts, **more}


def stats(rates: dict[str, float] | None = None, **counters: int) -> dict[str, Any]:
    details = {f"{name}_details": {"rate": rate} for name, rate in (rates or {}).items()}
    return {"message_stats": {**counters, **details}}


def metrics(expired: int) -> Metrics:
    values = {EXPIRED: [({"dead_letter_strategy": "disabled"}, float(expired)), ({}, 10.0)]}
    return Metrics("ok", "", values)


@pytest.fixture
def read(scripted_http: Made, reply: Made, clock: Any) -> Made:
    """Return a reader of the traffic of ``jobs`` against a script of documents."""

    def read_it(
        first: dict[str, Any],
        *steps: tuple[str, Any],
        seconds: float = 6.0,
        tag: str = "monitoring",
        overview: dict[str, Any] | None = None,
        counters: list[Metrics] | None = None,
        others: list[dict[str, Any]] | None = None,
        uptime: int | None = None,
    ) -> dict[str, Any]:
        made = [(path, found if isinstance(found, Exception) else reply(found)) for path, found in steps]
        management = Management(scripted_http(*made), "monitor", clock)
        management.begin(5.0)
        few = {"rabbitmq_version": "3.10.8", "object_totals": {"queues": 8}}
        seen = Seen(
            {
                "whoami": Answer("ok", "", {"tags": [tag]}),
                "overview": Answer("ok", "", few if overview is None else overview),
                "nodes": Answer("ok", "", [{"name": "rabbit@mq", "running": True, "mem_used": 5, "uptime": uptime}]),
            },
            {},
            {document["name"]: Answer("ok", "", document) for document in [{**first, "name": "jobs"}, *(others or [])]},
        )
        left = list(counters or [])
        ask = (lambda _seconds: left.pop(0)) if counters else None
        traffic = Traffic(management, ask, Expected("v", tuple(seen.queues)), seconds, clock, clock.sleep)
        return traffic.read(seen, Later(lambda: left.pop(0)) if counters else None)

    return read_it


def test_an_idle_queue_costs_one_look(read: Made, clock: Any) -> None:
    dlq = ("/api/queues/v/jobs.dlq", queue("jobs.dlq", 4, consumers=0))
    found = read(queue(arguments=DEAD), (f"/api/bindings/v?{COLUMNS}", BINDINGS), dlq, CONNECTIONS, LIST)
    assert clock.sleeps == []
    assert found["seconds"] == 0.0
    jobs, dead = found["queues"]
    assert (jobs["bindings"], jobs["dead_letter_target"], jobs["acked"]) == (1, "jobs.dlq", None)
    assert (dead["name"], dead["of"], dead["messages"], dead["bindings"]) == ("jobs.dlq", "jobs", 4, None)
    assert found["nodes"][0]["mem_used"] == 5
    assert found["nodes"][0]["being_drained"] is None


def test_acks_that_flow_are_proof_enough(read: Made, clock: Any) -> None:
    first = queue(messages=9, unacked=3, **stats({"ack": 0.2}, ack=50))
    found = read(first, (f"/api/bindings/v?{COLUMNS}", []), CONNECTIONS, LIST)
    assert (found["seconds"], clock.sleeps) == (0.0, [])


def test_a_consumer_that_has_just_come_is_waited_for(read: Made, clock: Any) -> None:
    steps = [("/api/queues/v/jobs", queue(consumers=count)) for count in (0, 0, 2)]
    found = read(queue(consumers=0), (f"/api/bindings/v?{COLUMNS}", []), CONNECTIONS, LIST, *steps, LIST)
    assert (found["seconds"], found["queues"][0]["consumers"]) == (3.0, 2)


def test_the_second_look_ends_when_an_ack_is_counted(read: Made, clock: Any) -> None:
    first = queue(messages=9, unacked=3, **stats(ack=50, deliver=53, publish=60))
    later = queue(messages=8, unacked=3, **stats(ack=51, deliver=54, publish=60))
    path = "/api/queues/v/jobs"
    steps = [(path, first), (path, first), (path, later), LIST]
    found = read(first, (f"/api/bindings/v?{COLUMNS}", []), PAST, CONNECTIONS, LIST, *steps)
    assert (found["seconds"], clock.sleeps) == (3.0, [1.0] * 3)
    jobs = found["queues"][0]
    assert {key: jobs[key] for key in ("acked", "delivered", "published", "redelivered_count", "grown")} == {
        "acked": 1, "delivered": 1, "published": 0, "redelivered_count": 0, "grown": -1,
    }  # fmt: skip


def test_a_worker_that_does_nothing_costs_the_whole_time(read: Made, clock: Any) -> None:
    first = queue(messages=9, unacked=3)
    path = "/api/queues/v/jobs"
    steps = [(path, first)] * 3
    counters = [metrics(2), metrics(3)]
    found = read(
        first, (f"/api/bindings/v?{COLUMNS}", []), PAST, CONNECTIONS, LIST, *steps, LIST, seconds=2.5, counters=counters
    )
    assert clock.sleeps == [1.0, 1.0, 0.5]
    assert (found["queues"][0]["acked"], found["queues"][0]["redelivered"]) == (0, False)
    assert found["dropped"]["expired"] == {
        "total": 13, "delta": 1, "discarded": 3, "discarded_delta": 1, "source": "prometheus", "age": 0.0,
    }  # fmt: skip
    assert found["dropped"]["maxlen"] is None


@pytest.mark.parametrize(("lost", "uptime", "looks"), [(0, 3_600_000, 1), (2, 3_600_000, 2), (2, 3_599_999, 1)])
def test_whether_messages_are_still_lost_takes_a_second_look_long_after_the_start(
    read: Made, clock: Any, lost: int, uptime: int, looks: int
) -> None:
    steps = [("/api/queues/v/jobs", queue()), ("/api/queues/v/jobs", queue()), LIST] if looks == 2 else []
    found = read(
        queue(), (f"/api/bindings/v?{COLUMNS}", []), CONNECTIONS, LIST, *steps,
        seconds=2.0, counters=[metrics(lost)] * looks, uptime=uptime,
    )  # fmt: skip
    assert clock.sleeps == ([1.0, 1.0] if looks == 2 else [])
    assert found["dropped"]["expired"]["discarded_delta"] == (0 if looks == 2 else None)


def test_dead_letter_queues_of_few_are_read_as_a_list(read: Made, clock: Any) -> None:
    more = queue("more", arguments={**DEAD, "x-dead-letter-routing-key": "more.dlq"})
    bindings = [{**BINDINGS[2], "routing_key": name, "destination": name} for name in ("jobs.dlq", "more.dlq")]
    path = f"/api/queues/v?columns={','.join(_QUEUE)}"
    rising = [queue(f"{name}.dlq", 4, messages_details={"rate": 0.4}) for name in ("jobs", "more")]
    first = [(f"/api/bindings/v?{COLUMNS}", bindings), (path, rising), CONNECTIONS, LIST]
    again = [("/api/queues/v/jobs", queue(arguments=DEAD)), ("/api/queues/v/more", more)]
    second = (path, [queue("jobs.dlq", 6), []])
    found = read(queue(arguments=DEAD), *first, *again, second, LIST, others=[more], seconds=1)
    assert clock.sleeps == [1.0]
    assert {entry["name"]: entry["grown"] for entry in found["queues"]} == {
        "jobs": 0, "more": 0, "jobs.dlq": 2, "more.dlq": None,
    }  # fmt: skip


def test_no_second_look_where_it_is_not_wanted(read: Made, clock: Any) -> None:
    found = read(queue(messages=9), (f"/api/bindings/v?{COLUMNS}", []), PAST, CONNECTIONS, LIST, seconds=0)
    assert (found["seconds"], found["queues"][0]["acked"]) == (0.0, None)


def test_a_broker_that_stops_answering_ends_it(read: Made, clock: Any) -> None:
    hung = RequestFailed("timed_out", "GET /api/queues: silence.")
    first = queue(messages=9)
    found = read(first, (f"/api/bindings/v?{COLUMNS}", []), PAST, CONNECTIONS, LIST, ("/api/queues/v/jobs", hung))
    assert clock.sleeps == [1.0]
    assert (found["queues"][0]["messages"], found["queues"][0]["acked"]) == (9, None)


def test_a_restart_between_two_looks_leaves_no_difference(read: Made) -> None:
    first, later = queue(messages=9, **stats(ack=50)), queue(messages=9, **stats(ack=1))
    steps = [("/api/queues/v/jobs", later), LIST]
    found = read(first, (f"/api/bindings/v?{COLUMNS}", []), PAST, CONNECTIONS, LIST, *steps, seconds=1)
    assert found["queues"][0]["acked"] is None


def test_of_thousands_only_the_named_are_asked(read: Made) -> None:
    many = {"rabbitmq_version": "3.10.8", "object_totals": {"queues": 9000}}
    steps = [
        (f"/api/queues/v/jobs/bindings?{COLUMNS}", BINDINGS[:2]),
        (f"/api/exchanges/v/dlx/bindings/source?{COLUMNS}", BINDINGS[2:]),
        ("/api/queues/v/jobs.dlq", queue("jobs.dlq")),
        CONNECTIONS,
    ]
    found = read(queue(arguments=DEAD), *steps, overview=many)
    assert [entry["name"] for entry in found["queues"]] == ["jobs", "jobs.dlq"]
    assert [entry["age"] for entry in found["queues"]] == [10.0, 10.0]


def test_dead_letters_to_nowhere_name_the_exchange(read: Made) -> None:
    found = read(queue(arguments=DEAD), (f"/api/bindings/v?{COLUMNS}", BINDINGS[:2]), CONNECTIONS, LIST)
    assert [entry["dead_letter_target"] for entry in found["queues"]] == ["dlx"]


def samples(
    messages: list[int] | None = None, unacked: list[int] | None = None, **counters: list[int]
) -> dict[str, Any]:
    def details(totals: list[int]) -> dict[str, Any]:
        told = [{"sample": total, "timestamp": 10_000 * at} for at, total in enumerate(totals)]
        return {"samples": told[::-1]}

    stats = {f"{name}_details": details(totals) for name, totals in counters.items()}
    held = {"messages_details": details(messages or []), "messages_unacknowledged_details": details(unacked or [])}
    return {**held, "message_stats": stats}


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (samples(redeliver=[0, 0, 9, 9, 18], ack=[3, 3, 3, 3, 3]), 2),
        (samples(redeliver=[0, 9, 18, 27], ack=[3, 3, 3, 4]), 0),
        (samples(redeliver=[0, 9, 18, 27], deliver_no_ack=[3, 4, 4, 4]), 2),
        (samples(redeliver=[9, 9], ack=[3, 3]), 0),
        ({"message_stats": {"redeliver": 3}}, None),
        (None, None),
    ],
)
def test_messages_that_came_back_since_one_was_done_with(document: Any, count: int | None) -> None:
    assert past(document)["in_vain"] == count


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (samples(redeliver=[3, 9, 18], ack=[3, 3, 3]), 3),
        (samples(redeliver=[3, 9, 18], ack=[3, 4, 4]), 9),
        (samples(redeliver=[3, 9, 18]), 3),
        (samples(ack=[3, 3]), None),
        (None, None),
    ],
)
def test_how_often_any_had_come_back_when_one_was_last_done_with(document: Any, count: int | None) -> None:
    assert past(document)["back_before"] == count


@pytest.mark.parametrize(
    ("document", "seconds"),
    [
        (samples([5, 5, 5, 5], ack=[1, 2, 2, 2]), 20),
        (samples([5, 0, 5, 5], ack=[2, 2, 2, 2]), 10),
        (samples([5, 5, 5, 5], ack=[1, 1, 1, 2]), 0),
        (samples([5, 5, 5, 5]), 30),
        (samples([5, 5, 0]), 0),
        (samples(), None),
    ],
)
def test_for_how_long_nothing_was_done(document: Any, seconds: int | None) -> None:
    assert past(document)["stuck_for"] == seconds


def test_for_how_long_consumers_have_held_messages_is_another_question() -> None:
    told = past(samples([5, 5, 5, 5], [0, 0, 1, 1]))
    assert (told["stuck_for"], told["unacked_for"]) == (30, 10)


@pytest.mark.parametrize(
    ("messages", "more"),
    [
        ([0] * 40 + list(range(0, 200, 10)), 190),
        (list(range(0, 300, 10)), 290),
        (list(range(300, 0, -10)), 0),
        ([5, 90, 5] * 10, 0),
        ([5, 6], None),
    ],
)
def test_whether_messages_become_ever_more(messages: list[int], more: int | None) -> None:
    assert past(samples(messages))["risen"] == more


@pytest.mark.parametrize(
    ("first", "asked"),
    [
        (queue(messages=9, **stats({"ack": 3.0}, redeliver=18)), True),
        (queue(messages=100, **stats({"ack": 3.0})), True),
        (queue(messages=9), True),
        (queue(messages=9, **stats({"ack": 3.0})), False),
        (queue(**stats(redeliver=18)), False),
    ],
)
def test_the_past_is_asked_for_where_it_tells_more(read: Made, first: dict[str, Any], asked: bool) -> None:
    steps = [(QUESTION, samples([9, 9], [1, 1], redeliver=[9, 18]))] if asked else []
    found = read(first, (f"/api/bindings/v?{COLUMNS}", []), *steps, CONNECTIONS, LIST, seconds=0)
    told = {key: found["queues"][0][key] for key in ("in_vain", "came_back", "stuck_for", "unacked_for", "risen")}
    known = {"in_vain": 1, "stuck_for": 10, "unacked_for": 10, "risen": None}
    came_back = told.pop("came_back")
    assert told == (known if asked else dict.fromkeys(known))
    again = mapping(first.get("message_stats")).get("redeliver")
    assert came_back == (9 if asked and again else None)


def test_what_was_not_answered_is_unknown(read: Made) -> None:
    hung = RequestFailed("timed_out", "GET /api/bindings: silence.")
    found = read(queue(arguments=DEAD, messages=0), (f"/api/bindings/v?{COLUMNS}", hung))
    assert (found["queues"][0]["bindings"], found["queues"][0]["dead_letter_target"]) == (None, None)
    assert found["queues"][0]["age"] == 10.0
    assert found["connections"] is None


def test_a_user_who_does_not_see_all_connections_is_not_asked_for_them(read: Made) -> None:
    found = read(queue(), (f"/api/bindings/v?{COLUMNS}", []), LIST, tag="management")
    assert found["connections"] is None


def test_connections_are_counted_by_host(read: Made) -> None:
    items = [
        {"state": "blocked", "peer_host": "10.0.0.7"},
        {"state": "running", "peer_host": "10.0.0.7"},
        {"state": "blocking", "peer_host": "10.0.0.8"},
        [],
    ]
    steps = [(f"/api/bindings/v?{COLUMNS}", []), (CONNECTIONS[0], {"items": items, "total_count": 700}), LIST]
    assert read(queue(), *steps)["connections"] == {
        "total": 700,
        "blocked": 1,
        "blocking": 1,
        "by_host": {"10.0.0.7": {"total": 2, "blocked": 1}, "10.0.0.8": {"total": 1, "blocked": 0}},
        "age": 10.0,
    }


def test_without_prometheus_the_overview_has_two_of_the_counters(read: Made) -> None:
    overview = {"object_totals": {"queues": 8}, **stats(drop_unroutable=3)}
    found = read(queue(), (f"/api/bindings/v?{COLUMNS}", []), CONNECTIONS, LIST, overview=overview)["dropped"]
    assert found["expired"] is None
    assert (found["unroutable"]["total"], found["returned"]["total"]) == (3, 0)
    assert (found["unroutable"]["source"], found["unroutable"]["age"]) == ("/api/overview", 10.0)
    without = read(queue(), (f"/api/bindings/v?{COLUMNS}", []), CONNECTIONS, LIST)["dropped"]
    assert without["unroutable"] is None


@pytest.mark.parametrize(
    ("total", "messages", "age"),
    [
        ({}, 7, 10.0),
        (queue(messages=9), 9, 5.0),
        (queue(messages=0), 7, 10.0),  # a leader that does not answer counts 0
    ],
)
def test_the_total_of_a_quorum_queue_is_taken_with_its_age_but_for_a_zero(
    read: Made, total: dict[str, Any], messages: int, age: float
) -> None:
    first = {**queue(messages=7), "type": "quorum"}
    listed = (LIST[0], [total] if total else [])
    found = read(first, (f"/api/bindings/v?{COLUMNS}", []), PAST, CONNECTIONS, listed, seconds=0)
    assert (found["queues"][0]["messages"], found["queues"][0]["age"]) == (messages, age)


def test_a_queue_without_counts_is_unknown_not_empty(read: Made) -> None:
    first = {"name": "jobs", "type": "quorum", "state": "running"}
    listed = (LIST[0], [{**queue(), "type": "quorum"}])
    found = read(first, (f"/api/bindings/v?{COLUMNS}", []), CONNECTIONS, listed)["queues"][0]
    assert (found["messages"], found["age"], found["redelivered"]) == (None, None, None)


def sampled(document: dict[str, Any]) -> Sample:
    return Sample(0.0, {document["name"]: Answer("ok", "", document)})


@pytest.mark.parametrize(
    ("document", "named", "open_"),
    [
        (queue(), True, False),
        (queue(consumers=0), True, True),
        (queue(messages=1), True, True),
        (queue(messages=1, unacked=1), True, True),
        (queue(messages=5, **stats({"deliver_no_ack": 3.0})), True, False),
        (queue(messages=5, **stats({"ack": 3.0, "redeliver": 3.0})), True, True),
        (queue(messages=5), False, False),
        (queue(messages=5, messages_details={"rate": 0.4}), False, True),
        (queue(messages=5, messages_details={"rate": -0.4}), False, False),
    ],
)
def test_what_one_look_leaves_open(document: dict[str, Any], named: bool, open_: bool) -> None:
    assert is_open(sampled(document), "jobs", named) is open_


def test_a_counter_that_never_moved_is_zero_where_there_are_statistics() -> None:
    assert counted(queue(), "acked") == 0
    assert counted({"name": "jobs"}, "acked") is None
    assert counted(queue(**stats(ack=2, deliver_no_ack=3, get_no_ack=4)), "acked") == 9


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({}, (None, None)),
        ({"arguments": [], "effective_policy_definition": []}, (None, None)),
        ({"arguments": {"x-dead-letter-exchange": ""}}, ("", None)),
        ({"effective_policy_definition": {"dead-letter-exchange": "p"}}, ("p", None)),
        ({"arguments": DEAD, "effective_policy_definition": {"dead-letter-exchange": "p"}}, ("dlx", "jobs.dlq")),
    ],
)
def test_an_argument_comes_before_the_policy(document: dict[str, Any], found: tuple[Any, Any]) -> None:
    assert dead_letters(document) == found


def test_without_a_key_of_their_own_dead_letters_keep_theirs() -> None:
    document = queue(arguments={"x-dead-letter-exchange": "dlx"})
    assert routing_keys(document, [{"routing_key": "audio.*"}]) == {"jobs", "audio.*"}
    assert routing_keys(queue(arguments=DEAD), [{"routing_key": "audio.*"}]) == {"jobs.dlq"}


def test_queues_behind_an_exchange() -> None:
    bindings = [
        {"destination": "other", "destination_type": "exchange", "routing_key": "k"},
        {"destination": "no", "destination_type": "queue", "routing_key": "x"},
        {"destination": "all", "destination_type": "queue", "routing_key": "#"},
        {"destination": "own", "destination_type": "queue", "routing_key": "k"},
    ]
    assert receivers(bindings, {"k"}) == ["all", "own"]


@pytest.mark.parametrize(
    ("kind", "version", "limit"), [("quorum", "4.0.5", 20), ("quorum", "3.10.8", None), ("classic", "4.0.5", None)]
)
def test_the_smaller_limit_counts_and_new_quorum_queues_have_one(kind: str, version: str, limit: int | None) -> None:
    arguments, policy = {"x-max-length": 9, "x-message-ttl": "x"}, {"max-length": 5, "message-ttl": 100}
    document = {"type": kind, "arguments": arguments, "effective_policy_definition": policy}
    found = limits(document, Answer("ok", "", {"rabbitmq_version": version}))
    assert found == {"ttl": 100, "max_length": 5, "max_bytes": None, "delivery_limit": limit}


@pytest.mark.parametrize(
    ("arguments", "policy", "said"),
    [
        ({}, {}, None),
        ({}, {"overflow": "reject-publish"}, "reject-publish"),
        ({"x-overflow": "drop-head"}, {"overflow": "reject-publish"}, "drop-head"),
        ({"x-overflow": 7}, {}, None),
    ],
)
def test_an_argument_says_what_a_full_queue_does_before_a_policy(
    arguments: dict[str, Any], policy: dict[str, Any], said: str | None
) -> None:
    assert overflow({"arguments": arguments, "effective_policy_definition": policy}) == said


def test_consumers_are_found_at_their_hosts() -> None:
    details: list[Any] = [{"channel_details": {"peer_host": host}} for host in ("10.0.0.9", "10.0.0.7", "10.0.0.9")]
    assert consumer_hosts({}) is None
    assert consumer_hosts({"consumer_details": [*details, {"channel_details": []}, []]}) == ["10.0.0.7", "10.0.0.9"]


def test_consumers_that_take_without_acks_are_told_by_their_ends() -> None:
    ends: dict[str, Any] = {"peer_host": "10.0.0.9", "peer_port": 40112, "name": "10.0.0.9:40112 -> 10.0.0.1:5672 (1)"}
    details: list[Any] = [
        {"ack_required": False, "channel_details": ends}, {"ack_required": True, "channel_details": ends},
        {"ack_required": False, "channel_details": []}, {}, [],
    ]  # fmt: skip
    assert without_ack({}) is None
    assert without_ack({"consumer_details": []}) == []
    found = without_ack({"consumer_details": details})
    assert found == [{"host": "10.0.0.9", "port": 40112}, {"host": None, "port": None}]


@pytest.mark.parametrize("strange", [None, "7", [], {}, 1.5, float("nan")])
def test_a_counter_of_drops_that_is_no_number_is_not_known(strange: Any) -> None:
    overview = Answer("ok", "GET /api/overview", {"message_stats": {"drop_unroutable": strange}})
    seen = report((), Sample(0.0, {}, overview=overview), None, Surroundings(), [])
    assert seen["dropped"]["unroutable"] is None
