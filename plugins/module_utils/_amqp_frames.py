# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bytes of AMQP 0-9-1, as far as this collection needs them: pure, standard library only.

Every decoder raises ValueError for bytes that are not what they should be, and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

HEADER = b"AMQP\x00\x00\x09\x01"

METHOD, CONTENT_HEADER, CONTENT_BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
OVERHEAD = 8
"""Bytes of a frame beside its payload."""

BASIC = 60
"""Class of the content methods."""

METHODS = {
    "connection.start": (10, 10),
    "connection.start-ok": (10, 11),
    "connection.secure": (10, 20),
    "connection.tune": (10, 30),
    "connection.tune-ok": (10, 31),
    "connection.open": (10, 40),
    "connection.open-ok": (10, 41),
    "connection.close": (10, 50),
    "connection.close-ok": (10, 51),
    "connection.blocked": (10, 60),
    "connection.unblocked": (10, 61),
    "channel.open": (20, 10),
    "channel.open-ok": (20, 11),
    "channel.close": (20, 40),
    "channel.close-ok": (20, 41),
    "queue.declare": (50, 10),
    "queue.declare-ok": (50, 11),
    "queue.delete": (50, 40),
    "queue.delete-ok": (50, 41),
    "basic.publish": (60, 40),
    "basic.return": (60, 50),
    "basic.get": (60, 70),
    "basic.get-ok": (60, 71),
    "basic.get-empty": (60, 72),
    "basic.ack": (60, 80),
    "basic.nack": (60, 120),
    "confirm.select": (85, 10),
    "confirm.select-ok": (85, 11),
    "tx.select": (90, 10),
    "tx.select-ok": (90, 11),
    "tx.commit": (90, 20),
    "tx.commit-ok": (90, 21),
}
_NAMES = {number: name for name, number in METHODS.items()}

_DEPTH = 8
"""Tables within tables that are followed; RabbitMQ sends two."""


@dataclass(frozen=True)
class Frame:
    """One frame; ``name`` is the method's name, ``class.method`` in figures where unknown, or empty."""

    kind: int
    channel: int
    payload: bytes

    @property
    def name(self) -> str:
        """The method's name."""
        if self.kind != METHOD:
            return ""
        number = struct.unpack_from(">HH", self.payload)
        return _NAMES.get(number, "{}.{}".format(*number))

    def reader(self) -> Reader:
        """Return a reader of the method's arguments."""
        return Reader(self.payload, 4)


