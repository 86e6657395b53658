#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: incident
short_description: Keep the record of an outage, and the lease of the run that mends it
version_added: 0.1.0
author: Veza infrastructure team (@veza-infra)
description:
  - Keeps what is known about an incident in one append-only file of JSON lines, on the host that the task runs on.
  - Events have keys, so that a run that is started again from the top does not repeat what stands there already.
  - A second duty is the site's lease, which keeps two runs from acting at the same time. Each new holder gets a larger
    token (a fencing token); a run checks its token before each task that acts, and stops when it is no longer valid.
  - O(state) and O(lease) can be used in one task. Then the record is only written when the lease was granted.
  - The files are C(<dir>/<site>/<id>.jsonl) and C(<dir>/<site>/lease.json), with mode 0600 in a directory of mode 0700.
    Every write is made under a lock and is on the disk when the task ends. A line that a crash cut short is healed.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - The record and the lease are only read. A lease that somebody else holds is reported, it does not fail the task.
  diff_mode:
    support: full
    details:
      - The diff is the line that is added to the record.
  idempotent:
    support: full
    details:
      - C(changed) is about the record alone. A lease leaves nothing that lasts and never counts as a change.
options:
  dir:
    description:
      - Absolute path of the directory that holds all sites' records, on the host that the task runs on.
      - Choose one that outlives the controller, and never the broker's own data volume.
    type: path
    default: /var/lib/veza/incidents
  site:
    description:
      - The site that the incident and the lease belong to. Letters, digits, dots, hyphens and underscores.
    type: str
    required: true
  state:
    description:
      - V(opened) opens an incident. When the site has an open one, or one with this O(key), that one is returned and
        nothing is written.
      - V(appended) adds one event, and V(closed) ends the incident.
      - V(read) returns the incident O(id), else the site's open one, else its latest (see O(latest)), and never writes.
        That there is none is no failure.
      - V(appended) and V(closed) mean the incident O(id), else the open one.
        V(appended) fails where there is none; V(closed) then has nothing to do.
    type: str
    choices: [opened, appended, closed, read]
  id:
    description:
      - The incident that is meant. One that is closed already can still be read and appended to, since an audit may be
        finished later.
    type: str
  latest:
    description:
      - Which is the latest, for O(state=read). V(outage) passes over those that were opened with a O(key), such as the
        audit of a window of long ago, unless there are no others. V(any) takes whichever was opened last.
    type: str
    choices: [outage, any]
    default: outage
  overlapping:
    description:
      - A window, for O(state=read). RV(overlapping) then tells which other records have accounted for a part of it.
    type: dict
    suboptions:
      start:
        description: Its beginning, an instant with an offset.
        type: str
        required: true
      end:
        description: Its end, likewise.
        type: str
        required: true
  type:
    description:
      - The event's type, in lower case, for O(state=appended).
        The report understands V(verdict), V(began), V(plan), V(action), V(serving), V(drained), V(audit), V(note) and
        V(failed).
    type: str
  key:
    description:
      - What the event is about, for O(state=appended). An event with the same type and key is not written again.
      - For O(state=opened) what the incident is about, such as the window of an audit. One that was opened with the
        same key is returned also when it is closed, so that whoever asks twice goes on where the first left off. It
        is never taken for the incident that is open.
    type: str
  data:
    description:
      - What there is to say, as plain data, for O(state=opened) and O(state=appended).
      - It is stored as it is given, and shown in the diff. Leave secrets out of it.
      - With O(state=opened) it holds C(cause), C(title), C(headline), C(proof) and, about the outage's beginning,
        C(started_at) (an instant with an offset), C(start_source) and C(confidence).
    type: dict
    default: {}
  on_same_key:
    description:
      - What to do when the record has an event with the same type and key but other data.
      - V(keep) lets the one that stands there stand; V(replace) adds another one that supersedes it.
    type: str
    choices: [keep, replace]
    default: keep
  events:
    description:
      - Events to append in the same task, for O(state=opened), whether the incident is opened by it or is open already.
    type: list
    elements: dict
    default: []
    suboptions:
      type:
        description: As O(type).
        type: str
        required: true
      key:
        description: As O(key).
        type: str
        required: true
      data:
        description: As O(data).
        type: dict
        default: {}
      on_same_key:
        description: As O(on_same_key).
        type: str
        choices: [keep, replace]
        default: keep
  reason:
    description:
      - Why the incident is closed, for O(state=closed).
    type: str
    default: The outage is over.
  phase:
    description:
      - What the run is doing, in a word. It is stored with the event and shown to whoever is refused the lease.
      - When it is left out, the lease keeps the phase that it has.
    type: str
  lease:
    description:
      - V(acquired) takes the lease, or renews it where this run has it. The task fails when another run holds it, and
        says who that is. It is taken over when it has expired, and at once when the holder was a run on the same
        controller whose process has ended.
      - V(checked) renews the lease O(token) and fails when it isn't this run's any more.
        A lease that has expired but that nobody has taken is still the run's.
      - V(released) gives the lease back. A lease that isn't this run's is left alone, which is no failure.
      - V(aborted) asks the run that holds the lease, whichever that is, to stop. Its next V(checked) fails, so it stops
        before its next action. That nobody holds it is no failure.
    type: str
    choices: [acquired, checked, released, aborted]
  token:
    description:
      - The RV(token) that V(acquired) returned, for O(lease=checked) and O(lease=released).
    type: int
  previous_token:
    description:
      - The token that the lease had when the caller looked at the site, V(0) for none, for O(lease=acquired). The task
        fails when another run has had the lease since, as what was seen then may be over.
    type: int
  ttl:
    description:
      - Seconds until the lease expires unless it is renewed, counted by the clock of the host that keeps it.
      - It should be longer than the longest task between two checks.
    type: int
    default: 120
  eta_at:
    description:
      - When the phase is expected to end, as an instant with an offset. It is kept until O(phase) changes.
    type: str
  holder:
    description:
      - The run that asks. The action plugin fills it in; what a task says here is ignored.
    type: dict
    default: {}
  dead_token:
    description:
      - The token of a holder that the action plugin found to be dead. What a task says here is ignored.
    type: int
