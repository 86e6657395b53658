# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of one run, and what is wrong with it. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Row:
    """What one run of one fault on one family of RabbitMQ came to. Plain data; None: the run never got there."""

    fault: str
    title: str
    rabbitmq: str
    """The family, as the lab was asked for it (4.0, 3.10)."""
    seed: int
    at: str = ""
    """When the run began."""
    versions: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    invalid: str | None = None
    """Why this run shows nothing; None when it is valid."""
    present: str | None = None
    """What was seen of the fault."""
    expected: list[str] = field(default_factory=list)
    each: list[list[str]] = field(default_factory=list)
    """Of several faults at once the causes of each."""
    cause: str | None = None
    also: list[str] = field(default_factory=list)
    seconds_to_name: float | None = None
    """From the start of diagnose_rabbitmq to its verdict."""
    decision: str | None = None
    """What recover_rabbitmq decided: act, finish, nothing, ask."""
    recovers: bool = False
    """Whether recover_rabbitmq is to mend it by itself."""
    mended_by: str | None = None
    """recover, itself (it ended before anybody acted) or human (the catalogue's own heal)."""
    audited_by: str | None = None
    """recover, or person (audit_rabbitmq with a window, as the healthy broker's advice says)."""
    seconds_to_serving: float | None = None
    """From the start of recover_rabbitmq until a publish was confirmed and each bus connected; seen from outside."""
    seconds_to_drained: float | None = None
    """From the start of recover_rabbitmq until, serving, each queue had a consumer and nothing ready."""
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    listed: int | None = None
    misaccounted: list[str] = field(default_factory=list)
    """Lost and not listed, or listed and not lost."""
    second_changed: int | None = None
    changed_by: list[str] = field(default_factory=list)
    """The tasks that changed something in the second run."""
    predicted: list[str] = field(default_factory=list)
    """The actions that check mode said, ``name on target``."""
    taken: list[str] = field(default_factory=list)
    """The actions that the run after it took, by the incident's record."""
    foreseen: list[str] = field(default_factory=list)
    """What check mode said it could not tell; each begins with the name of an action, where it is one."""
    forbidden: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Playbooks that failed although nothing was left to a human's decision."""
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds of each step."""

    @property
    def key(self) -> tuple[str, str]:
        """What a row is replaced by."""
        return self.fault, self.rabbitmq

    @property
    def right(self) -> bool | None:
        """Whether the cause that was named is one that the fault may be taken for; None when none was asked for."""
        return None if self.invalid or self.cause is None else self.cause in self.expected

    @property
    def unnamed(self) -> list[str]:
        """Of several faults at once those that were named neither first nor among the others."""
        return [" or ".join(part) for part in self.each if not {self.cause, *self.also} & set(part)]

    def harms(self) -> list[str]:
        """Return what may never be: these fail a run of the catalogue, whatever the diagnosis has yet to learn."""
        if self.invalid:
            return [f"INVALID: {self.invalid}"]
        return [
            *(f"forbidden: {action}" for action in self.forbidden),
            *self._unlike(),
            *_counted("missing", self.missing),
            *_counted("doubled", self.doubled),
            *_counted("accounted for wrongly", self.misaccounted),
            *(
                [f"the second run changed {self.second_changed}: {_some(self.changed_by)}"]
                if self.second_changed
                else []
            ),
        ]

    def _unlike(self) -> list[str]:
        """Return where the run did something else than check mode had said."""
        # What check mode could not tell it has at least named.
        named = {text.split()[0] for text in self.foreseen if text}
        extra = [action for action in self.taken if action not in self.predicted and action.split()[0] not in named]
        undone = [action for action in self.predicted if action not in self.taken]
        return [*_counted("not predicted", extra), *_counted("predicted, not done", undone)]

    def shortfalls(self) -> list[str]:
        """Return what is yet to be learnt: reported, and failures only with --strict."""
        if self.invalid:
            return []
        expected = " or ".join(self.expected)
        return [
            *([] if self.right else [f"named {self.cause or 'nothing'} instead of {expected}"]),
            *(f"did not name {part} besides" for part in (self.unnamed if self.right else [])),
            *(["not mended by recover_rabbitmq"] if self.recovers and self.mended_by == "human" else []),
            *self.failures,
        ]

    def document(self) -> dict[str, Any]:
        """Return the row for the scoreboard's JSON."""
        return {**asdict(self), "right": self.right, "harms": self.harms(), "shortfalls": self.shortfalls()}

    @classmethod
    def read(cls, document: dict[str, Any]) -> Row:
        """Return the row of a document; what this version does not know is left out."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})


def _counted(what: str, items: list[str]) -> list[str]:
    return [f"{len(items)} {what}: {_some(items)}"] if items else []


def _some(items: list[str], most: int = 4) -> str:
    return ", ".join(items[:most]) + (f", and {len(items) - most} more" if len(items) > most else "")
