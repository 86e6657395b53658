# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What module queue_give_up refuses before it asks anybody; tests/integration has the rest, with a real broker."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _given_up
from ansible_collections.veza.rabbitmq.plugins.module_utils._amqp_channel import Depth, Message
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import Refused, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._given_up import Batch, Story
from ansible_collections.veza.rabbitmq.plugins.modules import queue_give_up

PASSWORD = "hunter2-never-shown"
HEAD = {"is": "head", "format": _given_up.FORMAT, "id": "abc", "vhost": "/veza", "queue": "q"}

RunMain = Callable[..., Any]


@pytest.fixture(autouse=True)
def on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_given_up, "kind_at", lambda _path: "ext4")


def call(run_main: RunMain, path: Path, **given: Any) -> Any:
    login = {"login_user": "veza", "login_password": PASSWORD, "vhost": "/veza"}
    return run_main(queue_give_up, **{"queue": "q", "path": str(path), **login, **given})


def write(path: Path, *entries: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.mark.parametrize(
    ("given", "entries", "words"),
    [
        ({}, [], "needs count"),
        ({"count": 0}, [], "needs count"),
        ({"count": 1, "timeout": 0}, [], "timeout: must be above 0"),
        ({"count": 1, "keep_free": -1}, [], "must not be negative"),
        ({"count": 1, "queue": "é" * 128}, [], "it has 1 to 255 bytes"),
        ({"count": 1, "queue": ""}, [], "it has 1 to 255 bytes"),
        ({"state": "republished"}, [], "there is nothing to put back"),
        ({"count": 1}, [{**HEAD, "queue": "other"}], "messages of the queue 'other', not of 'q'"),
        ({"count": 1}, [{**HEAD, "vhost": "/"}], "virtual host '/', not of '/veza'"),
        ({"count": 1}, [HEAD, {"is": "publishing", "queue": "q", "size": 50}], "are being put back, or were"),
        ({"count": 1}, [HEAD, {"is": "nonsense"}], "Line 2 is none of this module's"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run_main: RunMain, tmp_path: Path, given: dict[str, Any], entries: list[dict[str, Any]], words: str
) -> None:
    write(tmp_path / "file", *entries)
    outcome = call(run_main, tmp_path / "file", **given)
    assert outcome.failed
    assert words in outcome.result["msg"]


def test_a_broker_that_is_down_is_said_and_no_file_is_made(run_main: RunMain, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = call(run_main, tmp_path / "file", count=1, login_host="127.0.0.1", login_port=port)
    assert outcome.failed
    assert "nothing listens there" in outcome.result["msg"]
    assert PASSWORD not in json.dumps(outcome.result)
    assert not (tmp_path / "file").exists()


PARAMS = {"state": "taken", "queue": "q", "count": 10, "which": "all"}
SOME = Story(batches=[Batch(1, 4, 0, 0, ["p"] * 4, 4, "acked")])
DOUBT = Story(batches=[Batch(1, 4, 0, 0, ["p"] * 4, 4, "unsure")])


@pytest.mark.parametrize(
    ("given", "story", "ready", "moves"),
    [
        ({}, Story(), 10, 10),
        ({}, SOME, 6, 6),
        ({}, DOUBT, 10, 6),  # four may have been taken already: never more than ten in all
        ({"which": "redelivered"}, Story(), 5000, 10),
        ({}, Story(taken=True), 5, 0),
        ({"state": "republished"}, SOME, 0, 4),
        ({"state": "republished"}, Story(batches=SOME.batches, republished=True), 0, 0),
        (
            {"state": "republished"},
            Story(batches=SOME.batches, publishing={"size": 2}, committed=1),
            0,
            2,
        ),
    ],
)
def test_how_many_would_be_moved(given: dict[str, Any], story: Story, ready: int, moves: int) -> None:
    assert queue_give_up.would_move({**PARAMS, **given}, story, Depth(ready, 0)) == moves


def test_one_more_than_typed_is_refused() -> None:
    with pytest.raises(Refused, match="holds 7 messages, and 4 were taken before: more than the 10"):
        queue_give_up.would_move(PARAMS, SOME, Depth(7, 0))


class OneMessage:
    """A channel to a queue with one message."""

    def __init__(self, *_link: object) -> None:
        self.acknowledged: list[int] = []

    def depth(self, _queue: str) -> Depth:
        return Depth(1 - len(self.acknowledged), 0)

    def get(self, *_how: object) -> Iterator[Message]:
        yield Message(1, False, "", "q", 0, b"\0\0", b"precious")

    def acknowledge(self, tag: int) -> None:
        self.acknowledged.append(tag)


@pytest.mark.parametrize(("when", "acknowledged"), [("got", []), ("synced", []), ("acknowledged", [1]), ("", [1])])
def test_what_no_file_keeps_is_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch, params_of: Callable[..., Any], tmp_path: Path, when: str, acknowledged: list[int]
) -> None:
    channel, path = OneMessage(), tmp_path / "file"
    monkeypatch.setattr(queue_give_up, "connected", lambda _target: nullcontext())
    monkeypatch.setattr(queue_give_up, "Channel", lambda *_link: channel)
    login = {"login_user": "veza", "login_password": PASSWORD}
    params = params_of(queue_give_up.argument_spec(), queue="q", count=1, path=str(path), keep_free=0, **login)

    def step(name: str) -> None:
        if name == when:
            path.unlink()

    with pytest.raises(VezaError, match="removed, moved or replaced") if when else nullcontext() as failed:
        assert queue_give_up.run(params, False, step)["moved"] == 1
    assert channel.acknowledged == acknowledged
    if failed:
        assert (failed.value.details["moved"], failed.value.details["messages"]) == (len(acknowledged), [])
        assert ("acknowledged before" in failed.value.message) == bool(acknowledged)
