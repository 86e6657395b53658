# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a file of given up messages tells after each interruption."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _amqp_frames as amqp
from ansible_collections.veza.rabbitmq.plugins.module_utils._amqp_channel import Message
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, Refused, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._given_up import (
    FORMAT,
    Batch,
    KeptFile,
    check_path,
    entry_of,
    fate,
    kind_at,
    look,
    messages_of,
    story_of,
)

HEAD = {"is": "head", "format": FORMAT, "id": "abc", "vhost": "/veza", "queue": "q"}


def message(body: bytes = b"body", count: int = 0, redelivered: bool = False) -> Message:
    headers = amqp.table({"key": "k"})
    if count:
        entry = b"\x10x-delivery-count" + b"l" + struct.pack(">q", count)
        headers = amqp.long_string(headers[4:] + entry)
    properties = struct.pack(">H", 0x2000 | 0x0080) + headers + amqp.short_string("m1")
    return Message(1, redelivered, "events", "key", 0, properties, body)


def line(number: int, size: int = 4) -> dict[str, Any]:
    return {"is": "message", "number": number, "print": f"p{number}", "size": size}


def acking(first: int, last: int) -> dict[str, Any]:
    return {"is": "acking", "first": first, "last": last, "left": 5, "consumers": 0}


def lines(*entries: dict[str, Any]) -> list[bytes]:
    return [json.dumps(entry).encode() + b"\n" for entry in entries]


def test_a_batch_that_was_acknowledged_counts() -> None:
    story = story_of(lines(HEAD, line(1), line(2), acking(1, 2), {"is": "acked", "first": 1}, {"is": "taken"}))
    assert (story.held, story.bytes, story.numbers(), story.pending, story.taken) == (2, 8, [1, 2], None, True)


def test_messages_without_their_note_do_not_count_and_are_cut_off() -> None:
    whole = lines(HEAD, line(1), acking(1, 1), {"is": "acked", "first": 1})
    story = story_of([*whole, *lines(line(2)), b'{"is": "mess'])
    assert (story.held, story.numbers()) == (1, [1])
    assert story.kept == sum(map(len, whole))
    assert story.next_number == 3, "a number is never used twice"


def test_messages_before_a_verdict_on_others_are_not_taken_for_the_next_batch() -> None:
    verdict = [{"is": "judging", "first": 1}, line(2), {"is": "void", "first": 1}]
    story = story_of(lines(HEAD, line(1), acking(1, 1), *verdict, line(3), acking(3, 3), {"is": "acked", "first": 3}))
    assert story.numbers() == [3]


def test_an_acknowledgement_without_its_end_is_pending() -> None:
    story = story_of(lines(HEAD, line(1), acking(1, 1)))
    assert story.pending == Batch(1, 1, 5, 0, ["p1"], 4)
    assert story.held == 0
    judged = story_of(lines(HEAD, line(1), acking(1, 1), {"is": "judging", "first": 1}))
    assert judged.pending is not None
    assert judged.pending.tried


@pytest.mark.parametrize(
    "raw", [b"{}\n", b"no json\n", b'{"is": "party"}\n', b'{"is": "acked", "first": 7}\n', b"[]\n"]
)
def test_a_strange_line_is_an_error(raw: bytes) -> None:
    with pytest.raises(VezaError, match="Line 2 is none of this module's"):
        story_of([*lines(HEAD), raw])


def test_another_format_is_an_error() -> None:
    with pytest.raises(VezaError, match="Line 1"):
        story_of(lines({**HEAD, "format": FORMAT + 1}))


BACK = [("a", True), ("b", True)]
OTHERS = [("c", False), ("d", False)]


@pytest.mark.parametrize(
    ("again", "ready", "before", "now", "tried", "expected"),
    [
        (BACK, 7, 0, 0, False, "returned"),
        (BACK, 9, 0, 0, False, "returned"),  # two were published meanwhile
        (BACK, 7, 0, 0, True, "returned"),
        (BACK, 9, 0, 0, True, "unsure"),  # a twin of each may have been delivered to the run that judged before
        (OTHERS, 5, 0, 0, False, "acked"),
        ([], 0, 0, 0, False, "acked"),
        (BACK, 5, 0, 0, True, "acked"),  # twins, delivered to a run that was interrupted too
        ([("a", False), ("b", False)], 6, 0, 0, False, "acked"),  # twins that were never delivered
        (BACK, 7, 1, 1, False, "returned"),
        (OTHERS, 5, 1, 1, False, "unsure"),  # the consumers may have taken them
        ([], 0, 0, 1, False, "unsure"),
        ([("a", True), ("c", False)], 6, 1, 0, False, "unsure"),
        ([("a", True), ("a", True)], 7, 0, 0, False, "unsure"),
    ],
)
def test_the_fate_of_an_interrupted_batch(
    again: list[tuple[str, bool]], ready: int, before: int, now: int, tried: bool, expected: str
) -> None:
    batch = Batch(1, 2, 5, before, ["a", "b"], 8, tried=tried)
    assert fate(batch, again, ready, now) == expected


