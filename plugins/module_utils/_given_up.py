# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file that keeps messages which were taken out of a queue: JSON lines, and what each interruption means.

A file begins with its ``head``. Messages come in batches: the ``message`` lines, then the note ``acking`` once they
are on the disk, then ``acked`` once the broker has forgotten them. A batch is acknowledged by one frame, so it is
forgotten as a whole or not at all. Messages that no such note names were never acknowledged: the broker has them
again, and here they don't count. A batch whose ``acking`` has no ``acked`` is judged by fate(). What is put back is
counted by the broker itself (queue_give_up); the file notes when that began and ended.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from ._amqp_channel import Message
from ._amqp_frames import properties_of, without_headers
from ._errors import BadInput, Refused, VezaError
from ._files import regular

State = Literal["acking", "acked", "void", "unsure"]
Fate = Literal["acked", "returned", "unsure"]

FORMAT = 1
VOLATILE = ("tmpfs", "ramfs", "devtmpfs")
"""File systems that a reboot empties."""

COUNTED = ("x-delivery-count", "x-acquired-count")
"""Headers that the broker adds when it delivers again: they are not the message's."""


@dataclass
class Batch:
    """Messages that are acknowledged together, ``first`` to ``last``.

    ``left`` were ready behind them, ``consumers`` were there besides. ``tried`` tells that a run which judged the
    batch before was interrupted too: what was behind them may have been delivered by that run.
    """

    first: int
    last: int
    left: int
    consumers: int
    prints: list[str]
    size: int
    state: State = "acking"
    tried: bool = False

    @property
    def count(self) -> int:
        """How many messages it has."""
        return self.last - self.first + 1


@dataclass
class Story:
    """What a file tells. What follows its last note, at byte ``kept``, was never acknowledged."""

    head: dict[str, Any] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    loose: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Print and size of each message that no note names yet."""
    kept: int = 0
    next_number: int = 1
    taken: bool = False
    publishing: dict[str, Any] = field(default_factory=dict)
    committed: int = 0
    republished: bool = False

    def add(self, entry: dict[str, Any]) -> None:
        """Go on with one line; KeyError, IndexError, TypeError or ValueError when it is none of ours."""
        kind = entry["is"]
        if kind == "message":
            self.loose[entry["number"]] = (entry["print"], entry["size"])
            self.next_number = entry["number"] + 1
        elif kind == "acking":
            parts = [self.loose.pop(number) for number in range(entry["first"], entry["last"] + 1)]
            prints, size = [mark for mark, _size in parts], sum(size for _mark, size in parts)
            batch = Batch(entry["first"], entry["last"], entry["left"], entry["consumers"], prints, size)
            self.batches.append(batch)
        elif kind in ("acked", "void", "unsure"):
            self._batch(entry).state = kind
        elif kind == "judging":
            self._batch(entry).tried = True
        elif kind == "head" and entry["format"] == FORMAT:
            self.head = {name: entry[name] for name in ("id", "vhost", "queue")}
        elif kind == "publishing":
            self.publishing = {name: entry[name] for name in ("queue", "size")}
        elif kind == "published":
            self.committed = entry["batches"]
        elif kind in ("taken", "republished"):
            setattr(self, kind, True)
        else:
            raise ValueError(kind)

    def _batch(self, entry: dict[str, Any]) -> Batch:
        return [batch for batch in self.batches if batch.first == entry["first"]][0]

    def count(self, *states: State) -> int:
        """How many messages are in batches of these states."""
        return sum(batch.count for batch in self.batches if batch.state in states)

    @property
    def held(self) -> int:
        """How many messages the file keeps, those included of which the broker may still have a copy."""
        return self.count("acked", "unsure")

    @property
    def bytes(self) -> int:
        """How large the bodies of those are."""
        return sum(batch.size for batch in self.batches if batch.state in ("acked", "unsure"))

    @property
    def pending(self) -> Batch | None:
        """The batch of which it isn't known whether the broker has forgotten it."""
        return next((batch for batch in self.batches if batch.state == "acking"), None)

    def numbers(self) -> list[int]:
        """The numbers of the messages that the file keeps, in order."""
        return [
            number
            for batch in self.batches
            if batch.state in ("acked", "unsure")
            for number in range(batch.first, batch.last + 1)
        ]


def story_of(lines: Iterable[bytes]) -> Story:
    """Return what a file's lines tell; VezaError when something else wrote to it."""
    story, read = Story(), 0
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break  # cut short by a crash: whoever wrote it was never told that it had been kept
        read += len(line)
        try:
            entry = json.loads(line)
            story.add(entry)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            raise VezaError(f"Line {number} is none of this module's: something else wrote to it.") from None
        if entry["is"] != "message":
            story.kept = read
    return story


def fate(batch: Batch, again: Iterable[tuple[str, bool]], ready: int, consumers: int) -> Fate:
    """Judge a batch whose acknowledgement was interrupted, by what the queue holds now.

    ``again`` are print and redelivered of the messages that now stand at the head, as many as the batch has; ``ready``
    and ``consumers`` were counted before. Loses nothing: in doubt both copies are kept (unsure).
    """
    alone = not (batch.consumers or consumers)
    if alone and ready == batch.left:
        return "acked"
    back = Counter(mark for mark, redelivered in again if redelivered)
    found = sum((back & Counter(batch.prints)).values())
    were = batch.left + batch.count
    if found == batch.count and (ready == were or (ready > were and not batch.tried)):
        return "returned"
    return "acked" if not found and alone else "unsure"


