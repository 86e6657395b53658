# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.veza.rabbitmq.plugins.filter import outage as filters
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_accounting import outage_accounting

WINDOW = {"start": "2026-11-23T20:15:00Z", "end": "2026-11-23T20:55:00Z"}
AT = "2026-11-23T20:20:00Z"
QUEUES = [
    {"name": "transcode_jobs", "kind": "transcode", "replay": "transcode_requeue", "idempotent": True},
    {"name": "distribution_outbox", "kind": "distribution", "replay": "none", "next_step": "Submit {entity_id} again."},
    {"name": "dmca_propagation", "kind": "dmca", "replay": "dmca_flush"},
    {"name": "search_index_updates", "kind": "search", "replay": "none"},
]
SUBSYSTEMS = [
    {"name": "email_digest", "kind": "digest", "subsystem": "Digest", "severity": "LOW", "heals": "on the next tick"},
    {
        "name": "chat",
        "kind": "chat",
        "subsystem": "Chat",
        "severity": "NONE",
        "independent": "chat is direct WebSocket",
    },
]
BY_KIND = {queue["kind"]: queue["name"] for queue in QUEUES}
ALL_DRAINED = {"queues": [{"name": queue["name"], "drained": True, "messages": 0} for queue in QUEUES]}
FLUSHED = [
    {"flushed": True, "skipped_flush": False, "proved": None, "changed": True, "url": f"http://b{n}/flush"}
    for n in (1, 2)
]


def event(kind: str, entity: str, source: str = "log", **more: Any) -> dict[str, Any]:
    row = {"kind": kind, "entity_id": entity, "key": f"{kind}:{entity}:1", "queue": BY_KIND.get(kind, ""), "at": AT}
    return {**row, "instance": "backend-1", "source": source, **more}


def source(name: str, state: str, *events: dict[str, Any], reason: str = "", instance: str = "") -> dict[str, Any]:
    reasons = [reason or "why"] if state != "exact" else []
    completeness = {"state": state, "reasons": reasons, "from": None, "to": None}
    return {"source": name, "instance": instance, "events": list(events), "completeness": completeness}


def log(*entities: str, kind: str = "transcode", state: str = "exact", instance: str = "backend-1") -> dict[str, Any]:
    return source("log", state, *(event(kind, entity) for entity in entities), instance=instance)


def sentry(*entities: str, kind: str = "transcode", state: str = "at_least") -> dict[str, Any]:
    return source("sentry", state, *(event(kind, entity, "sentry", at="2026-11-23T20:20:00Z") for entity in entities))


def unfinished(*entities: str, kind: str = "transcode", state: str = "exact") -> dict[str, Any]:
    return source("database", state, *(event(kind, entity, "database") for entity in entities))


def finished(*pairs: tuple[str, str], kind: str = "transcode", state: str = "exact") -> dict[str, Any]:
    return source("database", state, *(event(kind, entity, "database", at=when) for entity, when in pairs))


def requeued(*tracks: str) -> dict[str, Any]:
    return {"changed": bool(tracks), "requeued": list(tracks), "jobs": [int(track) + 1000 for track in tracks]}


def acted(name: str, jobs: list[int], **more: Any) -> dict[str, Any]:
    return {"type": "action", "data": {"name": name, "jobs": jobs, **more}}


def requeued_before(*tracks: str) -> list[dict[str, Any]]:
    """Return the record of a run that queued these tracks again."""
    return [acted("transcode_requeue", [int(track) + 1000 for track in tracks], tracks=[int(one) for one in tracks])]


def account(**facts: Any) -> dict[str, Any]:
    return outage_accounting({"queues": QUEUES, "window": WINDOW, "drain": ALL_DRAINED, "flush": FLUSHED, **facts})


def row(accounts: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(row for row in accounts["rows"] if row["kind"] == kind)


def listed(accounts: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["kind"], entry["entity_id"]) for entry in accounts["listed"]]


@pytest.mark.parametrize(
    ("dropped", "count", "state"),
    [
        pytest.param([log("1", "2")], 2, "exact", id="one log"),
        pytest.param([log("1"), log("2", instance="backend-2")], 2, "exact", id="the logs of two instances"),
        pytest.param([log("1"), log(state="at_least")], 1, "at_least", id="one log has gaps"),
        pytest.param([log("1"), log(state="unknown")], 1, "at_least", id="one log could not be read"),
        pytest.param([log(state="unknown"), sentry(state="unknown")], 0, "unknown", id="nothing could be read"),
        pytest.param([], 0, "unknown", id="nothing was asked"),
        pytest.param([sentry("1", "2")], 2, "at_least", id="Sentry alone"),
        pytest.param([sentry("1", state="exact")], 1, "exact", id="a Sentry that is vouched for"),
        pytest.param([log("1", "2"), sentry("1")], 2, "exact", id="a complete log outweighs Sentry"),
        pytest.param([log("1"), sentry("1", "2")], 2, "at_least", id="Sentry shows that the log is not complete"),
        pytest.param([log(), sentry()], 0, "exact", id="nothing was dropped"),
        pytest.param([log("1"), log("1")], 1, "exact", id="the same event twice"),
    ],
)
def test_the_union_of_the_sources(dropped: list[dict[str, Any]], count: int, state: str) -> None:
    figures = row(account(dropped=dropped), "transcode")["dropped"]

    assert (figures["count"], figures["state"]) == (count, state)
    start = {
        "exact": f"exactly {count}",
        "at_least": f"at least {count}",
        "unknown": "unknown from 2026-11-23T20:15:00Z",
    }
    assert figures["text"].startswith(start[state])


@pytest.mark.parametrize(
    ("confidence", "said", "text"),
    [
        pytest.param("exact", False, "exactly 1", id="known"),
        pytest.param("given", False, "exactly 1", id="a person said so"),
        pytest.param("then or later", False, "exactly 1", id="the window is too wide at most"),
        pytest.param("then or earlier", True, "exactly 1", id="the first error may be late"),
        pytest.param("at the latest", True, "at least 1", id="no evidence"),
    ],
)
def test_an_outage_that_may_have_begun_before_the_window(confidence: str, said: bool, text: str) -> None:
    outage = {"start": WINDOW["start"], "start_source": "the record", "confidence": confidence}
    accounts = account(
        outage=outage,
        dropped=[log("1", kind="search")],
        unfinished={"search_index_updates": unfinished("1", kind="search")},
    )

    assert row(accounts, "search")["lost"]["text"] == text
    assert any("lost before this window" in sentence for sentence in accounts["unknown"]) is said


def test_two_versions_of_an_entity_are_two_drops_of_one_lost_entity() -> None:
    events = [
        event("search", "7", key="search:7:1"),
        event("search", "7", key="search:7:2"),
        event("search", "7", key=""),
    ]
    accounts = account(dropped=[source("log", "exact", *events)])

    assert row(accounts, "search")["dropped"]["count"] == 2
    assert row(accounts, "search")["lost"]["ids"] == ["7"]