notes:
  - Run it on one host of the play, with C(delegate_to) for the host that keeps the record.
  - A holder that was killed may leave one task running on a managed host. Its lease is taken over all the same.
seealso:
  - plugin: veza.rabbitmq.outage_record
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Take the lease and open the incident
  veza.rabbitmq.incident:
    site: paris
    lease: acquired
    phase: diagnose
    state: opened
    data:
      cause: broker_crashed
      title: The broker crashed
      proof: ["the port refuses connections", "the log ends without a shutdown"]
      started_at: "2026-01-31T02:03:04Z"
      start_source: the last line of the broker's log
      confidence: high
  delegate_to: "{{ veza_incident_host }}"
  register: incident

- name: See that nobody else took over, before the broker is started
  veza.rabbitmq.incident:
    site: paris
    lease: checked
    token: "{{ incident.token }}"
    phase: act
  delegate_to: "{{ veza_incident_host }}"

- name: Record that the broker was started
  veza.rabbitmq.incident:
    site: paris
    state: appended
    id: "{{ incident.id }}"
    type: action
    key: "start:{{ inventory_hostname }}"
    data: {name: Start the broker, target: "{{ inventory_hostname }}", changed: true, result: started}
  delegate_to: "{{ veza_incident_host }}"

- name: Close the incident and give the lease back
  veza.rabbitmq.incident:
    site: paris
    state: closed
    lease: released
    token: "{{ incident.token }}"
  delegate_to: "{{ veza_incident_host }}"

- name: Ask who is recovering what
  veza.rabbitmq.incident:
    site: paris
    state: read
  delegate_to: "{{ veza_incident_host }}"
  register: status
"""

RETURN = r"""
msg:
  description: What was done or found, in one sentence.
  returned: always
  type: str
site:
  description: The site.
  returned: always
  type: str
directory:
  description: The directory of the site's files.
  returned: always
  type: str
found:
  description: Whether the incident that is meant exists (with O(state=opened), after the task).
  returned: O(state) is given
  type: bool
id:
  description: The incident's id. In check mode O(state=opened) may make one up, that only this run knows.
  returned: O(state) is given
  type: str
  sample: 20260131T020310Z-paris-3f9a
open:
  description: Whether the incident is open.
  returned: O(state) is given
  type: bool
