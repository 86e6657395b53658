# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Prometheus endpoint of one node: it needs no login, and has counters that the management API has not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite

from ._errors import RequestFailed
from ._management import Http

# What is read of some thousand lines.
_LINE = re.compile(
    r"^(rabbitmq_(?:alarms_\w+|build_info|identity_info|global_messages_(?:dead_lettered|unroutable)_\w+"
    r"|process_(?:open|max)_fds))(?:\{(.*)\})? ([0-9.eE+-]+)\s*$",
    re.MULTILINE,
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

MAX_METRICS = 16 * 1024 * 1024
"""Bytes of an answer: with figures of each queue (``return_per_object_metrics``) it has no end."""


@dataclass(frozen=True)
class Metrics:
    """What a node's endpoint says; ``outcome`` is ``ok``, ``not_metrics``, or one of RequestFailed's.

    ``values`` has each metric's samples: their labels and their figure.
    """

    outcome: str
    detail: str
    values: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether RabbitMQ has answered."""
        return self.outcome == "ok"

    def total(self, name: str, **labels: str) -> int | None:
        """Return the sum of a metric's samples that have these labels; None if the node has no such metric."""
        samples = self.values.get(name)
        if samples is None:
            return None
        total = sum(figure for has, figure in samples if labels.items() <= has.items())
        return int(total) if isfinite(total) else None

    def label(self, name: str, label: str) -> str | None:
        """Return a label of a metric's first sample."""
        samples = self.values.get(name)
        return samples[0][0].get(label) if samples else None


def parse(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the samples that are of use here; what is not in Prometheus' form is left out."""
    values: dict[str, list[tuple[dict[str, str], float]]] = {}
    for name, labels, figure in _LINE.findall(text):
        try:
            number = float(figure)
        except ValueError:
            continue
        if isfinite(number):
            values.setdefault(name, []).append((dict(_LABEL.findall(labels)), number))
    return values


def read_metrics(http: Http, seconds: float) -> Metrics:
    """Ask the endpoint; nothing is raised for its answer or its absence."""
    try:
        reply = http.get("/metrics", timeout=seconds)
    except RequestFailed as error:
        return Metrics(error.outcome, error.message)
    values = parse(reply.body.decode("utf-8", "replace"))
    if reply.status == 200 and "rabbitmq_build_info" in values:
        return Metrics("ok", f"GET {reply.url}", values)
    return Metrics("not_metrics", f"GET {reply.url}: {reply.status} is not an answer of rabbitmq_prometheus.")