@pytest.mark.parametrize(
    ("second", "text"),
    [
        pytest.param(event("search", "7", key="", at="2026-11-23T20:40:00Z"), "at least 2", id="later"),
        pytest.param(event("search", "7", key="", instance="backend-2"), "at least 2", id="by another instance"),
        pytest.param(event("search", "7", key=""), "exactly 1", id="read twice"),
        pytest.param(event("search", "7", key="search:7:1"), "at least 1", id="with a key"),
        pytest.param(event("search", "7", "sentry", key=""), "exactly 1", id="by Sentry"),
    ],
)
def test_drops_without_a_key_are_told_apart_by_instance_and_instant(second: dict[str, Any], text: str) -> None:
    first = event("search", "7", key="", instance="backend-1")
    events = [first, {"instance": "backend-1", **second}] if second["source"] == "log" else [first]
    others = [] if second["source"] == "log" else [source("sentry", "at_least", second)]
    accounts = account(dropped=[source("log", "exact", *events), *others])

    assert row(accounts, "search")["dropped"]["text"] == text


def test_each_version_that_was_dropped_is_counted_and_listed() -> None:
    versions = [event("distribution", "42", key=f"distribution:42:{version}") for version in (1, 2)]
    accounts = account(dropped=[source("log", "exact", *versions)])

    assert row(accounts, "distribution")["lost"]["text"] == "at least 0, 2 noted as dropped"
    (entry,) = accounts["listed"]
    assert (entry["keys"], entry["certain"]) == (["distribution:42:1", "distribution:42:2"], False)


def test_a_log_and_sentry_mean_the_same_event_though_sentry_has_whole_seconds() -> None:
    precise = event("transcode", "1", at="2026-11-23T20:20:00.700Z")
    accounts = account(dropped=[source("log", "exact", precise), sentry("1")])

    assert row(accounts, "transcode")["dropped"]["text"] == "exactly 1"
    assert accounts["differences"] == []


def test_events_without_an_entity_are_neither_counted_nor_forgotten() -> None:
    accounts = account(dropped=[source("log", "exact", event("transcode", "1"), event("transcode", "", key=""))])

    assert row(accounts, "transcode")["dropped"]["text"] == "at least 1"
    assert "transcode_jobs: 1 reports of dropped events name no entity." in accounts["unknown"]


def test_an_event_of_no_queue_is_said() -> None:
    accounts = account(dropped=[source("log", "exact", event("digest", "1"), event("digest", "2"))])

    assert "2 reports of dropped events of kind 'digest', which no queue in veza_queues has." in accounts["unknown"]
    assert accounts["sums"]["dropped"] == 0


@pytest.mark.parametrize(
    ("dropped", "lost", "healed", "ids"),
    [
        pytest.param([log("1", "2", kind="digest")], "at least 0, 2 noted as dropped", "2 by itself, on the next tick",
                     ["1", "2"], id="2"),
        pytest.param([log()], "at least 0, none noted as dropped", "by itself, on the next tick", [], id="none"),
        pytest.param([sentry("1", kind="digest")], "at least 0, 1 or more noted as dropped",
                     "1 by itself, on the next tick", ["1"], id="or more"),
        pytest.param([sentry()], "at least 0, 0 or more noted as dropped", "by itself, on the next tick", [],
                     id="none or more"),
        pytest.param([], f"unknown from {WINDOW['start']} to {WINDOW['end']}", "by itself, on the next tick", [],
                     id="nobody knows how many"),
    ],
)  # fmt: skip
def test_what_has_no_queue_and_is_sent_again_heals_by_itself(
    dropped: list[dict[str, Any]], lost: str, healed: str, ids: list[str]
) -> None:
    accounts = account(subsystems=SUBSYSTEMS, dropped=dropped)
    digest = row(accounts, "digest")

    assert (digest["queue"], digest["subsystem"], digest["independent"]) == (None, "Digest", None)
    assert (digest["lost"]["text"], digest["healed"]["text"], digest["healed"]["ids"]) == (lost, healed, ids)
    assert listed(accounts) == []
    assert not any("which no queue in veza_queues has" in sentence for sentence in accounts["unknown"])


def test_what_does_not_use_the_broker_is_not_affected_and_the_reason_is_said() -> None:
    accounts = account(subsystems=SUBSYSTEMS, dropped=[])
    chat = row(accounts, "chat")

    assert (chat["queue"], chat["severity"]) == (None, "NONE")
    assert chat["lost"]["text"] == "not affected: chat is direct WebSocket"
    assert [chat[name]["count"] for name in ("dropped", "lost", "replayed", "healed", "left", "silent")] == [0] * 6
    assert not any("chat" in sentence for sentence in accounts["unknown"])


def test_an_event_of_what_is_said_to_be_independent_is_no_nothing() -> None:
    accounts = account(subsystems=SUBSYSTEMS, dropped=[log("9", kind="chat")])

    assert row(accounts, "chat")["lost"]["text"] == "at least 0, 1 noted as dropped"
    assert listed(accounts) == [("chat", "9")]
    assert accounts["differences"] == [
        "chat: events of it were dropped, though it is said to be independent (chat is direct WebSocket)."
    ]


def impact_table() -> list[tuple[str, str]]:
    """Return the first word and the severity of each row of the runbook's impact table."""
    text = (Path(__file__).parents[4] / "docs" / "runbook-original.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ") and line.count("|") == 4]
    cells = [(row[1].split()[0].strip(","), row[3].replace("*", "").split()[0]) for row in rows]
    return cells[cells.index(("Subsystem", "Severity")) + 2 :][:7]


@pytest.mark.parametrize(("word", "severity"), impact_table())
def test_each_row_of_the_runbooks_impact_table_is_accounted_for(word: str, severity: str) -> None:
    defaults = Path(__file__).parents[4] / "roles" / "veza" / "defaults" / "main.yml"
    known = yaml.safe_load(defaults.read_text(encoding="utf-8"))
    accounts = account(queues=known["veza_queues"], subsystems=known["veza_subsystems"], dropped=[log()])
    [found] = [one for one in accounts["rows"] if one["subsystem"].replace(",", "").split()[0] == word]

    assert found["severity"] == severity
    assert (found["lost"]["text"].startswith("not affected: ")) is (severity == "NONE")
    assert all(found[name]["text"] for name in ("lost", "replayed", "healed", "left"))


def test_the_queue_of_an_event_outweighs_its_kind() -> None:
    accounts = account(dropped=[source("log", "exact", event("retranscode", "1", queue="transcode_jobs"))])

    assert row(accounts, "transcode")["dropped"]["count"] == 1


@pytest.mark.parametrize(
    "failed",
    [
        pytest.param({"failed": True, "msg": "end: no offset.", "item": "backend-2"}, id="bad parameters"),
        pytest.param({"unreachable": True, "msg": "ssh: no route", "item": "backend-2"}, id="unreachable"),
    ],
)
def test_a_source_that_did_not_answer_is_unknown_not_zero(failed: dict[str, Any]) -> None:
    accounts = account(dropped=[log("1"), failed])

    assert row(accounts, "transcode")["dropped"]["text"] == "at least 1"
    assert any(sentence.startswith("log of backend-2: ") for sentence in accounts["unknown"])


