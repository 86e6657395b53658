#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dmca_flush
short_description: Flush the DMCA caches of one API instance
version_added: 0.1.0
author: Veza infrastructure team (@veza-infra)
description:
  - Makes one API instance forget what it has cached about DMCA takedowns, so that a track that was taken down while
    events were lost is gated in its caches too.
  - One call serves all takedowns, however many events were dropped, because the endpoint takes no id. Each instance
    has a cache of its own, so run the module once for each.
  - It is harmless to repeat. Nothing is skipped because a number is unknown; only a certain zero skips.
  - Lost connections, C(429) and C(5xx) are tried again, all within O(timeout).
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._tls
attributes:
  check_mode:
    support: full
    details:
      - Nothing is sent. It is not checked whether O(token) would be accepted.
  diff_mode:
    support: none
    details:
      - What the caches hold can't be read.
  idempotent:
    support: none
    details:
      - Each call flushes. The API doesn't tell whether there was anything to forget.
requirements:
  - requests
  - jmespath, when O(proof) is given
options:
  api_url:
    description:
      - URL of the API instance, without user, password or query, for instance V(https://api.veza.fr).
    type: str
    required: true
  path:
    description:
      - Path of the flush endpoint.
    type: str
    default: /api/v1/admin/cache/dmca/flush
  token:
    description:
      - Token of an administrator, sent as a bearer token. It appears in no output, not even when the API
        echoes it.
    type: str
    required: true
  dropped:
    description:
      - How many takedown events were dropped, as far as known.
      - Only V(0) skips the flush. Leave it out, or give a null, where the number is not known exactly.
    type: int
  proof:
    description:
      - JMESPath expression over the JSON answer. Anything but V(true) fails the module.
      - Without it, a JSON, an empty or a plain text answer with a status of C(2xx) is believed.
    type: str
  proof_path:
    description:
      - Path that is read with GET after the flush, with the same token. Its answer is then judged by O(proof_status)
        and, where it is given, O(proof), instead of the flush's.
      - Without O(proof), name a track that was taken down, by a path that passes the cache and answers an
        administrator as it answers a listener.
    type: str
  proof_status:
    description:
      - The statuses of which O(proof_path) must answer one. Any other fails the module.
      - Left out or empty, it is any C(2xx) with O(proof), which needs an answer to read. Without O(proof) it is V(404),
        V(410) or V(451), as an API answers for a track that was taken down; a V(200) then means that the track is
        still served.
      - A mistyped path answers V(404) as well. Where the API sends V(410) or V(451), name that alone.
    type: list
    elements: int
    default: []
  retries:
    description:
      - How many more times a request is tried after the first.
    type: int
    default: 8
  timeout:
    description:
      - Seconds for everything together, waits included.
    type: float
    default: 30
  request_timeout:
    description:
      - Seconds for each request.
    type: float
    default: 10
seealso:
  - module: veza.rabbitmq.eventbus_dropped_info
"""

EXAMPLES = r"""
- name: Flush the DMCA caches of every API instance
  veza.rabbitmq.dmca_flush:
    api_url: "{{ item }}"
    token: "{{ veza_api_admin_token }}"
  loop:
    - https://backend-1.veza.fr
    - https://backend-2.veza.fr

- name: Flush only if takedowns were lost, and believe only an answer that says how many entries went
  veza.rabbitmq.dmca_flush:
    api_url: https://api.veza.fr
    token: "{{ veza_api_admin_token }}"
    dropped: "{{ dropped_takedowns }}"  # null where unknown
    proof: type(flushed) == 'number'

- name: Flush, and believe it when a track that was taken down is not served any more
  veza.rabbitmq.dmca_flush:
    api_url: https://backend-1.veza.fr
    token: "{{ veza_api_admin_token }}"
    proof_path: /api/v1/tracks/4711
    proof_status: [451]
"""

RETURN = r"""
flushed:
  description: Whether the API confirmed a flush.
  type: bool
  returned: always
skipped_flush:
  description: Whether nothing was sent, because exactly no takedown event was dropped.
  type: bool
  returned: always
url:
  description: The endpoint.
  type: str
  returned: always
  sample: https://api.veza.fr/api/v1/admin/cache/dmca/flush
attempts:
  description: How many times the flush was sent.
  type: int
  returned: always
status:
  description: Status of the last answer to the flush; null if there was none.
  type: int
  returned: always
answer:
  description: The answer to the flush, as JSON if it is, else the start of its text; the token is masked.
  type: raw
  returned: always
proved:
  description:
    - Whether O(proof) was true and O(proof_path) had one of O(proof_status). Null if neither O(proof) nor O(proof_path)
      is given, or it was not looked at.
  type: bool
  returned: always
message:
  description: What happened, in a sentence.
  type: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._arguments import tls, tls_arguments
from ..module_utils._deadline import check_durations
from ..module_utils._errors import BadInput, RequestFailed, VezaError
from ..module_utils._http import HttpClient, Reply
from ..module_utils._jmespath import compiled
from ..module_utils._mask import scrub
from ..module_utils._retry import Pace, Sent, bearer, checked_url, send

ADVICE = {
    301: "is api_url the public one, with https?",
    302: "is api_url behind a login page?",
    307: "is api_url the public one, with https?",
    308: "is api_url the public one, with https?",
    401: "the token is wrong or has expired.",
    403: "the token is known but is not an administrator's.",
    404: "this API has no such endpoint: check api_url and path.",
    405: "the endpoint takes no POST: check path.",
    429: "the API limits the rate: try again later.",
}


BEFORE_HTML = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
"""Bytes that may stand before a page's first angle bracket: marks of UTF-8 and UTF-16, the latter's zeros, spaces."""

GONE = (404, 410, 451)
"""What an API answers for a track that was taken down: not found, gone, unavailable for legal reasons."""


def argument_spec() -> dict[str, Any]:
    """Return the options, as DOCUMENTATION describes them."""
    return {
        "api_url": {"type": "str", "required": True},
        "path": {"type": "str", "default": "/api/v1/admin/cache/dmca/flush"},
        "token": {"type": "str", "required": True, "no_log": True},
        "dropped": {"type": "int"},
        "proof": {"type": "str"},
        "proof_path": {"type": "str"},
        "proof_status": {"type": "list", "elements": "int", "default": []},
        "retries": {"type": "int", "default": 8},
        "timeout": {"type": "float", "default": 30.0},
        "request_timeout": {"type": "float", "default": 10.0},
        **tls_arguments(),
    }


def run(params: dict[str, Any], *, check_mode: bool, pace: Pace | None = None) -> dict[str, Any]:
    """Flush and prove it; return the result. Errors carry the same keys, and never the token."""
    result: dict[str, Any] = {
        "changed": False,
        "flushed": False,
        "skipped_flush": False,
        "url": "",
        "attempts": 0,
        "status": None,
        "answer": None,
        "proved": None,
        "message": "",
    }
    pace = pace or Pace(params["timeout"], params["retries"])
    pace.secrets = [params["token"]]
    try:
        _flush(params, check_mode, pace, result)
    except VezaError as error:
        error.message = scrub(error.message, pace.secrets)
        error.args = (error.message,)
        error.details = scrub({**result, **error.details, "message": error.message}, pace.secrets)
        raise
    return scrub(result, pace.secrets)


def _flush(params: dict[str, Any], check_mode: bool, pace: Pace, result: dict[str, Any]) -> None:
    headers = _checked(params)
    base = checked_url(params["api_url"], "api_url")
    result["url"] = base + params["path"]
    if params["dropped"] == 0:
        result.update(skipped_flush=True, message="Not flushed: exactly 0 takedown events were dropped.")
        return
    if check_mode:
        result.update(changed=True, message=f"Would flush the DMCA caches by POST {result['url']}.")
        return
    client = HttpClient(base, headers=headers, tls=tls(params), timeout=params["request_timeout"])
    sent = send(client, "POST", params["path"], pace)
    result.update(attempts=sent.attempts, status=sent.reply.status, answer=_answer(sent.reply))
    _accepted("POST", sent)
    result.update(changed=True, flushed=True)
    proved = _prove(client, params, pace, sent, result) if params["proof"] or params["proof_path"] else ""
    count = f" after {sent.attempts} attempts" if sent.attempts > 1 else ""
    result["message"] = f"Flushed the DMCA caches by POST {result['url']}{count}{proved}."


def _checked(params: dict[str, Any]) -> dict[str, str]:
    """Return the headers to send; BadInput if an option means nothing. Nothing has been sent yet."""
    if params["dropped"] is not None and params["dropped"] < 0:
        raise BadInput("dropped can't be negative; leave it out where the number is unknown.")
    check_durations(params, ["timeout", "request_timeout"])
    for name in ("path", "proof_path"):
        if params[name] is not None and not params[name].startswith("/"):
            raise BadInput(f"{name} must begin with a slash.")
    if params["proof_status"] and not params["proof_path"]:
        raise BadInput("proof_status needs proof_path, whose answer it is about.")
    if not all(100 <= status <= 599 for status in params["proof_status"]):
        raise BadInput("proof_status must be statuses of HTTP, from 100 to 599.")
    if params["proof"]:
        compiled(params["proof"], "proof")
    return bearer(params["token"], "token")


def _answer(reply: Reply) -> Any:
    document = reply.json()
    return document if document is not None else reply.excerpt()


def _is_html(reply: Reply) -> bool:
    return "html" in reply.headers.get("content-type", "").lower() or reply.body.lstrip(BEFORE_HTML)[:1] == b"<"


def _accepted(method: str, sent: Sent) -> None:
    """Return if the API did what it was asked, else raise: a login page with status 200 is no success."""
    reply = sent.reply
    asked = f"{method} {reply.url}"
    if 200 <= reply.status < 300:
        if _is_html(reply):
            raise VezaError(
                f"{asked}: {reply.status} with an HTML page, which no API sends; is there a login page or a proxy in "
                f"front of it? {reply.excerpt()}"
            )
        return
    if reply.status < 200:  # early hints, for instance, which hide the answer that follows them
        unknown = "whether the flush was done" if method == "POST" else "what it would have answered"
        raise VezaError(f"{asked}: {reply.status}, which is no final answer: it is unknown {unknown}.")
    where = f" to {reply.headers['location']}" if "location" in reply.headers else ""
    advice = ADVICE.get(reply.status, "the API failed." if reply.status >= 500 else "the API refused.")
    gave_up = f" ({sent.gave_up})" if sent.gave_up else ""
    quoted = "an HTML page" if _is_html(reply) else (reply.excerpt() or "nothing")
    raise VezaError(f"{asked}: {reply.status}{where}{gave_up}: {advice} It answered: {quoted}")


def _prove(client: HttpClient, params: dict[str, Any], pace: Pace, sent: Sent, result: dict[str, Any]) -> str:
    """Set ``proved`` and return what proves it; raise if nothing does.

    The flush itself has happened, so ``changed`` stays true.
    """
    result["proved"] = False
    asked, answer, told = f"POST {result['url']}", sent.reply, ", and proof says so"
    if params["proof_path"]:
        try:
            proof = send(client, "GET", params["proof_path"], pace)
        except RequestFailed as error:
            raise VezaError(f"Flushed, but the proof could not be read: {error.message}") from error
        expected = tuple(params["proof_status"]) or (() if params["proof"] else GONE)
        if expected:
            _expected(proof, expected)
        else:
            _accepted("GET", proof)
        asked, answer = f"GET {client.base_url}{params['proof_path']}", proof.reply
        told = told if params["proof"] else f", and {asked} proves it by {answer.status}"
    if params["proof"]:
        _hold(params["proof"], asked, answer)
    result["proved"] = True
    return told


def _expected(sent: Sent, expected: tuple[int, ...]) -> None:
    """Return if the answer has an expected status and is an API's; a proxy's page of the same status proves nothing."""
    reply = sent.reply
    wanted = f"not {' or '.join(map(str, expected))}"
    if reply.status in expected:
        if not _is_html(reply):
            return
        why = "but with an HTML page, which no API sends: did the request reach it?"
    elif 200 <= reply.status < 300:
        why = f"{wanted}: it is still served."
    else:
        gave_up = f" ({sent.gave_up})" if sent.gave_up else ""
        why = f"{wanted}{gave_up}: that tells nothing of the cache."
    raise VezaError(
        f"Flushed, but the answer to GET {reply.url} does not prove it: {reply.status}, {why} "
        f"It answered: {reply.excerpt() or 'nothing'}"
    )


def _hold(expression: str, asked: str, answer: Reply) -> None:
    """Return if the expression is true of the answer, else raise."""
    try:
        value = compiled(expression, "proof")(answer.json())
        told = repr(value)
    except Exception as error:  # the answer is no JSON, or what the expression gives has no text
        raise VezaError(f"Flushed, but proof can't be evaluated on the answer to {asked}: {error}") from None
    if value is not True:
        raise VezaError(
            f"Flushed, but the answer to {asked} does not prove it: '{expression}' is {told}, not true. "
            f"It answered: {answer.excerpt() or 'nothing'}"
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module.params, check_mode=module.check_mode))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())


if __name__ == "__main__":
    main()