def entry_of(number: int, message: Message) -> dict[str, Any]:
    """Return a message's line: what a person reads, and the bytes that put it back as it was."""
    try:
        properties, shown = without_headers(message.properties, COUNTED), properties_of(message.properties)
        known = properties
    except ValueError:  # nobody can read them, which may be what poisons it: they are kept as they came
        properties, shown, known = message.properties, {}, b""
    parts = (message.exchange.encode(), message.routing_key.encode(), known, message.body)
    mark = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()
    return {
        "is": "message",
        "number": number,
        "message_id": shown.get("message_id"),
        "type": shown.get("type"),
        "timestamp": shown.get("timestamp"),
        "headers": _plain(shown.get("headers", {})),
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "redelivered": message.redelivered,
        "size": len(message.body),
        "print": mark,
        "properties": base64.b64encode(properties).decode(),
        "body": base64.b64encode(message.body).decode(),
    }


def _plain(value: Any) -> Any:
    """Return a header's value as JSON can say it."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


SHOWN = ("number", "message_id", "type", "timestamp", "headers", "exchange", "routing_key", "redelivered", "size")
"""What of a message may be shown: never its body."""


class KeptFile:
    """The file, locked for this process; ``room`` bytes stay free on its file system."""

    def __init__(self, path: str, room: int) -> None:
        self.path = path
        self.room = room
        self._file = _opened(path)
        try:
            with os.fdopen(os.dup(self._file), "rb") as lines:
                self.story = story_of(lines)
        except VezaError as error:
            os.close(self._file)
            raise VezaError(f"{path}: {error.message}") from None

    def __enter__(self) -> KeptFile:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def free(self) -> int:
        """Bytes that may still be written."""
        status = os.fstatvfs(self._file)
        return status.f_bavail * status.f_frsize - self.room

    def see_name(self) -> None:
        """Raise VezaError unless the file still stands at its path: what nobody finds again is not kept."""
        opened = os.fstat(self._file)
        try:
            there = opened.st_nlink > 0 and os.path.samestat(opened, os.stat(self.path))
        except OSError:
            there = False
        if not there:
            held = self.story.held
            before = f" {held} messages were acknowledged before; they are in that file alone." if held else ""
            raise VezaError(
                f"{self.path} is not the file any more that was opened: it was removed, moved or replaced meanwhile. "
                f"Nothing more was acknowledged.{before}"
            )

    def cut(self) -> None:
        """Drop what was never acknowledged; the numbers go on, so that none is used twice."""
        os.ftruncate(self._file, self.story.kept)
        self.story.loose.clear()

    def write(self, entry: dict[str, Any]) -> bool:
        """Add a message, not yet synced; False, and nothing written, when there is no room for it."""
        line = _line(entry)
        if len(line) > self.free():
            return False
        self._append(line)
        self.story.add(entry)
        return True

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        with _explained(self.path):
            os.fsync(self._file)

    def note(self, kind: str, **values: Any) -> None:
        """Add a note and return when it is on the disk. It is small: it may use the room that is to stay free."""
        entry = {"is": kind, **values}
        self._append(_line(entry))
        self.sync()
        self.story.add(entry)

    def _append(self, line: bytes) -> None:
        with _explained(self.path):
            while line:
                line = line[os.write(self._file, line) :]

    def messages(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yield the lines of these messages, in the file's order."""
        return messages_of(self.path, set(numbers))


def messages_of(path: str, numbers: set[int]) -> Iterator[dict[str, Any]]:
    """Yield the lines of these messages, in the file's order, and read no further."""
    left = set(numbers)
    with open(path, "rb", opener=regular) as lines:
        for line in lines:
            if not left:
                return
            entry = json.loads(line) if line.endswith(b"\n") else {}
            if entry.get("is") == "message" and entry["number"] in left:
                left.discard(entry["number"])
                yield entry


def shown_of(path: str, numbers: set[int]) -> list[dict[str, Any]]:
    """Return what may be shown of these messages; nothing where another file stands there by now, or none."""
    try:
        return [{name: entry[name] for name in SHOWN} for entry in messages_of(path, numbers)] if numbers else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def look(path: str) -> Story:
    """Return what a file tells, without touching it; an empty story when there is none."""
    try:
        with open(path, "rb", opener=regular) as lines:
            return story_of(lines)
    except FileNotFoundError:
        return Story()
    except OSError as error:
        raise VezaError(f"{path} can't be read: {error.strerror}.") from None
    except VezaError as error:
        raise VezaError(f"{path}: {error.message}") from None


def check_path(path: str) -> None:
    """Raise BadInput or Refused unless ``path`` can name a file that outlives a reboot."""
    if not os.path.isabs(path) or "\0" in path:
        raise BadInput(f"path is {path!r}; it must be absolute, and the name of a file.")
    kind = kind_at(path)
    if kind in VOLATILE:
        raise Refused(f"{path} would be on a {kind}, which a reboot empties. Name a path on a disk.")


def kind_at(path: str, mounts: str = "/proc/self/mounts") -> str:
    """Return the kind of file system that a path is, or would be, on."""
    with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
        found = [line.split()[1:3] for line in lines]
    real = os.path.realpath(path)
    longest, result = 0, "unknown"
    for escaped, kind in found:
        at = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), escaped)  # a space is \040
        fits = at == "/" or real == at or real.startswith(f"{at}/")
        if fits and len(at) >= longest:  # of two at one place, the later one is on top
            longest, result = len(at), kind
    return result


def _opened(path: str) -> int:
    folder = os.path.dirname(path)
    with _explained(path):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = regular(path, flags)
        try:
            os.fchmod(file, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError:
            os.close(file)
            raise
    return file


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise Refused(f"{path} is in use by another run. Wait until it has ended.") from None
    except OSError as error:
        advice = "Make room, or name another path" if error.errno == errno.ENOSPC else "Look at its directory"
        raise VezaError(
            f"{path} can't be written: {error.strerror}. What was not written has not been acknowledged. {advice}."
        ) from None