def test_a_loops_skipped_items_are_no_sources() -> None:
    accounts = account(dropped=[log("1"), {"skipped": True, "item": "backend-2"}], flush=[*FLUSHED, {"skipped": True}])

    assert row(accounts, "transcode")["dropped"]["text"] == "exactly 1"
    assert row(accounts, "dmca")["left"]["reason"] == ""


def test_the_database_wins_over_what_was_noted() -> None:
    accounts = account(
        dropped=[log("1", "2", kind="distribution")],
        unfinished={"distribution_outbox": unfinished("2", "3", kind="distribution")},
        finished={"distribution_outbox": finished(("1", "2026-11-23T20:50:00Z"), kind="distribution")},
    )

    assert row(accounts, "distribution")["lost"] | {"ids": ["2", "3"]} == row(accounts, "distribution")["lost"]
    assert row(accounts, "distribution")["lost"]["text"] == "exactly 2"
    assert listed(accounts) == [("distribution", "2"), ("distribution", "3")]
    assert accounts["differences"] == [
        "distribution_outbox: 1 (1) noted as dropped, but finished in the database afterwards: delivered after all, or "
        "done again since.",
        "distribution_outbox: 1 (3) unfinished, but noted as dropped by none: the publish succeeded and the message "
        "vanished.",
    ]


BEFORE, AFTER = "2026-11-23T20:19:59.999Z", "2026-11-23T20:20:00.001Z"
"""Just around AT, the instant of the drops."""


@pytest.mark.parametrize(
    ("done", "text", "ids", "said"),
    [
        pytest.param(
            finished(("1", AFTER), kind="search"), "exactly 0", [], "delivered after all", id="after the drop"
        ),
        pytest.param(finished(("1", BEFORE), kind="search"), "at least 0, at most 1", [], "", id="before the drop"),
        pytest.param(finished(("1", BEFORE), ("1", AFTER), kind="search"), "exactly 0", [], "delivered", id="both"),
        pytest.param(finished(kind="search"), "exactly 1", ["1"], "", id="not since the window began"),
        pytest.param(
            finished(("1", AFTER), kind="search", state="at_least"), "exactly 0", [], "delivered", id="one is enough"
        ),
        pytest.param(finished(kind="search", state="at_least"), "at least 0, at most 1", [], "", id="not told"),
        pytest.param({"failed": True, "msg": "refused"}, "at least 0, at most 1", [], "", id="refused"),
        pytest.param(None, "at least 0, at most 1", [], "", id="not asked"),
    ],
)
def test_only_what_was_done_after_the_drop_was_delivered(done: Any, text: str, ids: list[str], said: str) -> None:
    accounts = account(
        dropped=[log("1", kind="search")],
        unfinished={"search_index_updates": unfinished(kind="search")},
        finished={"search_index_updates": done},
    )
    lost = row(accounts, "search")["lost"]

    assert (lost["text"], lost["ids"]) == (text, ids)
    assert listed(accounts) == [("search", entity) for entity in ids]
    assert [said in sentence for sentence in accounts["differences"]] == [True] * bool(said)
    doubts = [sentence for sentence in accounts["unknown"] if "noted as dropped, and not unfinished: 1." in sentence]
    assert len(doubts) == ("at most" in text)
    assert lost.get("possible") == (["1"] if doubts else None)


def test_an_entity_is_done_again_only_after_its_last_drop() -> None:
    drops = [event("search", "1", key="search:1:1"), event("search", "1", key="search:1:2", at="2026-11-23T20:40:00Z")]
    accounts = account(
        dropped=[source("log", "exact", *drops)],
        unfinished={"search_index_updates": unfinished(kind="search")},
        finished={"search_index_updates": finished(("1", "2026-11-23T20:30:00Z"), kind="search")},
    )

    assert row(accounts, "search")["lost"]["text"] == "at least 0, at most 1"
    assert accounts["differences"] == []


def test_a_drop_of_an_unknown_instant_is_followed_by_nothing() -> None:
    accounts = account(
        dropped=[source("log", "exact", event("search", "1", at=""))],
        unfinished={"search_index_updates": unfinished(kind="search")},
        finished={"search_index_updates": finished(("1", AFTER), kind="search")},
    )

    assert row(accounts, "search")["lost"]["text"] == "at least 0, at most 1"


def test_a_track_that_began_before_the_window_is_not_healed_by_the_requeue_that_passed_it_over() -> None:
    accounts = account(
        dropped=[log("1", "2", "7")],
        unfinished={"transcode_jobs": unfinished("2")},
        finished={"transcode_jobs": finished()},
        requeue={**requeued(), "given_up": ["7"]},
    )
    figures = row(accounts, "transcode")

    assert (figures["healed"]["ids"], figures["left"]["ids"]) == (["2"], ["1", "7"])
    assert [entry["next_step"].split()[:2] for entry in accounts["listed"]] == [["See", "in"], ["See", "in"]]
    assert "whether 1 is done" in accounts["listed"][0]["next_step"]
    assert "why track 7 failed" in accounts["listed"][1]["next_step"]


def test_what_was_lost_and_noted_by_none_is_named_and_only_where_the_database_tells() -> None:
    accounts = account(
        dropped=[log("1", "2", kind="distribution")],
        unfinished={
            "distribution_outbox": unfinished("2", "3", kind="distribution"),
            "dmca_propagation": unfinished("4", kind="dmca"),
        },
    )

    assert row(accounts, "distribution")["silent"] == {"count": 1, "ids": ["3"]}
    assert row(accounts, "dmca")["silent"] == {"count": None, "ids": []}, "no database knows what a cache holds"
    assert row(accounts, "search")["silent"] == {"count": None, "ids": []}, "the database was not asked"


def test_a_silent_loss_may_be_the_sources_fault_when_they_are_incomplete() -> None:
    accounts = account(dropped=[sentry()], unfinished={"distribution_outbox": unfinished("3", kind="distribution")})

    assert accounts["differences"] == [
        "distribution_outbox: 1 (3) unfinished, but noted as dropped by none: the publish succeeded and the message "
        "vanished, or the sources, which are incomplete, missed it."
    ]


def test_an_incomplete_answer_of_the_database_contradicts_nobody() -> None:
    accounts = account(
        dropped=[log("1", kind="search")],
        unfinished={"search_index_updates": unfinished("2", kind="search", state="at_least")},
    )

    assert row(accounts, "search")["lost"]["text"] == "at least 1"
    assert not any("finished in the database" in sentence for sentence in accounts["differences"])
    assert any("noted as dropped, and not unfinished: 1." in sentence for sentence in accounts["unknown"])


