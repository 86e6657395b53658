# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is put back so that a broker can boot: configuration, cookie, owners. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._choice import Choice, Step
from ._findings_resources import whose

READ = (".conf", ".config", "/enabled_plugins")
"""How the files end that a broker reads; others beside them are copies."""

RESTORE = "outage_recover_restore_boot"
"""The flag by which a person allows it for one run."""


def restore_boot(
    step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """What keeps the broker from booting is put back, where software can; then it is started."""
    single = len(evidence["brokers"]) == 1
    restore: list[dict[str, Any]] = []
    asks: list[str] = []
    for host in step["targets"]:
        info = (evidence["brokers"].get(host) or {}).get("info")
        if not info:
            asks.append(f"{host} could not be looked at.")
            continue
        found, why = RESTORES.get(step["cause"], _nothing)(info, single)
        asks += [f"{host}: {text}" for text in why]
        restore += [{"host": host, "user": info["service"].get("user") or "rabbitmq", **entry} for entry in found]
    if asks:
        return Choice(ask=" ".join(asks))
    if not restore:
        return Choice(ask="Nothing was found that could be put back. The last lines of its logs are in PROOF.")
    if not settings["flags"][RESTORE]:
        told = "; ".join(_told(entry) for entry in restore)
        return Choice(ask=f"What can be put back: {told}. To have that done, and the broker started: -e {RESTORE}=true")
    actions = [
        {"name": entry["name"], "target": f"{entry['host']}: {entry['path']}", "may_lose": remedy["may_lose"]}
        for entry in restore
    ]
    starts = [{"name": "start_broker", "target": host, "may_lose": remedy["may_lose"]} for host in step["targets"]]
    return Choice([*actions, *starts], {"restore": restore})


def _told(entry: Mapping[str, Any]) -> str:
    says = {
        "restore_configuration": "{host}: {path} from {source}, which was written at {at}",
        "restore_cookie": "{host}: {path} from {source}",
        "set_cookie_aside": "{host}: {path} is set aside, and the node makes a new one",
        "restore_owner": "{host}: {path} to the user {user}",
        "restore_access": "{host}: {path}, which the user {user} can't read",
    }
    return says[entry["name"]].format(**entry)


Restored = tuple[list[dict[str, Any]], list[str]]
"""What is put back, and what must be asked instead."""


def _nothing(_info: Mapping[str, Any], _single: bool) -> Restored:
    return [], []


def _configuration(info: Mapping[str, Any], _single: bool) -> Restored:
    """Put back the file that is refused: the one that the log names, else the one that was written last."""
    said = _said(info, "configuration")
    copies = {entry["file"]: entry for entry in info.get("last_good") or []}
    changes = [change for change in info.get("changes") or [] if change["kind"] == "configuration"]
    written = [file for file in (change["what"].split(" ")[0] for change in changes) if file.endswith(READ)]
    refused = next((file for file in copies if file in said), None) or next(reversed(written), "")
    if refused in copies:
        good = copies[refused]
        entry = {"path": refused, "source": good["source"], "at": good["modified_at"]}
        return [{"name": "restore_configuration", **entry}], []
    about = f" of {refused}" if refused else ""
    return [], [f"no earlier copy{about} was found (veza_rabbitmq_last_good). It says: {said or 'nothing about it'}"]


def _said(info: Mapping[str, Any], signature: str) -> str:
    return " ".join(str(one.get("line") or "") for one in info["signatures"] if one["name"] == signature)


def _cookie(info: Mapping[str, Any], single: bool) -> Restored:
    cookie = info["cookie"]
    said = _said(info, "cookie_file")
    good = next((entry for entry in info.get("last_good") or [] if entry["file"] == cookie["path"]), None)
    spoilt = "short" in said.lower() or not cookie["size"]
    if spoilt and good:
        return [{"name": "restore_cookie", "path": cookie["path"], "source": good["source"], "mode": "0400"}], []
    if spoilt and single:
        # A node without peers makes itself a new one, and its own command line reads the same file.
        return [{"name": "set_cookie_aside", "path": cookie["path"]}], []
    if spoilt:
        return [], [f"the content of {cookie['path']} is spoilt: copy it from a peer of the cluster."]
    if cookie["ok"] is False:
        return [{"name": "restore_owner", "path": cookie["path"], "mode": "0400"}], []
    return [], []


def _directories(info: Mapping[str, Any], _single: bool) -> Restored:
    if (info.get("disk") or {}).get("write_error") == "EROFS":
        return [], [f"the file system of {info['disk']['path']} is read-only: find out why, then mount it writable."]
    wrong = [entry for entry in info.get("directories") or [] if entry["ok"] is False]
    tops = [entry for entry in wrong if not any(_inside(entry["path"], other["path"]) for other in wrong)]
    return [
        {
            "name": "restore_access" if " read " in f" {entry['detail']} " else "restore_owner",
            "path": entry["path"],
            "mode": "u+rwX",
        }
        for entry in tops
    ], []


def _inside(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


def _port(info: Mapping[str, Any], _single: bool) -> Restored:
    held = [entry for entry in info.get("listeners") or [] if entry.get("holder") and entry.get("ours") is False]
    return [], [
        f"port {entry['port']} is held by {whose(entry['holder'])}. It is not this command's to end: ask whose it is, "
        "stop it; systemd then boots the broker within 10 s, and this command, run again, accounts for what was lost."
        for entry in held
    ]


RESTORES: dict[str, Callable[[Mapping[str, Any], bool], Restored]] = {
    "configuration_broken": _configuration,
    "cookie_broken": _cookie,
    "data_dir_not_writable": _directories,
    "port_taken": _port,
}
"""Cause -> what of its host's evidence can be put back. Of others nothing is known that could."""
