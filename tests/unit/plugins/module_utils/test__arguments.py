# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._arguments import (
    management_arguments,
    management_client,
    segment,
)
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput

DEFAULTS = {name: spec.get("default") for name, spec in management_arguments().items()}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"login_host": "http://mq.example"}, "login_host must be a name"),
        ({"login_host": "mq:15672"}, "login_host must be a name"),
        ({"login_host": "user:pw@mq"}, "login_host must be a name"),
        ({"login_host": ""}, "login_host must be a name"),
        ({"login_port": 70000}, "login_port is 70000"),
        ({"login_password": "caf\udce9"}, "login_password has a character that is none"),
    ],
)
def test_what_can_not_be_asked_is_refused_before(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        management_client({**DEFAULTS, **given}, 1.0)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("host", ["mq.example", "::1", "[::1]", "192.0.2.1", "münchen.example"])
def test_names_and_addresses_can_be_asked(host: str) -> None:
    assert management_client({**DEFAULTS, "login_host": host}, 1.0).base_url.endswith(":15672")


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_is_a_step_of_a_path_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="the name of nothing that can be asked for"):
        segment(name)