@pytest.mark.parametrize(
    ("drain", "text"),
    [
        pytest.param(
            {"queues": [{"name": "distribution_outbox", "drained": False, "messages": 40}]},
            "unknown: 2 unfinished, 40 messages still in the queue",
            id="messages are left",
        ),
        pytest.param(
            {"queues": [{"name": "distribution_outbox", "drained": False, "messages": None}]},
            "unknown: 2 unfinished, an unknown number of messages still in the queue",
            id="the count is unknown",
        ),
        pytest.param(None, "unknown: 2 unfinished, and whether the queue has drained is not known", id="nobody looked"),
        pytest.param({}, "unknown: 2 unfinished, and whether the queue has drained is not known", id="empty result"),
    ],
)
def test_nothing_is_lost_while_its_message_may_be_on_its_way(drain: Any, text: str) -> None:
    accounts = account(drain=drain, unfinished={"distribution_outbox": unfinished("1", "2", kind="distribution")})

    assert row(accounts, "distribution")["lost"] == {"count": None, "state": "unknown", "text": text, "ids": []}
    assert accounts["listed"] == []
    assert any(sentence.startswith("distribution_outbox: 2 unfinished") for sentence in accounts["unknown"])


def test_nothing_unfinished_is_exactly_zero_even_before_the_queue_has_drained() -> None:
    accounts = account(drain=None, dropped=[log()], unfinished={"distribution_outbox": unfinished(kind="distribution")})

    assert row(accounts, "distribution")["lost"]["text"] == "exactly 0"


def test_what_the_requeue_found_says_nothing_of_the_other_dead_letters() -> None:
    accounts = account(
        dead_letters={"transcode_jobs": 2}, unfinished={"transcode_jobs": unfinished("1", "2")}, requeue=requeued("9")
    )
    lost = row(accounts, "transcode")["lost"]

    assert (lost["state"], lost["ids"]) == ("unknown", ["1", "2", "9"])
    assert lost["text"] == "at least 1 (unknown: 2 unfinished, 2 dead-lettered messages may be among them)"


@pytest.mark.parametrize(("dead", "number"), [(1, "1"), (None, "an unknown number of")])
def test_dead_letters_may_be_among_the_unfinished(dead: int | None, number: str) -> None:
    accounts = account(
        dead_letters={"distribution_outbox": dead},
        unfinished={"distribution_outbox": unfinished("1", "2", kind="distribution")},
    )

    assert (
        row(accounts, "distribution")["lost"]["text"]
        == f"unknown: 2 unfinished, {number} dead-lettered messages may be among them"
    )
    assert listed(accounts) == [("distribution", "1"), ("distribution", "2")]
    assert accounts["differences"] == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="not asked"),
        pytest.param({"skipped": True}, id="skipped"),
        pytest.param({"failed": True, "msg": "refused"}, id="failed"),
        pytest.param(unfinished(state="unknown"), id="unknown"),
    ],
)
def test_without_the_database_the_drops_are_told_as_what_was_noted(answer: Any) -> None:
    accounts = account(dropped=[log("1", kind="search")], unfinished={"search_index_updates": answer})
    lost = row(accounts, "search")["lost"]

    assert (lost["state"], lost["text"]) == ("unknown", "at least 0, 1 noted as dropped")
    assert (lost["count"], listed(accounts)) == (1, [("search", "1")]), "it is a human's to look up all the same"
    assert any("the database does not tell what is unfinished" in sentence for sentence in accounts["unknown"])
    assert any("without the database" in sentence for sentence in accounts["unknown"])


def test_nothing_is_exact_without_the_database() -> None:
    drops = [log("1", "2", "3", "4"), log("1", "2", "3", "4", kind="dmca")]
    told = {"transcode_jobs": unfinished(), "dmca_propagation": unfinished(*"123456", kind="dmca")}
    refused = {"failed": True, "msg": "connection refused"}
    whole = account(dropped=drops, unfinished=told)
    blind = [
        account(dropped=drops, subsystems=SUBSYSTEMS),
        account(dropped=drops, subsystems=SUBSYSTEMS, unfinished={queue["name"]: refused for queue in QUEUES}),
    ]

    assert row(whole, "transcode")["lost"]["text"] == "at least 0, at most 4"
    assert row(whole, "dmca")["lost"]["text"] == "at least 4, at most 6"
    for accounts in blind:
        texts = {figures["kind"]: figures["lost"]["text"] for figures in accounts["rows"]}
        assert texts == {
            "transcode": "at least 0, 4 noted as dropped",
            "distribution": "at least 0, none noted as dropped",
            "dmca": "at least 0, 4 noted as dropped",
            "search": "at least 0, none noted as dropped",
            "digest": "at least 0, none noted as dropped",
            "chat": "not affected: chat is direct WebSocket",
        }
        assert accounts["sums"]["unknown"] == 5


@pytest.mark.parametrize(
    ("facts", "state", "text"),
    [
        pytest.param({"requeue": requeued("1", "2")}, "unknown", "at least 2, 3 noted as dropped", id="some of them"),
        pytest.param({"requeue": requeued("1", "2", "3")}, "at_least", "at least 3, 3 noted as dropped", id="each"),
        pytest.param({"record": requeued_before("1")}, "unknown", "at least 1, 3 noted as dropped", id="earlier"),
        pytest.param({"requeue": {**requeued(), "given_up": ["3", "7"]}}, "unknown", "at least 1, 3 noted as dropped",
                     id="seen as not done"),
    ],
)  # fmt: skip
def test_only_what_was_queued_again_is_known_as_lost_without_the_database(
    facts: dict[str, Any], state: str, text: str
) -> None:
    lost = row(account(dropped=[log("1", "2", "3")], **facts), "transcode")["lost"]

    assert (lost["state"], lost["text"], lost["ids"]) == (state, text, ["1", "2", "3"])


BLIND = [log(state="unknown"), log(state="unknown", instance="backend-2"), sentry(state="unknown")]


@pytest.mark.parametrize(
    "dropped",
    [
        pytest.param([log(), log(state="unknown", instance="backend-2")], id="one log is missing"),
        pytest.param([log(), log(state="at_least", instance="backend-2")], id="one log has gaps"),
        pytest.param([sentry()], id="Sentry alone"),
        pytest.param(BLIND, id="all blind"),
        pytest.param([], id="nobody asked"),
    ],
)
def test_an_empty_database_does_not_make_exactly_zero_of_incomplete_sources(dropped: list[dict[str, Any]]) -> None:
    done = {queue["name"]: finished(kind=queue["kind"]) for queue in QUEUES}
    told = {queue["name"]: unfinished(kind=queue["kind"]) for queue in QUEUES}
    for more in ({}, {"finished": done}):
        accounts = account(dropped=dropped, unfinished=told, **more)
        assert {figures["lost"]["text"] for figures in accounts["rows"]} == {"at least 0"}
        assert accounts["sums"]["unknown"] == len(QUEUES)
        for queue in QUEUES:
            assert any(text.startswith(f"{queue['name']}: the database tells what") for text in accounts["unknown"])


