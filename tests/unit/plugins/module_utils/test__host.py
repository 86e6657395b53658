# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reader of a host, on a directory that looks like /proc and on real files."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._host import Host, Unreadable

BROKER = "/usr/lib/erlang/erts-13.1.5/bin/beam.smp -W w -- -root /usr/lib/erlang -home /var/lib/rabbitmq " \
         "-epmd_port 4369 -- -noshell -noinput -s rabbit boot -boot start_sasl"  # fmt: skip
TOOL = "/usr/lib/erlang/erts-13.1.5/bin/beam.smp -B -- -home /var/lib/rabbitmq -- -run escript start -extra rabbitmqctl"

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1628 00000000:0000 0A 00000000:00000000 00:00000000 00000000   103        0 4711 1 0000 100 0 0 10 0
   1: 0100007F:1628 0100007F:C350 01 00000000:00000000 00:00000000 00000000   103        0 4712 1 0000 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr inode
   0: 00000000000000000000000000000000:3D38 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 \
00000000   103        0 4713 1 0000 100 0 0 10 0
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    root = tmp_path / "proc"
    (root / "net").mkdir(parents=True)
    (root / "self" / "ns").mkdir(parents=True)
    (root / "self" / "ns" / "pid").symlink_to("pid:[4026531836]")
    process(root, 1, "/sbin/init")
    return root


def process(root: Path, pid: int, command: str, state: str = "S", namespace: str = "pid:[4026531836]") -> Path:
    place = root / str(pid)
    (place / "fd").mkdir(parents=True)
    (place / "ns").mkdir()
    (place / "ns" / "pid").symlink_to(namespace)
    (place / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
    ticks = 50 * os.sysconf("SC_CLK_TCK")
    (place / "stat").write_text(f"{pid} (a) b) {state} 700 " + "0 " * 17 + f"{ticks} 0 0")
    (place / "environ").write_bytes(b"HOME=/x\0RABBITMQ_DEFAULT_PASS=s3cret\0RABBITMQ_MNESIA_BASE=/srv/data\0")
    return place


def test_a_broker_is_told_from_its_tools(proc: Path) -> None:
    place = process(proc, 712, BROKER)
    (place / "fd" / "3").symlink_to("/var/log/rabbitmq/rabbit@b.log")
    (place / "fd" / "4").symlink_to("socket:[4711]")
    (place / "fd" / "5").symlink_to("anon_inode:[eventpoll]")
    process(proc, 800, TOOL)
    process(proc, 801, "/usr/bin/python3 -s rabbit boot")
    (beam,) = Host(str(proc)).brokers()
    assert (beam.pid, beam.parent, beam.home, beam.suspended) == (712, 700, "/var/lib/rabbitmq", False)
    assert beam.files == ("/var/log/rabbitmq/rabbit@b.log",)
    assert beam.sockets == frozenset({4711})
    assert beam.places == ("/srv/data",)
    assert beam.contained is False
    assert "s3cret" not in repr(beam)
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert beam.started == pytest.approx(booted + 50, abs=1)


def test_a_suspended_one_and_one_in_a_container(proc: Path) -> None:
    process(proc, 712, BROKER, state="T")
    process(proc, 713, BROKER, namespace="pid:[4026532999]")
    assert [(beam.suspended, beam.contained) for beam in Host(str(proc)).brokers()] == [(True, False), (False, True)]


def test_what_another_users_process_hides_is_none(proc: Path) -> None:
    place = process(proc, 712, BROKER)
    (place / "environ").unlink()
    (place / "fd").rmdir()
    (place / "ns" / "pid").unlink()
    (beam,) = Host(str(proc)).brokers()
    assert (beam.places, beam.files, beam.sockets, beam.contained) == (None, None, None, None)


def test_a_process_that_ends_meanwhile_is_left_out(proc: Path) -> None:
    (process(proc, 712, BROKER) / "stat").unlink()
    assert Host(str(proc)).brokers() == []


def test_hidden_processes_are_not_no_processes(proc: Path) -> None:
    (proc / "1" / "cmdline").unlink()
    os.rename(proc / "1", proc / "away")
    with pytest.raises(Unreadable, match="hidden"):
        Host(str(proc)).brokers()
    with pytest.raises(Unreadable, match="can't be read"):
        Host(str(proc / "nowhere")).brokers()


def test_listening_ports_of_both_families(proc: Path) -> None:
    with pytest.raises(Unreadable):
        Host(str(proc)).listening()
    (proc / "net" / "tcp").write_text(TCP)
    assert Host(str(proc)).listening() == {5672: {4711}}
    (proc / "net" / "tcp6").write_text(TCP6)
    assert Host(str(proc)).listening() == {5672: {4711}, 15672: {4713}}
    assert Host(str(proc)).bound() == {5672: {"127.0.0.1"}, 15672: {"::"}}


def test_who_acknowledges_nothing_of_what_is_sent(proc: Path) -> None:
    lines = [
        "0: 0A4D12C6:80EC 0D4D12C6:6448 01 00008723:00000000 01:00005BA 00000008 103 0 1",  # 198.18.77.13, 8 retries
        "1: 0A4D12C6:9C54 0C4D12C6:6448 01 00000000:00000000 00:0000000 00000000 103 0 2",  # is heard
        "2: 0A4D12C6:6448 0C4D12C6:9C55 01 00000123:00000000 01:0000000 00000001 103 0 3",  # one lost packet
        "3: 0A4D12C6:1628 0E4D12C6:9C55 01 00000123:00000000 01:0000000 0000000A 103 0 4",  # a client
        "4: 0A4D12C6:9C56 0D4D12C6:6448 02 00000001:00000000 01:0000000 00000003 103 0 5",  # tries to connect again
        "5: 00000000:6448 00000000:0000 0A 00000000:00000000 00:0000000 00000009 103 0 6",
    ]
    (proc / "net" / "tcp").write_text("header\n" + "\n".join(lines) + "\n")
    mapped = f"7: {'0' * 16}FFFF00000A4D12C6:6448 {'0' * 16}FFFF00000F4D12C6:9C57 01 01:00 01:00 00000002 103 0 7\n"
    (proc / "net" / "tcp6").write_text("header\n" + mapped)
    assert Host(str(proc)).unheard(25672) == [
        {"address": "198.18.77.13", "port": 25672, "tries": 8},
        {"address": "198.18.77.15", "port": 25672, "tries": 2},
    ]


def test_the_boot(proc: Path) -> None:
    host = Host(str(proc))
    kernels = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert host.booted() == pytest.approx(kernels + 50, abs=1), "process 1 is of the container, the kernel is older"
    with pytest.raises(Unreadable, match="boot_id"):
        host.boot_id()
    (proc / "1" / "stat").unlink()
    with pytest.raises(Unreadable, match="1/stat can.t be read"):
        host.booted()


def test_the_end_of_a_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"first line\nsecond\xff line\nthird line\n")
    host = Host()
    assert host.tail(str(path), 1000).text == "first line\nsecond\ufffd line\nthird line\n"
    assert host.tail(str(path), 1000).whole
    cut = host.tail(str(path), 20)
    assert (cut.text, cut.whole) == ("third line\n", False)
    assert host.tail(str(path), 3).text == ""
    path.write_bytes(b"")
    assert host.tail(str(path), 20).text == ""


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        ("pipe", "not a regular file"),
        (".", "not a regular file|directory"),
        ("gone", "No such file"),
    ):
        with pytest.raises(Unreadable, match=reason):
            Host().tail(str(tmp_path / path), 100)


