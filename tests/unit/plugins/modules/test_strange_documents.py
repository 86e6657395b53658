# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each part of each document of the management API is replaced by what does not belong there."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._amqp import Probe, Target
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._health import Rungs
from ansible_collections.veza.rabbitmq.plugins.module_utils._http import Reply
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Management
from ansible_collections.veza.rabbitmq.plugins.module_utils._queues import Reader
from ansible_collections.veza.rabbitmq.plugins.modules import queue_drain_wait, rabbitmq_health
from tests.unit.fake_broker import HEALTH, documents

STRANGE: list[Any] = [[], {}, None, "x", 1, -0.5, True, [[]], [1], {"x": []}]
GIVEN = {"login_user": "guest", "vhost": "/veza", "queues": ["jobs"]}

# What a check that fails may say.
FAILED = {
    "status": "failed", "reason": "r", "alarms": [{"node": "a", "resource": "b"}], "queues": [{"name": "a"}],
    "virtual-hosts": ["x"], "missing": [1],
}  # fmt: skip


class Documents:
    """Answers with these documents."""

    base_url = "http://broker:15672"
    timeout = 5.0

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def get(self, path: str, *, params: Any = None, timeout: float | None = None) -> Reply:
        answer = self.found.get(path, (404, {"error": "Object Not Found"}))
        status, document = answer if isinstance(answer, tuple) else (200, answer)
        return Reply(status, {}, json.dumps(document).encode(), 0.0, path)


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each part of a document."""
    yield at
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield from places(document[key], (*at, key))


def replaced(document: Any, at: tuple[Any, ...], part: Any) -> Any:
    """Return a copy with another part at this place."""
    if not at:
        return part
    whole = copy.deepcopy(document)
    inner = whole
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = part
    return whole


def run(found: dict[str, Any], clock: Any) -> None:
    """Run both readers of the management API on these documents."""
    health = {name: option.get("default") for name, option in rabbitmq_health.argument_spec().items()}
    nobody = Probe("refused", False, "Refused.", (), {}, (), 0.0)
    rungs = Rungs(Management(Documents(found), "guest", clock), lambda _target: nobody, Target("mq"))
    json.dumps(rabbitmq_health.run({**health, **GIVEN}, rungs, clock, clock.sleep))
    drain = {name: option.get("default") for name, option in queue_drain_wait.argument_spec().items()}
    look = Reader(Management(Documents(found), "guest", clock), "/veza").look
    with suppress(VezaError):
        json.dumps(queue_drain_wait.run({**drain, **GIVEN}, True, look, clock, clock.sleep))


@pytest.mark.parametrize("version", ["3.10.8", "4.1.2"])
def test_nothing_that_the_broker_says_is_a_traceback(version: str, clock: Any) -> None:
    good = {path: found for path, found in documents(version).items() if path != "/metrics"}
    good = {path: found[1] if isinstance(found, tuple) else found for path, found in good.items()}
    failing = {path: FAILED for path in good if path.startswith(HEALTH)}
    for status, path, document in [
        *((200, path, document) for path, document in good.items()),
        *((503, path, document) for path, document in failing.items()),
    ]:
        for at in places(document):
            for part in STRANGE:
                changed = (status, replaced(document, at, part))
                try:
                    run({**good, path: changed}, clock)
                except Exception as error:
                    raise AssertionError(f"{path} {at}: {part!r}") from error