def test_a_log_that_is_missing_leaves_room_for_what_it_would_have_named() -> None:
    told = {"search_index_updates": unfinished(kind="search")}
    read = row(account(dropped=[log(), log("7", kind="search", instance="b2")], unfinished=told), "search")
    missing = row(account(dropped=[log(), log(state="unknown", instance="b2")], unfinished=told), "search")

    assert read["lost"]["text"] == "at least 0, at most 1"
    assert (missing["lost"]["state"], missing["lost"]["text"]) == ("at_least", "at least 0")


def test_what_is_unfinished_is_lost_whatever_the_sources_missed() -> None:
    told = {"distribution_outbox": unfinished("1", "2", kind="distribution")}
    lost = row(account(dropped=[log("1", kind="distribution"), *BLIND], unfinished=told), "distribution")["lost"]

    assert (lost["state"], lost["text"], lost["ids"]) == ("at_least", "at least 2", ["1", "2"])


def test_complete_sources_are_still_told_exactly() -> None:
    done = {queue["name"]: finished(kind=queue["kind"]) for queue in QUEUES}
    told = {queue["name"]: unfinished("1", kind=queue["kind"]) for queue in QUEUES}
    drops = source("log", "exact", *(event(queue["kind"], "1") for queue in QUEUES))
    accounts = account(dropped=[drops, sentry()], unfinished=told, finished=done, requeue=requeued("1"))

    assert {figures["lost"]["text"] for figures in accounts["rows"]} == {"exactly 1"}
    assert accounts["sums"]["unknown"] == 0


def test_the_database_may_answer_as_a_loops_results() -> None:
    results = [
        {**unfinished("5", kind="distribution"), "item": QUEUES[1]},
        {"skipped": True, "item": QUEUES[3]},
    ]
    accounts = account(unfinished=results)

    assert listed(accounts) == [("distribution", "5")]
    assert any(sentence.startswith("search_index_updates: the database does not") for sentence in accounts["unknown"])


def test_what_was_queued_again_is_replayed_and_never_listed() -> None:
    accounts = account(
        dropped=[log("1", "2")],
        unfinished={"transcode_jobs": unfinished("1", "2", "3")},
        requeue=requeued("1", "2", "3"),
    )
    figures = row(accounts, "transcode")

    assert figures["lost"]["text"] == "exactly 3"
    assert figures["replayed"] == {
        "count": 3, "how": "by new transcode jobs", "text": "3 by new transcode jobs", "jobs": [1001, 1002, 1003]
    }  # fmt: skip
    assert listed(accounts) == []


def test_a_track_that_the_requeue_passed_over_has_healed() -> None:
    accounts = account(unfinished={"transcode_jobs": unfinished("1", "2")}, requeue=requeued("1"))

    assert row(accounts, "transcode")["healed"]["ids"] == ["2"]
    assert listed(accounts) == []


@pytest.mark.parametrize(
    ("facts", "lost", "replayed", "healed"),
    [
        pytest.param({"unfinished": ["1", "2", "7"], "requeue": ["1"]}, ["1", "2", "7"], 1, ["2"], id="not transcoded"),
        pytest.param({"unfinished": [], "dropped": ["7", "8"]}, ["7"], 0, [], id="the database calls it failed"),
        pytest.param({"unfinished": ["7"], "before": ["2", "7"]}, ["2", "7"], 1, [], id="an earlier run's job failed"),
        pytest.param({"unfinished": ["7"], "dropped": ["7"]}, ["7"], 0, [], id="noted as dropped too"),
    ],
)
def test_a_track_whose_job_failed_for_good_is_left_to_a_human(
    facts: dict[str, list[str]], lost: list[str], replayed: int, healed: list[str]
) -> None:
    accounts = account(
        dropped=[log(*facts.get("dropped", []))],
        unfinished={"transcode_jobs": unfinished(*facts["unfinished"])},
        requeue={**requeued(*facts.get("requeue", [])), "given_up": ["7", "9"]},
        record=requeued_before(*facts.get("before", [])),
    )
    figures = row(accounts, "transcode")

    assert (figures["lost"]["ids"], figures["replayed"]["count"], figures["healed"]["ids"]) == (lost, replayed, healed)
    assert listed(accounts) == [("transcode", "7")], "9 was none of this outage's losses"
    assert figures["left"]["reason"].startswith("its transcode job has failed for good")
    assert "track 7" in accounts["listed"][0]["next_step"]
    assert not any("7" in text and "finished in the database" in text for text in accounts["differences"])


def test_no_job_that_failed_leaves_nothing() -> None:
    accounts = account(unfinished={"transcode_jobs": unfinished("1")}, requeue={**requeued("1"), "given_up": []})

    assert row(accounts, "transcode")["left"] == {"count": 0, "ids": [], "text": "0", "reason": "", "next_step": ""}


@pytest.mark.parametrize("answer", [None, {"failed": True, "msg": "refused"}, unfinished(state="unknown")])
def test_a_track_that_nobody_saw_finished_has_not_healed(answer: Any) -> None:
    accounts = account(dropped=[log("1", "5")], unfinished={"transcode_jobs": answer}, requeue=requeued("1"))

    assert row(accounts, "transcode")["replayed"]["count"] == 1
    assert row(accounts, "transcode")["healed"]["ids"] == []
    assert listed(accounts) == [("transcode", "5")]
    assert accounts["listed"][0]["next_step"].startswith("See in the database whether 5 is done")


def test_what_only_the_requeue_found_was_lost_too() -> None:
    accounts = account(dropped=[log("1")], requeue=requeued("1", "9"))

    assert row(accounts, "transcode")["lost"]["ids"] == ["1", "9"]
    assert "transcode_jobs: the requeue found 1 (9) besides what was known as lost." in accounts["differences"]


def test_the_requeue_of_an_earlier_run_still_counts() -> None:
    accounts = account(
        dropped=[log("1", "2")],
        unfinished={"transcode_jobs": unfinished()},
        requeue=requeued(),
        record=requeued_before("1", "2"),
    )

    assert row(accounts, "transcode")["lost"]["text"] == "exactly 2"
    assert row(accounts, "transcode")["replayed"]["count"] == 2
    assert accounts["differences"] == []


def test_only_the_record_tells_what_an_earlier_run_queued_again() -> None:
    accounts = account(dropped=[log()], unfinished={"transcode_jobs": unfinished()}, requeued_before=["1"])

    assert row(accounts, "transcode")["lost"]["text"] == "exactly 0"
    page = Path(filters.__file__).with_name("outage_accounting.yml")
    options = yaml.safe_load(page.read_text(encoding="utf-8"))["DOCUMENTATION"]
    assert "requeued_before" not in options["options"]["_input"]["suboptions"]


def test_what_was_taken_back_is_no_longer_queued_again() -> None:
    record = [
        acted("transcode_requeue", [1001, 1002, 1003], tracks=[1, 2, 3]),
        acted("undo_requeue", [1001, 1002], tracks=[1, 2]),
        acted("transcode_requeue", [1010], tracks=[2]),
    ]
    refused = {"failed": True, "msg": "There is no unique index."}
    accounts = account(unfinished={"transcode_jobs": unfinished("1", "2")}, requeue=refused, record=record)

    assert row(accounts, "transcode")["lost"]["ids"] == ["1", "2", "3"]
    assert row(accounts, "transcode")["replayed"]["count"] == 2
    assert listed(accounts) == [("transcode", "1")]


