# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a game day showed: checks, and the table of a report. Pure: no clock, no network, no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.module_utils._record import instant
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._identity import identity
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

STOPPED = ("broker_stopped_on_purpose", "broker_down")
"""What a broker that was stopped by its service manager may rightly be taken for."""

MISSED = 3
"""So many intervals without a probe, and the watch has not seen what happened."""

NAMED = 10
"""How many ids a sentence names."""


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    passed: bool | None
    """None when the check was turned off."""
    observation: str
    gap: str = ""
    at: str = ""
    """When it was seen; empty for the moment of the judgement."""


Facts = Mapping[str, Any]


def game_day_report(facts: Facts) -> dict[str, Any]:
    """Return what game_day_report.yml describes."""
    try:
        known = plain(facts)
        found = {check.name: check.judge(known) for check in CHECKS}
        checks = [
            {
                "name": check.name,
                "title": check.title.format(**known["settings"]),
                "passed": found[check.name].passed,
                "observation": found[check.name].observation,
                "gap": found[check.name].gap,
            }
            for check in CHECKS
        ]
        return {
            "passed": all(finding.passed is not False for finding in found.values()),
            "checks": checks,
            "rows": _rows(known, found),
            "gaps": [finding.gap for finding in found.values() if finding.gap],
        }
    except (BadInput, KeyError, TypeError, AttributeError, ValueError) as error:
        raise AnsibleFilterError(f"game_day_report: the input is not what it should be: {error!r}") from error


def _rows(facts: Facts, found: Mapping[str, Finding]) -> list[dict[str, str]]:
    """Return the rows of the report's table in the order of their instants; a check adds its gap to its step."""
    rows = [
        {**{name: note[name] for name in ("at", "action", "observation", "runbook")}, "gap": _gap(found, note["step"])}
        for note in facts["notes"]
    ]
    noted = {note["step"] for note in facts["notes"]}
    for check in CHECKS:
        if check.name not in noted:
            finding = found[check.name]
            title = check.title.format(**facts["settings"])
            row = {"action": title, "observation": finding.observation, "runbook": check.runbook, "gap": finding.gap}
            rows.append({"at": finding.at or facts["judged_at"], **row})
    return sorted(rows, key=lambda row: row["at"])


def _gap(found: Mapping[str, Finding], step: str) -> str:
    return found[step].gap if step in found else ""


def _outage(facts: Facts) -> Finding:
    stopped, wanted = facts["stopped_at"], float(facts["settings"]["outage_seconds"])
    if facts["failure"] or not stopped:
        why = facts["failure"] or "the broker was not stopped"
        return Finding(False, f"Not rehearsed: {why}", "The game day itself failed, and proves nothing.")
    if facts["verdict"].get("cause") == "healthy":
        return Finding(False, "The broker served after it had been stopped.", "The outage was never seen: no proof.")
    end = _served(facts)
    if not end:
        return Finding(False, f"Stopped at {stopped}; it was not proved to serve again.", "See the recovery.", stopped)
    lasted = _seconds(stopped, end)
    text = f"Stopped at {stopped}, serving again at {end}, {lasted:.0f} s later."
    if lasted < wanted:
        gap = f"It was to be away for {wanted:g} s; something else started it. Who, and may it?"
        return Finding(False, text, gap, stopped)
    return Finding(True, text, "", stopped)


def _alert(facts: Facts) -> Finding:
    name, limit = facts["settings"]["alert"], float(facts["settings"]["alert_within"])
    if not name:
        return Finding(None, "Turned off.", "Rehearsed without an alert: would anybody have come?")
    alert, stopped = facts["alert"], facts["stopped_at"]
    if not stopped or not alert:
        return Finding(False, "It was not waited for.", f"Whether {name} fires is not known.")
    if alert.get("firing") is None:
        text = str(alert.get("message") or alert.get("msg"))
        return Finding(False, text, "Alertmanager can't be asked, so nobody would have been told.")
    if not alert["firing"]:
        gap = f"{name} did not fire in {limit:g} s: is its rule loaded, its target scraped, or is it silenced?"
        return Finding(False, str(alert.get("message")), gap, alert.get("at") or "")
    lag = _seconds(stopped, alert["at"])
    text = f"{name} fired {lag:.0f} s after the stop."
    gap = "" if lag < limit else f"Later than {limit:g} s: look at scrape interval, 'for' and group_wait."
    return Finding(lag < limit, text, gap, alert["at"])


