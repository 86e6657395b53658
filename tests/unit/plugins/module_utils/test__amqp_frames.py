# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
import struct

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _amqp_frames as amqp


def test_a_method_is_framed_as_the_specification_says() -> None:
    assert amqp.method("connection.close-ok") == bytes.fromhex("01 0000 00000004 000a 0033 ce")


def test_a_method_read_back_has_its_name_and_arguments() -> None:
    raw = amqp.method("connection.close", 3, struct.pack(">H", 320) + amqp.short_string("bye"))
    kind, channel, size = amqp.parse_head(raw[:7], 100)
    frame = amqp.Frame(kind, channel, raw[7:-1])
    reader = frame.reader()
    assert (frame.name, channel, size) == ("connection.close", 3, len(raw) - 8)
    assert (reader.unpack("H"), reader.short_string(), reader.more()) == (320, "bye", False)


def test_an_unknown_method_has_its_figures_as_name() -> None:
    assert amqp.Frame(amqp.METHOD, 0, struct.pack(">HH", 99, 7)).name == "99.7"
    assert amqp.Frame(amqp.CONTENT_BODY, 0, b"").name == ""


def test_a_table_read_back_is_the_same() -> None:
    values = {"product": "Ünï", "capabilities": {"basic.nack": True, "no": False}, "empty": {}}
    assert amqp.Reader(amqp.table(values)).table() == values


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"t\x01", True),
        (b"b\xff", -1),
        (b"B\xff", 255),
        (b"s\xff\xfe", -2),
        (b"u\xff\xfe", 65534),
        (b"I\xff\xff\xff\xff", -1),
        (b"i\xff\xff\xff\xff", 4294967295),
        (b"l" + b"\xff" * 8, -1),
        (b"f\x3f\x80\0\0", 1.0),
        (b"d\x3f\xf0\0\0\0\0\0\0", 1.0),
        (b"T" + b"\0" * 7 + b"\x09", 9),
        (b"D\x02\0\0\0\x05", (2, 5)),
        (b"S\0\0\0\x02hi", "hi"),
        (b"x\0\0\0\x02hi", b"hi"),
        (b"V", None),
        (b"A\0\0\0\x04t\x01t\0", [True, False]),
        (b"F\0\0\0\x04\x01at\x01", {"a": True}),
    ],
)
def test_every_type_of_value_is_read(raw: bytes, value: object) -> None:
    assert amqp.Reader(raw).value(3) == value


def test_nothing_but_value_errors_from_any_bytes() -> None:
    """Cut and scrambled tables raise ValueError, never anything else, and never run away."""
    whole = amqp.table({"a": "text", "b": {"c": True, "d": "more text"}})
    chance = random.Random(7)
    refused = 0
    for cut in range(len(whole)):
        with pytest.raises(ValueError, match="bytes expected"):
            amqp.Reader(whole[:cut]).table()
    for _try in range(2000):
        scrambled = bytearray(whole)
        scrambled[chance.randrange(len(whole))] = chance.randrange(256)
        try:
            amqp.Reader(bytes(scrambled)).table()
        except ValueError:
            refused += 1
    assert refused > 500


def test_tables_nested_without_end_are_refused() -> None:
    raw = amqp.long_string(b"")
    for _layer in range(40):
        raw = amqp.long_string(b"\x01aF" + raw)
    with pytest.raises(ValueError, match="nested"):
        amqp.Reader(raw).table()


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (struct.pack(">BHI", 4, 0, 10), "no type of frame"),
        (struct.pack(">BHI", 1, 0, 101), "a frame of 101 bytes"),
        (struct.pack(">BHI", 1, 0, 3), "without a method"),
    ],
)
def test_what_begins_no_frame_is_refused(head: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        amqp.parse_head(head, 100)


def test_content_is_cut_to_the_frames_that_were_agreed() -> None:
    raw = amqp.content(1, b"x" * 20, 16)
    sizes = []
    while raw:
        kind, _channel, size = amqp.parse_head(raw[:7], 100)
        sizes.append((kind, size))
        raw = raw[size + amqp.OVERHEAD :]
    assert sizes == [(amqp.CONTENT_HEADER, 15), (amqp.CONTENT_BODY, 8), (amqp.CONTENT_BODY, 8), (amqp.CONTENT_BODY, 4)]


def test_a_short_string_has_its_limit_in_bytes() -> None:
    assert amqp.short_string("ü" * 127)[0] == 254
    with pytest.raises(ValueError, match="255"):
        amqp.short_string("ü" * 128)


def message_properties(headers: bytes, message_id: str = "m1") -> bytes:
    flags = 0x2000 | 0x1000 | 0x0080  # headers, delivery-mode, message-id
    return struct.pack(">H", flags) + headers + b"\x02" + amqp.short_string(message_id)


def test_properties_have_their_names() -> None:
    raw = message_properties(amqp.table({"key": "k"}))
    assert amqp.properties_of(raw) == {"headers": {"key": "k"}, "delivery_mode": 2, "message_id": "m1"}
    assert amqp.properties_of(struct.pack(">H", 0)) == {}


def test_a_header_is_left_out_and_all_else_stays_byte_for_byte() -> None:
    odd = b"\x03odd" + b"D\x02\0\0\0\x05"  # a decimal, which we would not write the same way
    count = b"\x10x-delivery-count" + b"l" + b"\0" * 7 + b"\x03"
    raw = message_properties(amqp.long_string(odd + count + b"\x01zt\x01"))
    assert amqp.without_headers(raw, ["x-delivery-count"]) == message_properties(amqp.long_string(odd + b"\x01zt\x01"))
    assert amqp.without_headers(raw, ["other"]) == raw
    assert amqp.without_headers(struct.pack(">H", 0), ["x-delivery-count"]) == struct.pack(">H", 0)


def test_properties_that_go_on_for_ever_are_none() -> None:
    with pytest.raises(ValueError, match="more properties"):
        amqp.properties_of(struct.pack(">H", 1))