@pytest.mark.parametrize(
    ("requeue", "reason"),
    [
        pytest.param(None, "the requeue was not run", id="not run"),
        pytest.param(
            {"failed": True, "msg": "There is no unique index."},
            "not queued again: There is no unique index",
            id="refused",
        ),
    ],
)
def test_a_requeue_that_did_not_happen_leaves_the_next_command(requeue: Any, reason: str) -> None:
    accounts = account(
        unfinished={"transcode_jobs": unfinished("1", "2")}, requeue=requeue, record=requeued_before("1")
    )
    figures = row(accounts, "transcode")

    assert figures["left"]["ids"] == ["2"]
    assert figures["replayed"]["count"] == 1
    assert figures["left"]["reason"] == reason
    assert accounts["listed"][0]["next_step"] == (
        "ansible-playbook -i <inventory> veza.rabbitmq.audit_rabbitmq "
        "-e outage_audit_start=2026-11-23T20:15:00Z -e outage_audit_end=2026-11-23T20:55:00Z"
    )


def test_a_kind_whose_worker_may_do_things_twice_is_left_to_a_human() -> None:
    queues = [{**queue, "idempotent": False} for queue in QUEUES]
    accounts = account(queues=queues, unfinished={"transcode_jobs": unfinished("1")})

    assert listed(accounts) == [("transcode", "1")]
    assert row(accounts, "transcode")["left"]["reason"].endswith("as honouring idempotency keys")


def test_what_was_committed_before_a_requeue_failed_is_replayed() -> None:
    failed = {**requeued("1"), "msg": "PostgreSQL went away."}
    accounts = account(unfinished={"transcode_jobs": unfinished("1", "2")}, requeue=failed)

    assert row(accounts, "transcode")["replayed"]["count"] == 1
    assert listed(accounts) == [("transcode", "2")]


def test_a_requeue_that_did_not_happen_is_said_even_when_nothing_can_be_listed() -> None:
    accounts = account(dropped=[], requeue={"failed": True, "msg": "refused"}, audit_command="make audit")

    assert "transcode_jobs: not queued again: refused. Run: make audit" in accounts["unknown"]


def test_a_flush_serves_every_takedown() -> None:
    accounts = account(dropped=[log("1", "2", kind="dmca")])
    figures = row(accounts, "dmca")

    assert figures["lost"]["text"] == "at least 0, 2 noted as dropped"
    assert figures["replayed"]["text"] == "2 by the flush of 2 API instances"
    assert listed(accounts) == []


def test_takedowns_of_the_window_bound_the_loss_from_above() -> None:
    accounts = account(
        dropped=[log("1", kind="dmca")], unfinished={"dmca_propagation": unfinished("1", "2", "3", kind="dmca")}
    )

    assert row(accounts, "dmca")["lost"]["text"] == "at least 1, at most 3"
    assert row(accounts, "dmca")["lost"]["at_most"] == 3
    assert accounts["differences"] == []


def test_takedowns_that_no_source_noted_are_named_when_a_flush_failed() -> None:
    many = [str(number) for number in range(1, 31)]
    accounts = account(
        dropped=[sentry("1", kind="dmca")],
        unfinished={"dmca_propagation": unfinished(*many, kind="dmca")},
        flush=[{**FLUSHED[0], "flushed": False, "changed": False, "msg": "500"}],
    )

    assert row(accounts, "dmca")["lost"]["possible"] == many[1:]
    assert row(accounts, "dmca")["lost"]["text"] == "at least 1, 29 more may be concerned"
    [sentence] = [text for text in accounts["unknown"] if "may lack these" in text]
    assert sentence.endswith(f": {', '.join(many[1:])}.")


def test_bounds_that_meet_are_exact() -> None:
    accounts = account(dropped=[log("1", kind="dmca")], unfinished={"dmca_propagation": unfinished("1", kind="dmca")})

    assert row(accounts, "dmca")["lost"]["text"] == "exactly 1"


@pytest.mark.parametrize(
    "flush",
    [
        pytest.param({**FLUSHED[1], "flushed": False, "changed": False, "msg": "401"}, id="refused"),
        pytest.param({**FLUSHED[1], "failed": True, "msg": "401"}, id="failed"),
        pytest.param({**FLUSHED[1], "proved": False, "msg": "not proved"}, id="not proved"),
        pytest.param(
            {**FLUSHED[1], "flushed": False, "changed": False, "skipped_flush": True}, id="skipped in spite of losses"
        ),
        pytest.param({"unreachable": True, "msg": "no route", "url": "http://b2/flush"}, id="unreachable"),
    ],
)
def test_one_instance_that_was_not_flushed_leaves_the_takedowns(flush: dict[str, Any]) -> None:
    accounts = account(dropped=[log("1", kind="dmca")], flush=[FLUSHED[0], flush])

    assert listed(accounts) == [("dmca", "1")]
    assert accounts["listed"][0]["next_step"] == (
        'curl -fsS -X POST -H "Authorization: Bearer $ADMIN_TOKEN" http://b2/flush'
    )


def test_a_missing_flush_is_said_even_when_no_takedown_is_known() -> None:
    accounts = account(flush=[], dropped=[sentry()], audit_command="make audit")

    assert "dmca_propagation: no API instance was flushed. Run: make audit" in accounts["unknown"]
    assert accounts["listed"] == []


def test_a_flush_that_was_skipped_for_exactly_zero_leaves_nothing() -> None:
    skipped = {"flushed": False, "changed": False, "skipped_flush": True, "proved": None}
    told = {"dmca_propagation": unfinished(kind="dmca")}
    accounts = account(flush=[skipped], dropped=[log()], unfinished=told)

    assert row(accounts, "dmca")["left"]["count"] == 0
    assert not any("dmca_propagation: not flushed" in sentence for sentence in accounts["unknown"])
    blind = account(flush=[skipped], dropped=[log()])
    assert any("dmca_propagation: not flushed" in sentence for sentence in blind["unknown"]), "not exactly zero"


def test_an_instance_that_nobody_asked_is_neither_read_nor_flushed() -> None:
    flushed = {**FLUSHED[0], "item": "backend-1"}
    both = ["backend-1", "backend-2"]
    accounts = account(backends=both, dropped=[log("1", kind="dmca")], flush=[flushed], audit_command="make audit")

    assert row(accounts, "dmca")["dropped"]["text"] == "at least 1"
    assert listed(accounts) == [("dmca", "1")]
    assert row(accounts, "dmca")["left"]["reason"] == "not flushed: backend-2 (its inventory has no veza_api_url)"
    assert accounts["listed"][0]["next_step"] == "make audit", "backend-2 is no URL"
    assert any(sentence.startswith("log of backend-2: ") for sentence in accounts["unknown"])