file:
  description: The path of the incident's file.
  returned: O(state) is given
  type: str
damaged:
  description: How many lines of the file can't be read. They are passed over.
  returned: O(state) is given
  type: int
event:
  description:
    - The event that was added, or the one with the same key that stands already. Null where there is none.
    - It has C(seq), C(at), C(type), C(key), C(phase), C(by) and C(data).
  returned: O(state) is V(opened), V(appended) or V(closed)
  type: dict
events:
  description:
    - All events, oldest first, superseded ones too. The filter P(veza.rabbitmq.outage_record#filter) reads them.
  returned: O(state=read)
  type: list
  elements: dict
free:
  description: Bytes that are free where the records are, or would be. Null where that can't be told.
  returned: O(state=read)
  type: int
recent_actions:
  description: What the site's incidents of the last day have done, oldest first, whichever incident is meant.
  returned: O(state=read)
  type: list
  elements: dict
  contains:
    at: {description: "When it was done, UTC.", type: str}
    name: {description: "Name of the action.", type: str}
    target: {description: "What it was done to.", type: str}
    incident: {description: "In which incident.", type: str}
overlapping:
  description: >-
    The site's other records with an event whose data have a C(window) that overlaps O(overlapping), such as an audit.
  returned: O(state=read) and O(overlapping) is given
  type: list
  elements: dict
  contains:
    incident: {description: "Its id.", type: str}
    actions:
      description: "The data of its actions that have C(tracks), in their order."
      type: list
      elements: dict
aborted:
  description: Whether a holder was there that has been asked to stop.
  returned: O(lease) is given
  type: bool
lease:
  description: The lease after the task (in check mode, before it). Null when nobody has ever had it.
  returned: always
  type: dict
  contains:
    token: {description: "The number of the holder, growing.", type: int}
    held: {description: "Whether anybody has it.", type: bool}
    holder:
      description: Who has it, with C(host), C(user), C(pid), C(playbook), C(job) and more. Null when it is free.
      type: dict
    acquired_at: {description: "Since when, UTC.", type: str}
    renewed_at: {description: "When it was renewed last, UTC.", type: str}
    expires_at: {description: "Until when, UTC.", type: str}
    expired: {description: "Whether that time is over.", type: bool}
    remaining: {description: "Seconds until then.", type: float}
    ttl: {description: "Seconds that a renewal gives.", type: int}
    phase: {description: "What the holder is doing.", type: str}
    eta_at: {description: "When it expects that to end.", type: str}
    abort: {description: "C(at) and C(by) of who asked the holder to stop, else null.", type: dict}
token:
  description: The caller's token, in check mode the one that it would get. Null when it was refused or released.
  returned: O(lease) is given
  type: int
acquired:
  description: Whether the caller got the lease anew.
  returned: O(lease) is given
  type: bool
renewed:
  description: Whether the caller had the lease and keeps it.
  returned: O(lease) is given
  type: bool
released:
  description: Whether the caller had the lease and gave it back.
  returned: O(lease) is given
  type: bool
refused:
  description:
    - V(held) when another run has the lease, V(lost) when the caller's token is not valid any more, V(stopped) when
      somebody asked the caller to stop, V(overtaken) when another run has had it since O(previous_token), else null.
  returned: O(lease) is given, failures included
  type: str
taken_over:
  description: The C(holder) before, and the C(reason) why it lost the lease. Null when it was not taken over.
  returned: O(lease) is given
  type: dict
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._deadline import LONGEST
from ..module_utils._errors import BadInput, Refused, VezaError
from ..module_utils._lease import DECISIONS, Asked, Decision, view
from ..module_utils._record import Incident, SiteDirectory, encode, instant, stamp

RECENT = timedelta(days=1)
"""How far back actions count for a budget."""

OPENED = "opened"
"""The key of an opening without one."""

NO_INCIDENT = "No incident is open for site {site}, and none was named. Open one first, with state=opened."


@dataclass(frozen=True)
class Plan:
    """What becomes of the record: the incident that is meant, and the event that stands already or is to be added."""

    incident: Incident | None
    message: str
    stands: dict[str, Any] | None = None
    added: dict[str, Any] | None = None


@dataclass(frozen=True)
class Request:
    """A task's parameters with everything that a plan may depend on."""

    params: dict[str, Any]
    site: SiteDirectory
    now: datetime
    nonce: Callable[[], str]
    check_mode: bool

    def named(self) -> Incident | None:
        """Return the incident that ``id`` names; None when none is named, or when check mode made it up."""
        if not self.params["id"]:
            return None
        incident = self.site.read(self.params["id"])
        if incident is None and not self.check_mode and self.params["state"] != "read":
            raise BadInput(f"There is no incident {self.params['id']} in {self.site.path}.")
        return incident

    def open(self) -> Incident | None:
        """Return the site's open incident. What was opened with a key is found by that key, or its id, only."""
        return next((found for found in self.site.incidents() if found.open and found.events[0]["key"] == OPENED), None)

    def same(self) -> Incident | None:
        """Return the latest incident that was opened with ``key``."""
        key = self.params["key"]
        return next((found for found in self.site.incidents() if key and found.events[0]["key"] == key), None)

    def latest(self) -> Incident | None:
        """Return the site's latest incident of the kind that is asked for, else the latest of all."""
        outages = (found for found in self.site.incidents() if found.events[0]["key"] == OPENED)
        outage = next(outages, None) if self.params["latest"] == "outage" else None
        return outage or next(self.site.incidents(), None)

    def event(self, incident: Incident, kind: str, key: str, data: dict[str, Any]) -> dict[str, Any]:
        """Return the event that would be added to that incident now."""
        holder = self.params["holder"]
        return {
            "seq": incident.next_seq,
            "at": stamp(self.now),
            "type": kind,
            "key": key,
            "phase": self.params["phase"],
            "by": {"user": holder.get("user"), "host": holder.get("host")},
            "data": data,
        }


def opened(request: Request) -> Plan:
    """Plan an open incident: the one that was opened with the same key, else the one that is open, else a new one."""
    data, named = request.params["data"], request.named()
    if named is not None and not named.open:
        raise Refused(f"Incident {named.id} is closed; leave id out to open a new one.")
    incident = named or request.same() or request.open()
    if incident is not None:
        how = "open" if incident.open else "there"
        return Plan(incident, f"Incident {incident.id} is {how} already.", incident.events[0])
    if data.get("started_at"):
        instant(data["started_at"], "data.started_at")
    name = f"{request.now:%Y%m%dT%H%M%SZ}-{request.site.site}-{request.nonce()}"
    incident = Incident(name, [])
    known = {**data, "id": name, "site": request.site.site}
    event = request.event(incident, "opened", request.params["key"] or OPENED, known)
    return Plan(incident, f"Incident {name} is opened.", added=event)


def appended(request: Request) -> Plan:
    """Plan an event, unless the record has it."""
    incident = request.named() or (None if request.params["id"] else request.open())
    if incident is None:
        if not request.check_mode:
            raise Refused(NO_INCIDENT.format(site=request.site.site))
        incident = Incident(request.params["id"] or "", [])
    return _append(request, incident, request.params)


def _append(request: Request, incident: Incident, what: Mapping[str, Any]) -> Plan:
    kind, key, data = (what[name] for name in ("type", "key", "data"))
    if not re.fullmatch(r"[a-z][a-z0-9_]*", kind) or kind in ("opened", "closed"):
        raise BadInput(f"type is {kind!r}; it must be lower case, and opening and closing have a state of their own.")
    stands = incident.latest(kind, key)
    if stands is not None and stands["data"] == data:
        return Plan(incident, f"The record has {kind} {key} already.", stands)
    if stands is not None and what["on_same_key"] == "keep":
        return Plan(incident, f"The record has {kind} {key} with other data, which is kept.", stands)
    return Plan(incident, f"{kind} {key} is recorded.", added=request.event(incident, kind, key, data))


def further(request: Request, opened_by: Plan) -> list[dict[str, Any]]:
    """Return the events that ``events`` adds to an incident that is opened, or open."""
    before = opened_by.incident or Incident("", [])
    incident = Incident(before.id, [*before.events, *([opened_by.added] if opened_by.added else [])])
    begun = len(incident.events)
    for what in request.params["events"]:
        added = _append(request, incident, what).added
        incident.events.extend([added] if added else [])
    return incident.events[begun:]


def closed(request: Request) -> Plan:
    """Plan the end of an incident."""
    incident = request.named() or (None if request.params["id"] else request.open())
    if incident is None:
        return Plan(None, "No incident is open.")
    if not incident.open:
        stands = [event for event in incident.events if event["type"] == "closed"]
        return Plan(incident, f"Incident {incident.id} is closed already.", stands[-1] if stands else None)
    event = request.event(incident, "closed", "closed", {"reason": request.params["reason"]})
    return Plan(incident, f"Incident {incident.id} is closed.", added=event)


def read(request: Request) -> Plan:
    """Find the incident that is meant."""
    incident = request.named()
    if incident is None and not request.params["id"]:
        incident = request.open() or request.latest()
    if incident is None:
        return Plan(None, f"There is no such incident in {request.site.path}.")
    return Plan(incident, f"Incident {incident.id} is {'open' if incident.open else 'closed'}.")


PLANS = {"opened": opened, "appended": appended, "closed": closed, "read": read}


def record_result(request: Request, plan: Plan) -> dict[str, Any]:
    """Return the part of the result that is about the record."""
    incident, added = plan.incident, plan.added
    name = incident.id if incident else request.params["id"]
    events = [*(incident.events if incident else []), *([added] if added else [])]
    result = {
        "changed": added is not None,
        "found": bool(events),
        "id": name,
        "open": Incident(name or "", events).open,
        "file": request.site.record_path(name) if name else None,
        "damaged": incident.damaged if incident else 0,
    }
    if added is not None:
        result["diff"] = {"before": "", "after": encode(added).decode(), "after_header": result["file"] or ""}
    if request.params["state"] != "read":
        return {**result, "event": added or plan.stands}
    if request.params["overlapping"]:
        result["overlapping"] = overlapping(request, name)
    return {**result, "events": events, "recent_actions": recent_actions(request), "free": request.site.free()}


def overlapping(request: Request, own: str | None) -> list[dict[str, Any]]:
    """Return what other records tell of a part of the window that was asked for, oldest first."""
    start, end = (stamp(instant(request.params["overlapping"][name])) for name in ("start", "end"))
    found = []
    for incident in request.site.incidents():
        spans = [span(event["data"].get("window")) for event in incident.events]
        if incident.id != own and any(known and known[0] < end and known[1] > start for known in spans):
            actions = [event["data"] for event in incident.events if event["type"] == "action"]
            found.append({"incident": incident.id, "actions": [data for data in actions if "tracks" in data]})
    return found[::-1]


def span(window: Any) -> tuple[str, str] | None:
    """Return a window's two instants; None if there are none that can be read: it may be anybody's event."""
    try:
        return stamp(instant(window["start"])), stamp(instant(window["end"]))
    except (BadInput, KeyError, TypeError):
        return None


def recent_actions(request: Request) -> list[dict[str, Any]]:
    """Return what was done in the incidents of the last day, superseded events included, oldest first."""
    since = stamp(request.now - RECENT)
    done = []
    for incident in request.site.incidents():
        if not incident.events or incident.events[-1]["at"] < since:
            break
        for event in incident.events:
            if event["type"] == "action" and event["at"] >= since and event["data"].get("changed", True):
                named = {name: str(event["data"].get(name)) for name in ("name", "target")}
                done.append({"at": event["at"], **named, "incident": incident.id})
    return sorted(done, key=lambda action: str(action["at"]))


def decide_lease(request: Request, lease: dict[str, Any] | None) -> tuple[Decision, dict[str, Any]]:
    """Return what becomes of the lease, and the part of the result that is about it."""
    names = ("holder", "ttl", "token", "phase", "eta_at", "dead_token", "previous_token")
    asked = Asked(**{name: request.params[name] for name in names})
    # Check mode takes no lease, so what the real run would check is the one that it would have taken before.
    what = "acquired" if request.check_mode and request.params["lease"] == "checked" else request.params["lease"]
    decision = DECISIONS[what](lease, asked, request.now)
    granted = decision.lease if decision.what in ("acquired", "renewed") else None
    return decision, {
        "token": granted["token"] if granted else None,
        "acquired": decision.what == "acquired",
        "renewed": decision.what == "renewed",
        "released": decision.what == "released",
        "aborted": decision.what == "aborted",
        "refused": decision.what if decision.refused else None,
        "taken_over": decision.taken_over,
    }


def work(request: Request) -> dict[str, Any]:
    """Decide about lease and record, write what was decided unless in check mode, and return the result."""
    params, site = request.params, request.site
    lease = site.lease()
    result: dict[str, Any] = {"changed": False, "site": site.site, "directory": site.path}
    said = []
    new_lease, plan = None, None
    added: list[dict[str, Any]] = []
    if params["lease"]:
        decision, about = decide_lease(request, lease)
        result, new_lease = {**result, **about}, decision.lease
        said.append(decision.message)
        if decision.refused and not request.check_mode:
            raise Refused(decision.message, lease=view(lease, request.now), **result)
    if params["state"]:
        plan = PLANS[params["state"]](request)
        result.update(record_result(request, plan))
        said.append(plan.message)
        added = [*([plan.added] if plan.added else []), *(further(request, plan) if params["events"] else [])]
        result["changed"] = bool(added)
    for event in added:
        encode(event)  # what can't be written must fail before the lease and the events before it are
    if not request.check_mode:
        if new_lease is not None:
            site.write_lease(new_lease)
            lease = new_lease
        for event in added:
            site.append(result["id"], event)
    return {**result, "lease": view(lease, request.now), "msg": " ".join(said)}


def run(
    params: dict[str, Any],
    check_mode: bool,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    nonce: Callable[[], str] = lambda: secrets.token_hex(2),
) -> dict[str, Any]:
    """Do what the task asks; VezaError when that can't be done or may not be done."""
    site = SiteDirectory(params["dir"], params["site"])
    if params["lease"] and params["ttl"] < 1:
        raise BadInput(f"ttl is {params['ttl']}; a lease of less than a second protects nobody.")
    if params["lease"] and params["ttl"] > LONGEST:
        raise BadInput(f"ttl is {params['ttl']}; it must be at most {LONGEST:.0f} s.")
    if params["events"] and params["state"] != "opened":
        raise BadInput("events go with state=opened only.")
    if params["eta_at"]:
        params = {**params, "eta_at": stamp(instant(params["eta_at"], "eta_at"))}
    reads = params["state"] == "read" and not params["lease"]
    creates = params["state"] == "opened" or params["lease"] == "acquired"
    if check_mode or reads or not (creates or site.exists()):
        return work(Request(params, site, now(), nonce, check_mode))
    with site.locked():
        # The time is taken when the lock is held: waiting for the lock must not make a lease look younger.
        return work(Request(params, site, now(), nonce, check_mode))


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        "dir": {"type": "path", "default": "/var/lib/veza/incidents"},
        "site": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["opened", "appended", "closed", "read"]},
        "id": {"type": "str"},
        "latest": {"type": "str", "choices": ["outage", "any"], "default": "outage"},
        "overlapping": {
            "type": "dict",
            "options": {"start": {"type": "str", "required": True}, "end": {"type": "str", "required": True}},
        },
        "type": {"type": "str"},
        "key": {"type": "str", "no_log": False},
        "data": {"type": "dict", "default": {}},
        "on_same_key": {"type": "str", "choices": ["keep", "replace"], "default": "keep"},
        "events": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "type": {"type": "str", "required": True},
                "key": {"type": "str", "required": True, "no_log": False},
                "data": {"type": "dict", "default": {}},
                "on_same_key": {"type": "str", "choices": ["keep", "replace"], "default": "keep"},
            },
        },
        "previous_token": {"type": "int", "no_log": False},
        "reason": {"type": "str", "default": "The outage is over."},
        "phase": {"type": "str"},
        "lease": {"type": "str", "choices": ["acquired", "checked", "released", "aborted"]},
        "token": {"type": "int", "no_log": False},
        "ttl": {"type": "int", "default": 120},
        "eta_at": {"type": "str"},
        "holder": {"type": "dict", "default": {}},
        "dead_token": {"type": "int", "no_log": False},
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_one_of=[("state", "lease")],
        required_if=[
            ("state", "appended", ("type", "key")),
            ("lease", "checked", ("token",)),
            ("lease", "released", ("token",)),
        ],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())


if __name__ == "__main__":
    main()
