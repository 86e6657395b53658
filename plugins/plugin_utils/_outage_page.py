# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An incident as one page of HTML, and the chart of its backlog. Pure: the same record, the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

WIDTH = 600
"""Of the chart, in units of its own."""

HEIGHT = 200
"""Likewise."""


def outage_page(record: Mapping[str, Any], template: str, listed: int = 50) -> str:
    """Return the page for ``record`` (outage_record), by a template in which all that is filled in is escaped.

    At most ``listed`` ids are shown at one place. Log lines and names end up here, so Jinja escapes them: Ansible's own
    templating would not.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["length_of"] = length_of
    known = plain(record)
    page = environment.from_string(str(template))
    return page.render(record=known, chart=chart(known["drain"]["samples"]), listed=int(listed)) + "\n"


def length_of(seconds: float | None) -> str:
    """Return a length of time for people."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def chart(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the depth of each queue that ever held a message, by time, as lines; None when there is nothing to see.

    Keys: ``width``, ``height``, ``peak`` (messages), ``seconds``, and for each line ``name``, ``peak``, ``first``,
    ``last`` and ``points``, as SVG has them. A sample that could not see a queue leaves a gap out: nothing is made up.
    """
    depths: dict[str, list[tuple[float, int]]] = {}
    for sample in samples:
        for name, seen in (sample.get("queues") or {}).items():
            if seen and seen.get("ready") is not None and seen.get("unacked") is not None:
                depths.setdefault(name, []).append((float(sample["elapsed"]), seen["ready"] + seen["unacked"]))
    shown = {name: values for name, values in sorted(depths.items()) if max(depth for _at, depth in values) > 0}
    seconds = max((at for values in shown.values() for at, _depth in values), default=0.0)
    if not shown or seconds <= 0:
        return None
    peak = max(depth for values in shown.values() for _at, depth in values)
    lines = [
        {
            "name": name,
            "peak": max(depth for _at, depth in values),
            "first": values[0][1],
            "last": values[-1][1],
            "points": " ".join(
                f"{at / seconds * WIDTH:.1f},{HEIGHT - depth / peak * HEIGHT:.1f}" for at, depth in values
            ),
        }
        for name, values in shown.items()
    ]
    return {"width": WIDTH, "height": HEIGHT, "peak": peak, "seconds": seconds, "lines": lines}