def test_instances_that_were_all_asked_change_nothing() -> None:
    flushed = [{**result, "item": f"backend-{n}"} for n, result in enumerate(FLUSHED, 1)]
    facts = {"dropped": [log("1"), log("2", instance="backend-2")], "flush": flushed}

    assert account(backends=["backend-1", "backend-2"], **facts) == account(**facts)


def test_a_flush_that_never_came_to_its_url_needs_the_audit_again() -> None:
    refused = {"flushed": False, "changed": False, "url": "", "msg": "token is empty.", "item": "backend-1"}
    accounts = account(flush=[refused], dropped=[log("1", kind="dmca")], audit_command="make audit")

    assert accounts["listed"][0]["next_step"] == "make audit"


def test_check_mode_promises_the_flush() -> None:
    promised = {"flushed": False, "changed": True, "skipped_flush": False, "proved": None}
    accounts = account(flush=[promised], dropped=[log("1", kind="dmca")])

    assert row(accounts, "dmca")["replayed"]["how"] == "by the flush of 1 API instance, had this not been check mode"
    assert listed(accounts) == []


def test_what_nothing_replays_is_listed_with_its_next_step() -> None:
    accounts = account(
        dropped=[log("10", "9", kind="distribution"), sentry("9", kind="distribution")],
        unfinished={"distribution_outbox": unfinished("10", "9", kind="distribution")},
    )

    first = {"sources": ["log", "sentry", "database"], "next_step": "Submit 9 again.", "keys": ["distribution:9:1"]}
    second = {"sources": ["log", "database"], "next_step": "Submit 10 again.", "keys": ["distribution:10:1"]}
    assert accounts["listed"] == [
        {"kind": "distribution", "entity_id": "9", "at": AT, "certain": True, **first},
        {"kind": "distribution", "entity_id": "10", "at": AT, "certain": True, **second},
    ]
    assert accounts["differences"] == ["distribution_outbox: Sentry lacks 1 (10) that the logs name."]


def test_long_lists_are_cut_in_sentences_only() -> None:
    many = [str(number) for number in range(1, 31)]
    accounts = account(dropped=[log(*many, kind="search"), sentry()])

    assert len(accounts["listed"]) == 30
    assert accounts["differences"] == [
        "search_index_updates: Sentry lacks 30 (1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 20 more) that the logs name."
    ]


def test_the_sums() -> None:
    accounts = account(
        dropped=[log("1"), log("2", kind="search"), log("3", kind="dmca")],
        unfinished={"transcode_jobs": unfinished("1", "4")},
        requeue=requeued("1"),
    )

    figures = {"dropped": 3, "lost": 4, "replayed": 2, "healed": 1, "left": 1}
    assert accounts["sums"] == {**figures, "uncertain": 2, "unknown": 3}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        pytest.param({}, "lacks queues and window", id="nothing"),
        pytest.param({"queues": QUEUES}, "lacks window", id="no window"),
        pytest.param(
            {"queues": QUEUES, "window": WINDOW, "subsystems": [{"name": "s"}]},
            "subsystem s must have one of heals and independent",
            id="a subsystem of which nothing is said",
        ),
        pytest.param(
            {"queues": [{"name": "q", "replay": "magic"}], "window": WINDOW},
            "replay of q must be one of",
            id="bad replay",
        ),
    ],
)
def test_bad_input_is_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        outage_accounting(facts)


ENTITIES = st.lists(st.integers(1, 6).map(str), max_size=6)
STATES = st.sampled_from(["exact", "at_least", "unknown"])
KINDS = st.sampled_from([queue["kind"] for queue in QUEUES])
SOURCES = st.builds(
    lambda name, state, pairs: source(name, state, *(event(kind, entity, name) for kind, entity in pairs)),
    st.sampled_from(["log", "sentry"]),
    STATES,
    st.lists(st.tuples(KINDS, st.integers(1, 6).map(str)), max_size=8),
)
ANSWERS = st.one_of(st.none(), st.builds(lambda state, entities: unfinished(*entities, state=state), STATES, ENTITIES))
DRAIN = st.fixed_dictionaries(
    {
        "queues": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from([queue["name"] for queue in QUEUES]),
                    "drained": st.booleans(),
                    "messages": st.one_of(st.none(), st.integers(0, 9)),
                }
            ),
            max_size=5,
        )
    }
)
FINISHED = st.one_of(
    st.none(),
    st.builds(
        lambda state, pairs: finished(*pairs, state=state),
        STATES,
        st.lists(st.tuples(st.integers(1, 6).map(str), st.sampled_from([BEFORE, AFTER])), max_size=6),
    ),
)
FACTS = st.fixed_dictionaries(
    {
        "dropped": st.lists(SOURCES, max_size=3),
        "unfinished": st.dictionaries(st.sampled_from([queue["name"] for queue in QUEUES]), ANSWERS),
        "finished": st.dictionaries(st.sampled_from([queue["name"] for queue in QUEUES]), FINISHED),
        "requeue": st.one_of(
            st.none(),
            st.just({"failed": True, "msg": "refused"}),
            st.builds(
                lambda tracks, others: {**requeued(*dict.fromkeys(tracks)), "given_up": sorted({*others} - {*tracks})},
                ENTITIES,
                ENTITIES,
            ),
        ),
        "record": st.builds(lambda tracks: requeued_before(*tracks), ENTITIES),
        "flush": st.lists(
            st.sampled_from([FLUSHED[0], {"flushed": False, "msg": "401"}, {"skipped_flush": True}]), max_size=2
        ),
        "drain": st.one_of(st.none(), DRAIN),
        "dead_letters": st.dictionaries(
            st.sampled_from([queue["name"] for queue in QUEUES]), st.none() | st.integers(0, 3)
        ),
    }
)


@settings(max_examples=300, deadline=None)
@given(FACTS)
def test_whatever_the_sources_say_the_sums_agree(facts: dict[str, Any]) -> None:
    accounts = account(**facts)
    for figures in accounts["rows"]:
        parts = [figures["replayed"]["count"], figures["healed"]["count"], figures["left"]["count"]]
        lost = figures["lost"]["count"]
        assert sum(parts) == (lost or 0)
        assert len(set(figures["lost"]["ids"])) == (lost or 0)
        assert (lost is None) <= (figures["lost"]["state"] == "unknown")
        assert not set(figures["healed"]["ids"]) & set(figures["left"]["ids"])
    assert sorted(listed(accounts)) == sorted(
        (figures["kind"], entity) for figures in accounts["rows"] for entity in figures["left"]["ids"]
    )
    for name in ("dropped", "lost", "replayed", "healed", "left"):
        assert accounts["sums"][name] == sum(figures[name]["count"] or 0 for figures in accounts["rows"])
    states = [figures["lost"]["state"] for figures in accounts["rows"]]
    assert accounts["sums"]["unknown"] == len(states) - states.count("exact")
    for figures in accounts["rows"]:
        exact = figures["dropped"]["state"] == figures["lost"]["state"] == "exact"
        assert exact is figures["lost"]["text"].startswith("exactly")
    assert accounts == account(**facts)


