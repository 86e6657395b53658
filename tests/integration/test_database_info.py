# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""database_info against a real PostgreSQL, and against what is none."""

from __future__ import annotations

import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from ansible_collections.veza.rabbitmq.plugins.modules import database_info
from tests.lab.state import Lab


def look(url: str, timeout: float = 3.0) -> dict[str, Any]:
    return database_info.run({"database_url": url, "timeout": timeout})


def test_a_database_that_answers(lab: Lab) -> None:
    found = look(lab.urls["database"])
    assert found["outcome"] == "ok", found["message"]
    assert found["version"].split(".")[0].isdigit()
    assert found["standby"] is False
    assert abs(found["clock_offset"]) < 1.0


@pytest.mark.parametrize("change", ["password", "database", "port", "host"])
def test_what_is_wrong_is_said_without_the_password(lab: Lab, change: str) -> None:
    url = urlsplit(lab.urls["database"])
    user, password = url.username or "", "planted-secret" if change == "password" else url.password or ""
    host = "no-such-host.invalid" if change == "host" else url.hostname
    port = 1 if change == "port" else url.port
    path = "/no_such_database" if change == "database" else url.path
    found = look(f"postgresql://{user}:{password}@{host}:{port}{path}")
    assert found["outcome"] in ("unreachable", "rejected")
    assert found["message"]
    assert found["version"] is None
    assert "planted-secret" not in json.dumps(found)


def test_a_server_that_hangs_does_not_hold_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        found = look(f"postgresql://u:planted-secret@127.0.0.1:{listener.getsockname()[1]}/db", 2.0)
    assert found["outcome"] == "unreachable"
    assert time.monotonic() - began < 5.0
