# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge the instants that a person gave for an outage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._window import asked_window, instant_problems, parse_instant

LIMIT = "veza_transcode_requeue.max_window"
"""The setting that says how long a window is believed."""


def wrong_window(given: Mapping[str, Any], now: str, longest: float) -> list[str]:
    """Return all that is wrong with the instants of ``given``, by the names they have there; empty ones are left out.

    The first is the beginning and the second the end. ``now`` is our clock's reading, ``longest`` the seconds of the
    longest window that is believed.
    """
    moment = parse_instant(now)
    texts = {name: str(text) for name, text in given.items() if text is not None and text != ""}
    problems = [problem for name, text in texts.items() for problem in instant_problems(name, text, now=moment)]
    if problems or len(texts) < 2:
        return problems
    names = (list(texts)[0], list(texts)[1])
    allowed = timedelta(seconds=float(longest))
    return asked_window(*texts.values(), now=moment, longest=allowed, names=names, limit=LIMIT)[1]