def _diagnosis(facts: Facts) -> Finding:
    cause = facts["verdict"].get("cause")
    if cause in STOPPED:
        return Finding(True, f"Named {cause}: {facts['verdict'].get('headline') or facts['verdict'].get('title')}")
    gap = f"The broker was stopped, and the diagnosis says {cause or 'nothing'}."
    return Finding(False, f"Named {cause or 'nothing'}.", gap)


def _health(facts: Facts) -> Finding:
    watch, limit = facts["watch"], int(facts["settings"]["bad_in_a_row"])
    blind = _blind(facts)
    if blind:
        return Finding(False, blind, "The backends were not watched all the time, so nothing is proved.")
    worst = {target["name"]: target["worst_run"] for target in watch["targets"]}
    down = [
        f"{name}: {run['count']} from {run['start']} to {run['end']} ({', '.join(run['seen'])})"
        for name, run in worst.items()
        if run["count"] >= limit
    ]
    text = "The longest runs: " + ", ".join(f"{name} {run['count']}" for name, run in worst.items()) + "."
    probes = sum(target["probes"] for target in watch["targets"])
    if down:
        gap = f"A user-facing API must not depend on the broker: {limit} bad answers in a row, or more."
        return Finding(False, f"{probes} probes. Bad in a row: {'; '.join(down)}.", gap)
    return Finding(True, f"{probes} probes. {text}")


def _blind(facts: Facts) -> str:
    """Return why the watch does not prove anything; empty when it does."""
    watch, interval = facts["watch"], float(facts["settings"]["interval"])
    if not watch.get("targets"):
        return f"No watch: {watch.get('msg') or 'it has no result'}"
    for target in watch["targets"]:
        if not target["probes"] or (facts["stopped_at"] and target["first_at"] > facts["stopped_at"]):
            return f"{target['name']} was not probed before the broker was stopped."
        if target["longest_gap"] > MISSED * interval:
            return f"{target['name']} was not probed for {target['longest_gap']:g} s."
    return ""


def _recovery(facts: Facts) -> Finding:
    recovery = facts["recovery"]
    record = recovery["record"]
    if recovery["failure"]:
        return Finding(False, recovery["failure"], "The command of the runbook did not mend it to the end.")
    if not record.get("id") or record.get("open"):
        return Finding(False, "No incident was opened and closed.", "Somebody else has mended it, or nobody.")
    served = (record.get("milestones") or {}).get("drained") or "unknown"
    return Finding(True, f"{record['summary']} Drained at {served}.")


def _back(facts: Facts) -> Finding:
    served, limit = _served(facts), float(facts["settings"]["back_within"])
    if not served:
        return Finding(False, "The broker was not proved to serve again.", "Nobody knows what the backends do then.")
    late: list[str] = []
    seen: list[str] = []
    for target in facts["watch"].get("targets") or []:
        name = target["name"]
        answers = [
            probe["at"]
            for probe in facts["watch"]["probes"]
            if probe["target"] == name and probe["status"] == 200 and probe["at"] >= served
        ]
        after = _seconds(served, answers[0]) if answers else None
        (late if after is None or after > limit else seen).append(
            f"{name} {'never' if after is None else f'after {after:.0f} s'}"
        )
    if late or not seen:
        gap = f"A backend must answer 200 within {limit:g} s of the broker's return, without a restart."
        return Finding(False, f"200 again: {', '.join([*late, *seen]) or 'nobody was asked'}.", gap)
    return Finding(True, f"200 after the broker's return: {', '.join(seen)}.")


