# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""May a game day begin? All that speaks against it, at once. Pure: no clock, no network, no files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.module_utils._record import instant
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._identity import identity

REHEARSALS = ("staging", "lab")
"""What may be broken without a further word. Everything else is production, also what is not marked at all."""

PHRASE = "KILL-PROD"

YOUNG = 86400.0
"""Seconds that a backup may be old at the most; a setting can ask for a younger one only."""

NO_REASON = re.compile(r"[\W\d_]*|n|no|none|null|nil|false|f|off|n/a|na|y|yes|true|t|on", re.IGNORECASE)
"""What is typed where a yes or no is expected says no reason."""


def game_day_guard(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what game_day_guard.yml describes."""
    try:
        now = instant(facts["now"], "now")
        production = facts.get("environment") not in REHEARSALS
        problems = [*_settings(facts), *_health(facts)]
        if production:
            problems = [*_confirmed(facts), *_backup(facts, now), *problems]
    except (BadInput, KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnsibleFilterError(f"game_day_guard: the input is not what it should be: {error!r}") from error
    typed = str(facts.get("phrase") or "").strip()
    # A phrase is asked for only when it is all that is left to say: what is typed then is the last word.
    ask = production and not problems and not typed
    if production and typed != PHRASE:
        problems.append(f"this ends production's broker: type {PHRASE} (outage_game_day_phrase) to say that you know")
    return {"production": production, "problems": problems, "ask": ask}


def _confirmed(facts: Mapping[str, Any]) -> list[str]:
    if facts.get("confirm_prod"):
        return []
    known = facts.get("environment") or "not set"
    return [
        f"veza_environment is {known}, neither {' nor '.join(REHEARSALS)}, so this may be production; there it takes "
        "CONFIRM_PROD=1 in the environment, or outage_game_day_confirm_prod=true"
    ]


def _backup(facts: Mapping[str, Any], now: datetime) -> list[str]:
    reason = facts.get("backup_override") or ""
    if not isinstance(reason, str) or (reason.strip() and NO_REASON.fullmatch(reason.strip())):
        return [f"outage_game_day_backup_override is {reason!r}, which is no reason for going without a young backup"]
    if reason.strip():
        return []
    limit = float(facts["backup_max_age"])
    if not 0 < limit <= YOUNG:
        return [
            f"outage_game_day_backup_max_age is {limit:g}, and must be more than 0 and at most {YOUNG:g}; to go "
            "without a young backup, give the reason in outage_game_day_backup_override"
        ]
    way_out = "or give the reason for going without in outage_game_day_backup_override"
    if not facts.get("backup_at"):
        return [f"outage_game_day_backup_at does not say when the last backup was made; say it, {way_out}"]
    try:
        age = (now - instant(facts["backup_at"], "outage_game_day_backup_at")).total_seconds()
    except BadInput as error:
        return [str(error).rstrip(".")]
    if age < 0:
        return [f"outage_game_day_backup_at ({facts['backup_at']}) lies in the future"]
    if age >= limit:
        return [
            f"the last backup is {age / 3600:.1f} hours old, and must be younger than {limit / 3600:g}; "
            f"make one, {way_out}"
        ]
    return []


def _settings(facts: Mapping[str, Any]) -> list[str]:
    """Return what is missing in the inventory: each would leave a check without an answer."""
    problems = []
    without = [name for name, url in facts["apis"].items() if not url]
    if without:
        problems.append(f"veza_api_url is not set for {', '.join(without)}, so nobody would see it fail")
    if facts.get("alert") and not facts.get("alertmanager"):
        problems.append(
            "veza_alertmanager_url is not set; without an alert nobody would have come "
            "(outage_game_day_alert='' rehearses without one)"
        )
    if float(facts["outage_seconds"]) <= 0:
        problems.append("outage_game_day_seconds must be more than 0")
    if not str(facts["dir"]).startswith("/"):  # it would be taken from where the playbook lies, in the checkout
        problems.append(f"outage_game_day_dir is '{facts['dir']}', which is no absolute path")
    return problems


def _health(facts: Mapping[str, Any]) -> list[str]:
    """Return what is not well before anything was broken; a game day on top of an incident would hide it."""
    problems = []
    broker, incident, alert = facts["broker"], facts["incident"], facts.get("alert_now") or {}
    if broker.get("verdict") != "healthy":
        problems.append(f"the broker is not healthy: {_said(broker, 'reason')}")
    asked = {probe["target"] for probe in facts["probes"]}
    unasked = [name for name, url in facts["apis"].items() if url and name not in asked]
    if unasked:
        problems.append(f"{', '.join(unasked)} can't be watched: {_said({'msg': facts.get('probing')})}")
    for probe in facts["probes"]:
        if probe["status"] != 200:
            problems.append(f"{probe['target']} does not answer 200 but {probe['error'] or probe['status']}")
    if "found" not in incident:
        problems.append(f"the incident's record can't be read: {_said(incident)}")
    elif incident.get("open"):
        problems.append(f"the incident {incident.get('id')} is open; finish it first (recover_rabbitmq)")
    elif (incident.get("lease") or {}).get("held") and not incident["lease"].get("expired"):
        problems.append("somebody holds the incident's lease; see status_rabbitmq")
    if alert and not alert.get("skipped") and alert.get("firing") is not False:
        problems.append(f"the alert is not at rest: {_said(alert)}")
    for host, result in facts["identities"].items():
        if not identity(result):
            problems.append(f"which API process runs on {host} can't be told: {_said(result)}")
    if facts.get("running"):
        problems.append(
            f"{facts['running']} exists: another game day is on, or one was interrupted; if none is, see that the "
            "broker serves, and delete it"
        )
    return problems


def _said(result: Mapping[str, Any], *keys: str) -> str:
    """Return what a result says went wrong, in one line."""
    said = next((str(result[key]) for key in (*keys, "msg", "stderr") if result.get(key)), "no answer")
    return " ".join(said.split()).rstrip(".")
