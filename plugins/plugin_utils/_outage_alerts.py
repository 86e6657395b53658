# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which alerts fire, each once, and when the outage that they tell of began. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.module_utils._record import instant, stamp
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

Alert = dict[str, Any]


def outage_alerts(told: Sequence[Alert], asked: Mapping[str, Any], begins: Sequence[str]) -> dict[str, Any]:
    """Return what outage_alerts.yml describes."""
    try:
        known = [_alert(one) for one in plain(told)]
    except (BadInput, KeyError) as error:
        raise AnsibleFilterError(f"outage_alerts: an alert is not what it should be: {error!r}") from error
    answered = _answered(plain(asked))
    firing: dict[str, Alert] = {}
    # A message may have waited behind a recovery that ended what it tells of.
    for one in known if answered is None else answered:
        firing.setdefault(one["fingerprint"], one)
    # An alert that only warns may have fired for days before anything was lost.
    telling = [one for one in firing.values() if one["alertname"] in begins] or list(firing.values())
    return {"firing": list(firing.values()), "start": min((one["startsAt"] for one in telling), default="")}


def _alert(one: Alert) -> Alert:
    """Return what is used of an alert; its instant as the record writes it, as each source has a form of its own."""
    name = one.get("alertname") or (one.get("labels") or {}).get("alertname") or "RabbitMQ"
    return {"fingerprint": one["fingerprint"], "startsAt": stamp(instant(one["startsAt"])), "alertname": name}


def _answered(asked: Mapping[str, Any]) -> list[Alert] | None:
    """Return what Alertmanager has answered; None where something else did, or nothing that could be read."""
    answer = asked.get("json") if asked.get("status") == 200 else None
    if not isinstance(answer, list):
        return None
    found = []
    for one in answer:
        try:
            found.append(_alert(one))
        except (BadInput, KeyError, TypeError, AttributeError):
            continue
    return found if found or not answer else None