class Reader:
    """Takes values off bytes, one after the other."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self._position = position

    @property
    def position(self) -> int:
        """How many bytes have been taken."""
        return self._position

    def more(self) -> bool:
        """Whether bytes are left."""
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        end = self._position + count
        if end > len(self._data):
            raise ValueError(f"{count} bytes expected, {len(self._data) - self._position} there")
        taken, self._position = self._data[self._position : end], end
        return taken

    def unpack(self, form: str) -> Any:
        """Return the next value of a ``struct`` format with one value."""
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))[0]

    def short_string(self) -> str:
        """Return the next short string."""
        return self.take(self.unpack("B")).decode("utf-8", "replace")

    def long_string(self) -> str:
        """Return the next long string."""
        return self.take(self.unpack("I")).decode("utf-8", "replace")

    def table(self, depth: int = _DEPTH) -> dict[str, Any]:
        """Return the next table."""
        inner, values = Reader(self.take(self.unpack("I"))), {}
        while inner.more():
            name = inner.short_string()
            values[name] = inner.value(depth)
        return values

    def _array(self, depth: int) -> list[Any]:
        inner, values = Reader(self.take(self.unpack("I"))), []
        while inner.more():
            values.append(inner.value(depth))
        return values

    def value(self, depth: int) -> Any:
        """Return the next value of a table, which says its type first."""
        if depth <= 0:
            raise ValueError("tables are nested too deeply")
        kind = self.take(1)
        if kind not in _VALUES:
            raise ValueError(f"no type of value: {kind!r}")
        return _VALUES[kind](self, depth)


def _plain(form: str) -> Callable[[Reader, int], Any]:
    return lambda reader, depth: reader.unpack(form)


# As RabbitMQ writes them; its errata to the specification say where the two differ ("s" is a short integer).
_VALUES: dict[bytes, Callable[[Reader, int], Any]] = {
    b"t": lambda reader, depth: bool(reader.unpack("B")),
    b"b": _plain("b"),
    b"B": _plain("B"),
    b"s": _plain("h"),
    b"u": _plain("H"),
    b"I": _plain("i"),
    b"i": _plain("I"),
    b"l": _plain("q"),
    b"L": _plain("q"),
    b"f": _plain("f"),
    b"d": _plain("d"),
    b"T": _plain("Q"),
    b"D": lambda reader, depth: (reader.unpack("B"), reader.unpack("i")),
    b"S": lambda reader, depth: reader.long_string(),
    b"x": lambda reader, depth: reader.take(reader.unpack("I")),
    b"F": lambda reader, depth: reader.table(depth - 1),
    b"A": lambda reader, depth: reader._array(depth - 1),
    b"V": lambda reader, depth: None,
}


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return a frame."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([FRAME_END])


def method(name: str, channel: int = 0, arguments: bytes = b"") -> bytes:
    """Return the frame of the named method."""
    return frame(METHOD, channel, struct.pack(">HH", *METHODS[name]) + arguments)


PERSISTENT = struct.pack(">HB", 0x1000, 2)
"""The properties of a message that is persistent and nothing else: the flag of delivery-mode, and the mode."""


def content(channel: int, body: bytes, frame_max: int, properties: bytes = PERSISTENT) -> bytes:
    """Return the frames of a message that follow its basic.publish; ``properties`` begin with their flags."""
    head = frame(CONTENT_HEADER, channel, struct.pack(">HHQ", BASIC, 0, len(body)) + properties)
    size = max(frame_max - OVERHEAD, 1)
    bodies = [frame(CONTENT_BODY, channel, body[at : at + size]) for at in range(0, len(body), size)]
    return head + b"".join(bodies)


# The properties of a message in the order of their flags, from the highest bit on, and how each is read.
_PROPERTIES: tuple[tuple[str, Callable[[Reader], Any]], ...] = (
    ("content_type", Reader.short_string),
    ("content_encoding", Reader.short_string),
    ("headers", Reader.table),
    ("delivery_mode", lambda reader: reader.unpack("B")),
    ("priority", lambda reader: reader.unpack("B")),
    ("correlation_id", Reader.short_string),
    ("reply_to", Reader.short_string),
    ("expiration", Reader.short_string),
    ("message_id", Reader.short_string),
    ("timestamp", lambda reader: reader.unpack("Q")),
    ("type", Reader.short_string),
    ("user_id", Reader.short_string),
    ("app_id", Reader.short_string),
    ("cluster_id", Reader.short_string),
)


def properties_of(raw: bytes) -> dict[str, Any]:
    """Return the properties of a message by name, only those that are set."""
    return {name: value for name, value, _begin, _end in _spans(raw)}


def without_headers(raw: bytes, names: Iterable[str]) -> bytes:
    """Return properties without these entries of their headers; everything else stays as it is, byte for byte."""
    for name, _value, begin, end in _spans(raw):
        if name == "headers":
            table, kept = Reader(raw[begin + 4 : end]), b""
            while table.more():
                at = begin + 4 + table.position
                key = table.short_string()
                table.value(_DEPTH)
                if key not in names:
                    kept += raw[at : begin + 4 + table.position]
            return raw[:begin] + long_string(kept) + raw[end:]
    return raw


def _spans(raw: bytes) -> list[tuple[str, Any, int, int]]:
    """Return each property that is set: name, value, and where it begins and ends."""
    reader = Reader(raw)
    flags, spans = reader.unpack("H"), []
    if flags & 1:
        raise ValueError("more properties than there are")
    for number, (name, read) in enumerate(_PROPERTIES):
        if flags & (0x8000 >> number):
            begin = reader.position
            spans.append((name, read(reader), begin, reader.position))
    return spans


def short_string(text: str) -> bytes:
    """Return a short string: ValueError above 255 bytes."""
    raw = text.encode()
    if len(raw) > 255:
        raise ValueError("a short string has at most 255 bytes")
    return bytes([len(raw)]) + raw


def long_string(raw: bytes) -> bytes:
    """Return a long string."""
    return struct.pack(">I", len(raw)) + raw


def table(values: dict[str, Any]) -> bytes:
    """Return a table of texts, truths and tables."""
    entries = b""
    for name, value in values.items():
        if isinstance(value, bool):
            entries += short_string(name) + b"t" + bytes([value])
        elif isinstance(value, dict):
            entries += short_string(name) + b"F" + table(value)
        else:
            entries += short_string(name) + b"S" + long_string(str(value).encode())
    return long_string(entries)


def parse_head(head: bytes, limit: int) -> tuple[int, int, int]:
    """Return type, channel and size of the frame that the 7 bytes begin; ValueError when they begin none.

    ``limit`` bounds the size: an endless frame must not fill the memory.
    """
    kind, channel, size = struct.unpack(">BHI", head)
    if kind not in (METHOD, CONTENT_HEADER, CONTENT_BODY, HEARTBEAT):
        raise ValueError(f"no type of frame: {kind}")
    if size > limit:
        raise ValueError(f"a frame of {size} bytes, {limit} are allowed")
    if kind == METHOD and size < 4:
        raise ValueError("a method frame without a method")
    return kind, channel, size