@settings(max_examples=100, deadline=None)
@given(FACTS)
def test_what_has_a_replay_that_worked_is_never_listed(facts: dict[str, Any]) -> None:
    told = {**facts["unfinished"], "transcode_jobs": unfinished("1", "2")}
    # Where finished_sql shows a track of before the window as lost, the requeue passes it over, and a human has it.
    done = {**facts["finished"], "transcode_jobs": None}
    accounts = account(**{**facts, "unfinished": told, "finished": done, "requeue": requeued("1"), "flush": FLUSHED})

    assert {kind for kind, _unused in listed(accounts)} <= {"distribution", "search"}


def bounds(figures: dict[str, Any]) -> tuple[float, float]:
    """Return between what the loss is, by the row's own promise."""
    lost = figures["lost"]
    if lost["state"] == "unknown":
        return 0, float("inf")
    return lost["count"], lost["count"] if lost["state"] == "exact" else lost.get("at_most", float("inf"))


LOGS = st.lists(st.tuples(KINDS, st.integers(1, 4).map(str)), max_size=6).map(
    lambda pairs: source("log", "exact", *(event(kind, entity) for kind, entity in pairs))
)
EACH = {queue["name"]: queue["kind"] for queue in QUEUES}
SEVERAL = st.lists(st.integers(1, 4).map(str), max_size=4)
DONE = st.lists(st.tuples(st.integers(1, 4).map(str), st.sampled_from([BEFORE, AFTER])), max_size=4)


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(LOGS, LOGS),
    st.fixed_dictionaries(dict.fromkeys(EACH, SEVERAL)),
    st.fixed_dictionaries(dict.fromkeys(EACH, DONE)),
    st.sets(st.sampled_from(["first log", "second log", "unfinished", "finished"]), min_size=1),
)
def test_less_evidence_never_says_what_more_evidence_denies(
    logs: tuple[Any, Any], open_: dict[str, list[str]], done: dict[str, list[tuple[str, str]]], gone: set[str]
) -> None:
    refused = {"failed": True, "msg": "refused"}
    names = ("first log", "second log")
    whole = account(
        dropped=list(logs),
        unfinished={name: unfinished(*open_[name], kind=kind) for name, kind in EACH.items()},
        finished={name: finished(*done[name], kind=kind) for name, kind in EACH.items()},
    )
    less = account(
        dropped=[refused if name in gone else read for name, read in zip(names, logs, strict=True)],
        unfinished={
            name: refused if "unfinished" in gone else unfinished(*open_[name], kind=kind)
            for name, kind in EACH.items()
        },
        finished={
            name: refused if "finished" in gone else finished(*done[name], kind=kind) for name, kind in EACH.items()
        },
    )
    for all_of_it, some_of_it in zip(whole["rows"], less["rows"], strict=True):
        (least, most), (lower, upper) = bounds(all_of_it), bounds(some_of_it)
        assert lower <= least <= most <= upper


WIDER = {"start": "2026-11-23T19:15:00Z", "end": "2026-11-23T21:55:00Z"}
NARROWER = {"start": "2026-11-23T20:16:00Z", "end": "2026-11-23T20:54:00+00:00"}
NOTHING_NEW = {"requeued": [], "jobs": [], "changed": False}


def queued_again(window: dict[str, str] | None, *tracks: str) -> dict[str, Any]:
    more = {} if window is None else {"window": window}
    return {"name": "transcode_requeue", "tracks": list(tracks), "jobs": [], **more}


@pytest.mark.parametrize("window", [None, WINDOW, NARROWER])
def test_what_was_queued_again_for_this_window_was_lost_in_it(window: dict[str, str] | None) -> None:
    accounts = account(
        dropped=[log()],
        unfinished={"transcode_jobs": unfinished()},
        requeue=NOTHING_NEW,
        record=[{"type": "action", "data": queued_again(window, "1", "2")}],
    )
    figures = row(accounts, "transcode")
    assert (figures["lost"]["text"], figures["replayed"]["text"]) == ("exactly 2", "2 by new transcode jobs")


def test_what_was_queued_again_for_a_wider_window_may_have_been_lost_in_this_one() -> None:
    accounts = account(
        dropped=[log("3")],
        unfinished={"transcode_jobs": unfinished()},
        requeue=NOTHING_NEW,
        record=[{"type": "action", "data": queued_again(WIDER, "1", "2", "3")}],
    )
    figures = row(accounts, "transcode")
    assert (figures["lost"]["ids"], figures["lost"]["possible"]) == (["3"], ["1", "2"])
    assert (figures["lost"]["text"], figures["replayed"]["text"]) == (
        "at least 1, at most 3",
        "1 by new transcode jobs",
    )
    assert "transcode_jobs: 2 (1, 2) were queued again by an audit of another window" in " ".join(accounts["unknown"])


@pytest.mark.parametrize("unfinished_yet", [("1", "2"), ()])
def test_what_another_record_has_queued_again_is_healed_whether_it_is_done_or_not(
    unfinished_yet: tuple[str, ...],
) -> None:
    accounts = account(
        dropped=[log("1", "2")],
        unfinished={"transcode_jobs": unfinished(*unfinished_yet)},
        finished={
            "transcode_jobs": finished(*((track, "2026-11-23T22:00:00Z") for track in ("1", "2") if not unfinished_yet))
        },
        requeue=NOTHING_NEW,
        record=[],
        overlapping=[{"incident": "20261123T201500Z-x-1a2b", "actions": [queued_again(NARROWER, "1", "2")]}],
    )
    figures = row(accounts, "transcode")
    assert (figures["lost"]["text"], figures["replayed"]["count"], figures["healed"]["ids"]) == (
        "exactly 2",
        0,
        ["1", "2"],
    )
    assert "transcode_jobs: 2 (1, 2) were queued again in incident 20261123T201500Z-x-1a2b." in accounts["differences"]
    assert "Incident 20261123T201500Z-x-1a2b has accounted for a part of this window too" in accounts["unknown"][0]


def test_what_another_record_has_taken_back_is_lost() -> None:
    taken_back = {"name": "undo_requeue", "tracks": ["1"]}
    accounts = account(
        dropped=[log("1")],
        unfinished={"transcode_jobs": unfinished("1")},
        requeue=requeued("1"),
        overlapping=[{"incident": "other", "actions": [queued_again(WINDOW, "1"), taken_back]}],
    )
    assert row(accounts, "transcode")["replayed"]["count"] == 1


def test_who_knows_the_beginning_better_is_told_the_incident() -> None:
    outage = {"start": WINDOW["start"], "confidence": "at the latest", "start_source": "nobody saw it"}
    accounts = account(outage=outage, incident="20261123T201500Z-x-1a2b")
    assert "-e outage_audit_incident=20261123T201500Z-x-1a2b -e outage_audit_start=…" in " ".join(accounts["unknown"])