def test_a_message_delivered_again_is_known_again() -> None:
    first, again = entry_of(1, message()), entry_of(2, message(count=3, redelivered=True))
    assert first["print"] == again["print"]
    assert again["headers"] == {"key": "k", "x-delivery-count": 3}
    assert again["properties"] == first["properties"]
    assert entry_of(1, message(b"other"))["print"] != first["print"]


def test_a_file_is_private_and_read_back(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "file")
    with KeptFile(path, 0) as file:
        file.note("head", **{name: value for name, value in HEAD.items() if name != "is"})
        assert file.write(entry_of(1, message()))
        file.note("acking", first=1, last=1, left=0, consumers=0)
        file.note("acked", first=1)
        assert file.write(entry_of(2, message()))
    assert look(path).numbers() == [1]
    assert [entry["message_id"] for entry in messages_of(path, {1})] == ["m1"]
    with KeptFile(path, 0) as file:
        file.cut()
        assert file.story.next_number == 3
    assert len((tmp_path / "new" / "file").read_bytes().splitlines()) == 4


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    with KeptFile(path, 0), pytest.raises(Refused, match="in use by another run"), KeptFile(path, 0):
        pass


def test_no_room_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    with KeptFile(str(tmp_path / "file"), 1 << 60) as file:
        assert not file.write(entry_of(1, message()))
    assert (tmp_path / "file").read_bytes() == b""


def test_no_file_is_an_empty_story(tmp_path: Path) -> None:
    assert look(str(tmp_path / "none")).held == 0
    with pytest.raises(VezaError, match="can't be read"):
        look(str(tmp_path))


def test_the_kind_of_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/a / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/b /run/disk xfs rw 0 0\n")
    kinds = [kind_at(path, str(mounts)) for path in ("/nowhere/x", "/run/x", "/running", "/run/disk/x")]
    assert kinds == ["ext4", "tmpfs", "ext4", "xfs"]


def test_a_memory_file_system_is_seen_on_top_of_a_disk_and_behind_a_space(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\ntmpfs /mnt/my\\040ram tmpfs rw 0 0\n"
        "/dev/b /data xfs rw 0 0\ntmpfs /data tmpfs rw 0 0\ntmpfs /disk tmpfs rw 0 0\n/dev/c /disk xfs rw 0 0\n"
    )
    kinds = [kind_at(path, str(mounts)) for path in ("/mnt/my ram/x", "/data/x", "/disk/x")]
    assert kinds == ["tmpfs", "tmpfs", "xfs"]


@pytest.mark.parametrize("missing", ["id", "vhost", "queue"])
def test_a_head_that_lacks_something_is_none_of_ours(missing: str) -> None:
    with pytest.raises(VezaError, match="Line 1 is none of this module's"):
        story_of(lines({name: value for name, value in HEAD.items() if name != missing}))


def test_brackets_without_end_are_none_of_ours() -> None:
    with pytest.raises(VezaError, match="Line 2 is none of this module's"):
        story_of([*lines(HEAD), b"[" * 100_000 + b"\n"])


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(VezaError, match="no regular file"):
        look(str(tmp_path / "file"))
    with pytest.raises(VezaError, match="no regular file"):
        KeptFile(str(tmp_path / "file"), 0)


@pytest.mark.parametrize("change", ["removed", "moved", "replaced"])
def test_a_file_that_is_not_at_its_path_any_more_is_said(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    with KeptFile(str(path), 0) as file:
        file.see_name()
        if change == "removed":
            path.unlink()
        else:
            path.rename(tmp_path / "other")
        if change == "replaced":
            path.touch()
        with pytest.raises(VezaError, match="Nothing more was acknowledged"):
            file.see_name()


def test_a_path_must_be_absolute() -> None:
    with pytest.raises(BadInput, match="must be absolute"):
        check_path("file")
    with pytest.raises(BadInput, match="the name of a file"):
        check_path("/var/a\0b")


def test_headers_that_nobody_can_read_are_kept_as_they_came() -> None:
    table = amqp.table({"a": "b"})
    for _deeper in range(9):
        table = amqp.long_string(amqp.short_string("n") + b"F" + table)
    entry = entry_of(1, Message(1, True, "events", "key", 0, b"\x20\x00" + table, b"body"))
    assert (entry["headers"], base64.b64decode(entry["properties"])) == ({}, b"\x20\x00" + table)
