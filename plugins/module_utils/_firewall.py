# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of a host's own firewall that drop or reject what goes to certain ports: read, never changed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from functools import partial

DNS = 53

COMMANDS = (("nft", ["nft", "list", "ruleset"]), ("iptables", ["iptables-save"]))
"""What lists the rules, the first that is there."""

_TABLE = re.compile(r"^\s*table (\w+ \S+) \{")
_CHAIN = re.compile(r"^\s*chain (\S+) \{")
_SETS = re.compile(r"^\s*set (\S+) \{.*?elements = \{([^}]*)\}", re.MULTILINE | re.DOTALL)
_VERDICT = re.compile(r"\b(?:drop|reject)\b")
_PORTS = re.compile(r"\b(?:dport|sport) (?:\{([^}]*)\}|(\S+))")
_IPTABLES = re.compile(r"^-A (\S+) (.*-j (?:DROP|REJECT)\b.*)$")
_IPTABLES_PORTS = re.compile(r"--(?:dport|dports|sport|sports) (\S+)")

Rule = dict[str, str]


def nft(text: str, ports: Collection[int]) -> list[Rule]:
    """Return the rules of ``nft list ruleset`` that are about one of the ports."""
    found = []
    for part in re.split(r"^(?=table )", text, flags=re.MULTILINE):
        table, chain, sets = "", "", {f"@{name}": members for name, members in _SETS.findall(part)}
        for line in part.splitlines():
            if match := _TABLE.match(line):
                table = match[1]
            elif match := _CHAIN.match(line):
                chain = match[1]
            elif _VERDICT.search(line):
                named = (many or sets.get(one, one) for many, one in _PORTS.findall(line))
                if any(_meets(one, ports) for one in named):
                    found.append({"table": table, "chain": chain, "rule": " ".join(line.split())})
    return found


def iptables(text: str, ports: Collection[int]) -> list[Rule]:
    """Return the rules of ``iptables-save`` that are about one of the ports."""
    found, table = [], ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif (match := _IPTABLES.match(line)) and any(_meets(one, ports) for one in _IPTABLES_PORTS.findall(line)):
            found.append({"table": table, "chain": match[1], "rule": match[2]})
    return found


def _meets(text: str, ports: Collection[int]) -> bool:
    """Whether a list of ports and ranges, as the firewall writes it, holds one of the ports."""
    for part in text.replace(",", " ").split():
        first, _dash, last = part.replace(":", "-").partition("-")
        if first.isdigit() and any(int(first) <= port <= int(last if last.isdigit() else first) for port in ports):
            return True
    return False


_WAYS = re.compile(r"\b([ds])ports? (?:\{([^}]*)\}|(\S+))")
_ENDS = re.compile(
    r"(?P<not>! )?(?:\b(?P<nft>[ds])addr|(?<!\S)-(?P<iptables>[ds])) (?P<unless>!= )?"
    r"(?:\{(?P<many>[^}]*)\}|(?P<one>\S+))"
)


def concerns(rule: str, port: int, addresses: Collection[str]) -> bool:
    """Whether a rule is about a port, and about others at one of these addresses, if it names any.

    The others are at the source of what goes to the port, and at the destination of what comes from it.
    """
    ways = {way for way, many, one in _WAYS.findall(rule) if _meets(many or one, {port})}
    others = {{"d": "s", "s": "d"}[way] for way in ways}
    named = [match for match in _ENDS.finditer(rule) if (match["nft"] or match["iptables"]) in others]
    return bool(ways) and all(map(partial(_meant, addresses=addresses), named))


def _meant(named: re.Match[str], addresses: Collection[str]) -> bool:
    """Whether one of the addresses is what a rule names, or none is what it excepts; of a set nothing is known."""
    text = named["many"] or named["one"]
    if not addresses or text.startswith("@"):
        return False
    return any(_within(one, text) for one in addresses) is not bool(named["not"] or named["unless"])


def _within(address: str, text: str) -> bool:
    """Whether an address is in a list of addresses and networks."""
    for part in text.replace(",", " ").split():
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(part, strict=False):
                return True
        except ValueError:
            continue
    return False


def read(run: Callable[[list[str]], str | None], ports: Collection[int]) -> list[Rule] | None:
    """Return the rules about these ports or DNS; None when they can't be listed.

    ``run`` returns what a command printed, None when it could not be run or failed.
    """
    wanted = {*ports, DNS}
    for kind, command in COMMANDS:
        text = run(command)
        if text is not None:
            return nft(text, wanted) if kind == "nft" else iptables(text, wanted)
    return None
