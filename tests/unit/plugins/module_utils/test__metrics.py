# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import RequestFailed
from ansible_collections.veza.rabbitmq.plugins.module_utils._metrics import Metrics, parse, read_metrics

EXPIRED = "rabbitmq_global_messages_dead_lettered_expired_total"
TEXT = f"""\
# HELP {EXPIRED} Total number of messages
# TYPE {EXPIRED} counter
{EXPIRED}{{queue_type="rabbit_classic_queue",dead_letter_strategy="at_most_once"}} 5
{EXPIRED}{{queue_type="rabbit_quorum_queue",dead_letter_strategy="disabled"}} 2e1
rabbitmq_alarms_memory_used_watermark 0
rabbitmq_build_info{{rabbitmq_version="4.0.5",note="a \\"quoted\\" one"}} 1
rabbitmq_queue_messages 12
"""


def test_what_is_of_use_is_read_with_its_labels() -> None:
    metrics = Metrics("ok", "", parse(TEXT))
    assert set(metrics.values) == {EXPIRED, "rabbitmq_alarms_memory_used_watermark", "rabbitmq_build_info"}
    assert metrics.total(EXPIRED) == 25
    assert metrics.total(EXPIRED, dead_letter_strategy="disabled") == 20
    assert metrics.total("rabbitmq_alarms_memory_used_watermark") == 0
    assert metrics.label("rabbitmq_build_info", "rabbitmq_version") == "4.0.5"


def test_what_is_missing_is_not_zero() -> None:
    metrics = Metrics("ok", "", parse(TEXT))
    assert metrics.total("rabbitmq_alarms_file_descriptor_limit") is None
    assert metrics.label("rabbitmq_identity_info", "rabbitmq_node") is None
    assert metrics.label("rabbitmq_build_info", "erlang_version") is None


@pytest.mark.parametrize("figure", ["NaN", "+Inf", "1e999", "-", "e", "1.2.3", ""])
def test_what_is_no_figure_is_left_out(figure: str) -> None:
    assert parse(f"rabbitmq_process_max_fds {figure}\n") == {}


@pytest.mark.parametrize(
    ("body", "status", "outcome"),
    [(TEXT, 200, "ok"), (TEXT, 500, "not_metrics"), ("up 1\n", 200, "not_metrics"), (b"\xff\xfe", 200, "not_metrics")],
)
def test_only_rabbitmqs_own_answer_counts(
    scripted_http: Callable[..., Any], reply: Callable[..., Any], body: Any, status: int, outcome: str
) -> None:
    http = scripted_http(("/metrics", reply(body, status)))
    assert read_metrics(http, 1.5).outcome == outcome
    assert http.timeouts == [1.5]


def test_an_endpoint_that_is_not_there_is_an_outcome(scripted_http: Callable[..., Any]) -> None:
    gone = RequestFailed("refused", "GET /metrics: connection refused.")
    found = read_metrics(scripted_http(("/metrics", gone)), 1.0)
    assert (found.ok, found.outcome, found.detail) == (False, "refused", gone.message)
