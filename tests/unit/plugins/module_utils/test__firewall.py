# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _firewall


@pytest.mark.parametrize(
    ("rule", "about"),
    [
        ("ip saddr 198.18.77.30 tcp dport 5672 ct state established drop", True),
        ("tcp dport { 5672, 15672 } drop", True),
        ("ip saddr 198.18.77.0/24 tcp dport 5000-6000 reject", True),
        ("ip saddr { 198.18.77.21, 198.18.77.30 } tcp dport 5672 drop", True),
        ("ip saddr != 198.18.77.21 tcp dport 5672 drop", True),
        ("ip daddr 198.18.77.30 tcp sport 5672 drop", True),
        ("ip daddr 198.18.77.10 tcp dport 5672 drop", True),
        ("-s 198.18.77.30/32 -p tcp -m tcp --dport 5672 -j DROP", True),
        ("! -s 198.18.77.21/32 -p tcp -m multiport --dports 5672,15672 -j DROP", True),
        ("ip saddr 198.18.77.21 tcp dport 5672 drop", False),
        ("ip saddr != 198.18.77.30 tcp dport 5672 drop", False),
        ("ip saddr @peers tcp dport 5672 drop", False),
        ("ip saddr != @peers tcp dport 5672 drop", False),
        ("ip saddr 198.18.77.30 tcp dport 15672 drop", False),
        ("ip6 saddr fd00::1 tcp dport 5672 drop", False),
        ("! -s 198.18.77.30/32 -p tcp -m tcp --dport 5672 -j DROP", False),
        ("meta l4proto { tcp, udp } th dport 53 drop", False),
    ],
)
def test_a_rule_is_about_the_address_that_it_names(rule: str, about: bool) -> None:
    assert _firewall.concerns(rule, 5672, ["198.18.77.30"]) is about
    # Of a host whose address nobody knows, only what names none.
    names_others = any(end in rule for end in ("saddr", "-s", "daddr 198.18.77.30"))
    assert _firewall.concerns(rule, 5672, []) is (about and not names_others)


NFT = """
table inet filter {
    chain input {
        type filter hook input priority filter; policy accept;
        tcp dport 22 drop
        ip saddr 198.18.77.21 tcp dport { 5672, 15672 } reject with tcp reset
        tcp dport 5000-6000 counter packets 3 bytes 180 drop
        tcp dport 5672 accept
    }
}
table inet game_day {
    chain output {
        meta l4proto { tcp, udp } th dport 53 drop
    }
}
"""

IPTABLES = """
*filter
:INPUT ACCEPT [0:0]
-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 5672 -j REJECT --reject-with tcp-reset
-A INPUT -p tcp -m multiport --dports 5000:6000,8080 -j DROP
-A INPUT -p tcp -m tcp --dport 5672 -j ACCEPT
COMMIT
"""


# As nftables 1.1.3 prints it.
NFT_SETS = """\
table inet t {
\tset bad {
\t\ttype inet_service
\t\telements = { 5672, 15672 }
\t}

\tset empty {
\t\ttype inet_service
\t}

\tset peers {
\t\ttype ipv4_addr
\t\telements = { 198.18.77.21 }
\t}

\tchain i {
\t\ttype filter hook input priority filter; policy accept;
\t\tip saddr 198.18.77.21 tcp dport @bad drop
\t\ttcp dport @empty drop
\t\tip saddr @peers tcp dport 22 drop
\t\tip saddr 198.18.77.22 drop
\t}
}
table inet u {
\tchain i {
\t\ttcp dport @bad drop
\t}
}
"""


def test_ports_in_a_set_of_the_same_table() -> None:
    assert _firewall.nft(NFT_SETS, {5672}) == [
        {"table": "inet t", "chain": "i", "rule": "ip saddr 198.18.77.21 tcp dport @bad drop"}
    ]


def test_rules_of_nftables_about_our_ports() -> None:
    rules = _firewall.nft(NFT, {5672, 53})
    assert [(rule["table"], rule["chain"]) for rule in rules] == [
        ("inet filter", "input"),
        ("inet filter", "input"),
        ("inet game_day", "output"),
    ]
    assert rules[0]["rule"] == "ip saddr 198.18.77.21 tcp dport { 5672, 15672 } reject with tcp reset"


def test_rules_of_iptables_about_our_ports() -> None:
    rules = _firewall.iptables(IPTABLES, {5672})
    assert [rule["chain"] for rule in rules] == ["INPUT", "INPUT"]
    assert "REJECT" in rules[0]["rule"]


@pytest.mark.parametrize(
    ("answers", "count"), [({"nft": NFT}, 3), ({"iptables-save": IPTABLES}, 2), ({}, None), ({"nft": ""}, 0)]
)
def test_the_first_that_answers_is_read(answers: dict[str, str], count: int | None) -> None:
    rules: Any = _firewall.read(lambda command: answers.get(command[0]), [5672])
    assert (None if rules is None else len(rules)) == count