def test_finding_files_newest_first(tmp_path: Path) -> None:
    for age, name in enumerate(("c.log", "a.log", "b.log", "other.txt")):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    gone = str(tmp_path / "gone.log")
    found = Host().find([f"{tmp_path}/*.log", f"{tmp_path}/a.log", f"{tmp_path}/*.none", gone])
    assert found == [str(tmp_path / name) for name in ("c.log", "a.log", "b.log")] + [gone]


def test_a_disk_and_its_last_write(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name, when in (("a", 5000), ("deep/er/b", 9000), ("deep/c", 7000)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (when, when))
    (tmp_path / "link").symlink_to("/proc/self/stat")
    host = Host()
    assert host.last_write(str(tmp_path)) == 9000
    assert host.last_write(str(tmp_path / "gone")) is None
    disk = host.disk(str(tmp_path))
    assert 0 < disk.free <= disk.total
    assert disk.writable
    with pytest.raises(Unreadable, match="gone"):
        host.disk(str(tmp_path / "gone"))


def test_a_command_is_run_in_the_c_locale_without_a_shell() -> None:
    code = "import os, sys; print(os.environ['LC_ALL'], sys.argv[1], sys.stdin.read()); sys.exit(3)"
    ran = Host().run([sys.executable, "-c", code, "$HOME;x"], 60)
    assert (ran.code, ran.out.split()) == (3, ["C", "$HOME;x"])


def test_a_command_that_hangs_or_is_not_there() -> None:
    began = time.monotonic()
    with pytest.raises(Unreadable, match="did not end within 0.2 s"):
        Host().run([sys.executable, "-c", "import threading; threading.Event().wait(30)"], 0.2)
    assert time.monotonic() - began < 20
    with pytest.raises(Unreadable, match="can't be run: No such file"):
        Host().run(["/nonexistent/rabbit", "status"], 1)