def _silent(facts: Facts) -> Finding:
    """With confirms a drop that nobody noted is a fault of the backend; without, it can only be found afterwards."""
    accounted = (facts["recovery"]["record"].get("accounting") or {}).get("rows") or []
    rows = [row for row in accounted if row["queue"]]  # what has no queue is in no table of the database either
    if not rows:
        return Finding(False, "Nothing was accounted for.", "What was lost in silence is not known.")
    silent = {row["queue"]: row["silent"]["ids"] for row in rows if row["silent"]["ids"]}
    found = "; ".join(f"{queue}: {_some(ids)}" for queue, ids in silent.items())
    blind = [row["queue"] for row in rows if row["dropped"]["state"] == "unknown"]
    bounded = [row["queue"] for row in rows if row["silent"]["count"] is None]
    text = f"{sum(row['dropped']['count'] or 0 for row in rows)} drops noted in a log or in Sentry"
    text += f"; not noted, found in the database: {found}" if found else "; the database shows none besides"
    text += f"; the database can't tell for {', '.join(bounded)}." if bounded else "."
    window = facts["recovery"]["record"]["accounting"].get("window") or {}
    if facts["ordered_at"] and str(window.get("start") or "") > facts["ordered_at"]:
        gap = f"The audit begins at {window['start']}, after the stop at {facts['ordered_at']}: it has not seen all."
        return Finding(False, text, gap)
    if not facts["settings"]["publisher_confirms"]:
        unknown = f" Unknown: {', '.join(bounded)}." if bounded else ""
        gap = "Without publisher confirms an event may vanish in silence." + unknown
        return Finding(True, text, gap if found or bounded else "")
    if blind:
        return Finding(False, text, f"Neither log nor Sentry could be read for {', '.join(blind)}.")
    if found:
        return Finding(False, text, "Events were lost in silence: neither a backend's log nor Sentry has them.")
    nothing = not any(row["dropped"]["count"] for row in rows)
    return Finding(True, text, "No event was dropped, so this was not put to the test." if nothing else "")


def _process(facts: Facts) -> Finding:
    before, after = ({host: identity(told) for host, told in facts[when].items()} for when in ("before", "after"))
    if not before:
        return Finding(None, "Turned off.", "Whether an API process was restarted is not known.")
    unread = sorted(host for host in before if not before[host] or not after.get(host))
    changed = sorted(host for host in before if host not in unread and before[host] != after[host])
    if unread:
        return Finding(False, f"It can't be told for {', '.join(unread)}.", "Whether it was restarted is not known.")
    if changed:
        told = "; ".join(f"{host}: {before[host]} became {after[host]}" for host in changed)
        return Finding(False, f"Another process: {told}.", "The runbook forbids a restart of the backend.")
    return Finding(True, f"The same process on {', '.join(sorted(before))}.")


def _served(facts: Facts) -> str:
    """Return when the broker was proved to serve again; empty when it never was."""
    return str(((facts["recovery"]["record"].get("milestones")) or {}).get("serving") or "")


def _seconds(start: str, end: str) -> float:
    return (instant(end) - instant(start)).total_seconds()


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{', '.join(ids[:NAMED])}{more}"


@dataclass(frozen=True)
class Check:
    """One thing that a game day asks for."""

    name: str
    title: str
    runbook: str
    judge: Callable[[Facts], Finding]


CHECKS = (
    Check("outage", "The broker was away for {outage_seconds} s", "RabbitMQ instance is down", _outage),
    Check("alert", "The alert fires within {alert_within} s", "Alert RabbitMQUnreachable", _alert),
    Check("diagnosis", "The diagnosis names the cause", "First moves", _diagnosis),
    Check("health", "No {bad_in_a_row} bad answers in a row", "What breaks when RabbitMQ is down", _health),
    Check("recovery", "One command recovers", "Recovery", _recovery),
    Check("back", "Each backend answers 200 within {back_within} s of the return", "Recovery", _back),
    Check("silent", "No event is lost in silence", "Audit after the outage", _silent),
    Check("process", "The API process is the same", "Mitigation while RabbitMQ is down", _process),
)
