# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shared by the plugins' tests: a scripted HTTP client, servers with a vice, a clock, main() as Ansible runs it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from hypothesis import HealthCheck, settings

from ansible_collections.veza.rabbitmq.plugins.module_utils._http import Reply

# On a busy machine an example may take long; that is no fault of the code.
settings.register_profile("veza", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("veza")


class Clock:
    """A clock that only sleep moves on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class ScriptedHttp:
    """An HTTP client that expects exactly these requests, in this order.

    Each step is a path (with its query, sorted, where one is expected) and what comes: a Reply, an error to raise, or
    a function without arguments that returns one of them.
    """

    base_url = "http://broker:15672"
    timeout = 5.0

    def __init__(self, *steps: tuple[str, Any]) -> None:
        self.steps = list(steps)
        self.timeouts: list[float | None] = []

    def get(self, path: str, *, params: Any = None, timeout: float | None = None) -> Reply:
        query = "&".join(f"{name}={value}" for name, value in sorted((params or {}).items()))
        asked = f"{path}?{query}" if query else path
        assert self.steps, f"a request too many: {asked}"
        expected, answer = self.steps.pop(0)
        assert asked == expected
        self.timeouts.append(timeout)
        answer = answer() if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Reply)
        return answer


@pytest.fixture
def scripted_http() -> Iterator[Callable[..., ScriptedHttp]]:
    """Return a maker of scripted clients; a request too few fails the test."""
    made: list[ScriptedHttp] = []

    def make(*steps: tuple[str, Any]) -> ScriptedHttp:
        made.append(ScriptedHttp(*steps))
        return made[-1]

    yield make
    for client in made:
        assert not client.steps, "requests that never came"


@pytest.fixture
def reply() -> Callable[..., Reply]:
    """Return a maker of replies: a document becomes JSON, text and bytes stay as they are."""

    def make(document: Any, status: int = 200, url: str = "http://broker:15672/x") -> Reply:
        body = document if isinstance(document, bytes) else None
        body = body if body is not None else (document if isinstance(document, str) else json.dumps(document)).encode()
        return Reply(status, {}, body, 0.01, url)

    return make


@contextmanager
def _served(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if connection.recv(65536):
                answer(connection)

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _address = listener.accept()
                connections.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def served() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Return a starter of servers: it takes what to do with a connection that has sent a request, and gives the URL."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(_served(answer))


class Ended(Exception):
    """main() has called exit_json or fail_json."""


@dataclass(frozen=True)
class Outcome:
    """How main() ended, and with what."""

    failed: bool
    result: dict[str, Any]


def _ends(failed: bool) -> Callable[..., None]:
    def end(self: basic.AnsibleModule, **result: Any) -> None:
        raise Ended(failed, result)

    return end


@pytest.fixture
def run_main() -> Callable[..., Outcome]:
    """Return a runner of a module's main() with these parameters, as Ansible runs it."""

    def run(module: ModuleType, _check_mode: bool = False, **params: Any) -> Outcome:
        internal = {
            "_ansible_check_mode": _check_mode,
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
        }
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**params, **internal}}).encode()
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(basic, "_ANSIBLE_ARGS", arguments))
            if hasattr(basic, "_ANSIBLE_PROFILE"):  # ansible-core 2.19 and later
                stack.enter_context(mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy"))
            stack.enter_context(mock.patch.object(basic.AnsibleModule, "exit_json", _ends(False)))
            stack.enter_context(mock.patch.object(basic.AnsibleModule, "fail_json", _ends(True)))
            with pytest.raises(Ended) as ended:
                module.main()
        failed, result = ended.value.args
        return Outcome(failed, result)

    return run


@pytest.fixture
def params_of() -> Callable[..., dict[str, Any]]:
    """Return what an argument spec makes of these parameters: defaults filled in, types converted.

    run() takes these instead of a module, so that it can't call exit_json or fail_json.
    """

    def make(spec: dict[str, Any], **params: Any) -> dict[str, Any]:
        validated = ArgumentSpecValidator(spec).validate(params)
        assert not validated.error_messages
        parameters: dict[str, Any] = validated.validated_parameters
        return parameters

    return make
