# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import os
import pwd
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _changes, _clock, _host_state
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput

ME = pwd.getpwuid(os.getuid()).pw_name
NOBODY = "nobody"


@pytest.mark.parametrize(
    ("mode", "user", "ok"), [(0o700, ME, True), (0o755, NOBODY, False), (0o777, NOBODY, True), (0o700, "no-one", None)]
)
def test_who_may_write_a_directory_by_its_mode(tmp_path: Path, mode: int, user: str, ok: bool | None) -> None:
    tmp_path.chmod(mode)
    found = _host_state.usable(str(tmp_path), user)
    assert found is not None
    assert (found["mode"], found["ok"]) == (f"{mode:04o}", ok)
    assert _host_state.usable(f"{tmp_path}/missing", user) is None


@pytest.mark.parametrize(
    ("mode", "verb", "ok"),
    [(0o701, "pass through", True), (0o704, "pass through", False), (0o704, "read", True), (0o703, "read", False)],
)
def test_who_may_use_it_otherwise(tmp_path: Path, mode: int, verb: str, ok: bool) -> None:
    tmp_path.chmod(mode)
    found = _host_state.usable(str(tmp_path), NOBODY, verb)
    assert found is not None
    assert (found["ok"], found["detail"]) == (ok, f"nobody can{'' if ok else chr(39) + 't'} {verb} it")


def test_what_only_an_access_control_list_can_allow_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listxattr", lambda _path: ["system.posix_acl_access"])
    tmp_path.chmod(0o700)
    assert (_host_state.usable(str(tmp_path), NOBODY) or {})["ok"] is None
    tmp_path.chmod(0o777)
    assert (_host_state.usable(str(tmp_path), NOBODY) or {})["ok"] is True


@pytest.fixture
def broker(tmp_path: Path) -> Path:
    """Directories of a broker, which belong to somebody else than nobody, and which nobody may all use."""
    tmp_path.chmod(0o755)
    (tmp_path / _host_state.COOKIE).write_text("COOKIE")
    for name in ("mnesia", "mnesia/rabbit@a", "log"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    for name in ("log/rabbit@a.log", "log/rabbit@b.log", "conf"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o666)
    return tmp_path


def unusable(broker: Path, own: str | None = "rabbit@a") -> list[str]:
    logs = [f"{broker}/log/rabbit@{name}.log" for name in "ab" if (broker / f"log/rabbit@{name}.log").exists()]
    found = _host_state.directories(
        str(broker), [*logs, f"{broker}/log/rabbitmq-server.log"], NOBODY, own, [f"{broker}/conf"]
    )
    return [entry["path"].removeprefix(f"{broker}/") for entry in found if entry["ok"] is False]


def test_what_the_broker_can_not_use(broker: Path) -> None:
    """A directory in which nothing has to be made may belong to anybody, as 4.0.5 shows."""
    assert unusable(broker) == []
    for name, mode in (("log", 0o755), ("log/rabbit@b.log", 0o600)):
        (broker / name).chmod(mode)
    assert unusable(broker) == []
    assert unusable(broker, None) == ["log/rabbit@b.log"]
    for name in ("mnesia", "mnesia/rabbit@a", "log/rabbit@a.log", "conf"):
        (broker / name).chmod(0o700)
    assert unusable(broker) == ["mnesia", "mnesia/rabbit@a", "log/rabbit@a.log", "conf"]


def test_a_broker_that_has_yet_to_make_its_files(broker: Path) -> None:
    (broker / "log").chmod(0o755)
    for name in ("log/rabbit@a.log", "log/rabbit@b.log", _host_state.COOKIE):
        (broker / name).unlink()
    assert unusable(broker) == [str(broker), "log"]


CONFIGURATION = """
# disk_free_limit.absolute = 1GB
disk_free_limit.absolute = 2GB
default_pass = disk_free_limit.absolute = 3
vm_memory_high_watermark.relative = 0.5
"""


def test_limits_of_the_configuration(tmp_path: Path) -> None:
    assert _host_state.limits([CONFIGURATION], 1000) == {
        "disk_free_limit": 2 * 10**9,
        "vm_memory_high_watermark": 500,
    }
    later = "disk_free_limit.absolute = 50MiB\nvm_memory_high_watermark.relative = 0.6"
    assert _host_state.limits([CONFIGURATION, later], None)["disk_free_limit"] == 50 * 2**20
    assert "vm_memory_high_watermark" not in _host_state.limits([later], None)
    assert _host_state.limits(["disk_free_limit.absolute = 1.2.3\ndisk_free_limit.absolute = 5 parsecs"], 1) == {}
    (tmp_path / "x.conf").write_text(CONFIGURATION)
    assert _host_state.configured([f"{tmp_path}/x.conf", f"{tmp_path}/missing"])["disk_free_limit"] == 2 * 10**9


def test_a_disk_that_takes_a_write_and_one_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _host_state.write_error(str(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []
    assert _host_state.write_error(f"{tmp_path}/missing") is None
    monkeypatch.setattr(_host_state, "_write_error", lambda _path: "ENOSPC")
    assert _host_state.write_error(str(tmp_path)) == "ENOSPC"
    monkeypatch.setattr(_host_state, "WRITE_TIMEOUT", 0.1)
    # Ends by itself: what hangs in a disk can't be ended.
    monkeypatch.setattr(_host_state, "_write_error", lambda _path: _host_state.time.sleep(1) or "ENOSPC")
    assert _host_state.write_error(str(tmp_path)) == "ETIMEDOUT"


def test_the_file_system_that_the_broker_writes_to(broker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _host_state.written_to(str(broker)) == str(broker)
    assert _host_state.written_to(f"{broker}/missing") == f"{broker}/missing"
    real = os.stat
    mounted = os.stat_result((*real(broker)[:2], 1, *real(broker)[3:]))
    monkeypatch.setattr(os, "stat", lambda path, **given: mounted if "rabbit@" in str(path) else real(path, **given))
    assert _host_state.written_to(str(broker)) == f"{broker}/mnesia/rabbit@a"


@pytest.mark.parametrize(
    ("mode", "content", "user", "wrong"),
    [
        (0o400, "COOKIE", ME, ""),
        (0o440, "COOKIE", ME, "nobody but its owner"),
        (0o400, "", ME, "empty"),
        (0o200, "COOKIE", ME, "must be able to read"),
        (0o400, "COOKIE", NOBODY, "must belong to nobody"),
    ],
)
def test_a_cookie_that_the_broker_accepts(tmp_path: Path, mode: int, content: str, user: str, wrong: str) -> None:
    path = tmp_path / _host_state.COOKIE
    path.write_text(content)
    path.chmod(mode)
    found = _host_state.cookie(str(tmp_path), user)
    assert found["ok"] is not wrong if wrong else found["ok"] is True
    assert wrong in found["detail"]
    assert found["ok"] is (not wrong)


def test_no_cookie_is_no_fault(tmp_path: Path) -> None:
    assert _host_state.cookie(str(tmp_path), ME)["ok"] is None


def test_the_nodes_whose_data_lie_there(tmp_path: Path) -> None:
    for name in ("rabbit@a", "rabbit@b", "rabbit@b-plugins-expand"):
        (tmp_path / "mnesia" / name).mkdir(parents=True)
    (tmp_path / "mnesia" / "rabbit@a-feature_flags").write_text("")
    os.utime(tmp_path / "mnesia" / "rabbit@b", (1, 1))
    assert _host_state.node(str(tmp_path), None)["name"] == "rabbit@a"
    renamed = _host_state.node(str(tmp_path), "rabbit@b")
    assert [other["name"] for other in renamed["others"]] == ["rabbit@a"]
    assert _host_state.node(f"{tmp_path}/none", None) == {"name": None, "began_at": None, "others": []}


def test_a_nodes_data_began_with_what_no_start_touches(tmp_path: Path) -> None:
    for name, oldest in (("rabbit@a", 10), ("rabbit@b", 20)):
        place = tmp_path / "mnesia" / name
        for entry, written in (("quorum", oldest), ("schema.DAT", 90)):
            (place / entry).mkdir(parents=True)
            os.utime(place / entry, (written, written))
    found = _host_state.node(str(tmp_path), "rabbit@b")
    assert found["began_at"] == "1970-01-01T00:00:20.000Z"
    assert [other["began_at"] for other in found["others"]] == ["1970-01-01T00:00:10.000Z"]


def test_a_nodes_name_from_its_command_line() -> None:
    assert _host_state.name_of(["beam.smp", "-sname", "rabbit@a", "-s", "rabbit", "boot"]) == "rabbit@a"
    assert _host_state.name_of(["beam.smp", "-name", "rabbit@a.lxd"]) == "rabbit@a.lxd"
    assert _host_state.name_of(["beam.smp", "-sname"]) is None


def test_this_process_and_this_host_can_be_read() -> None:
    files = _host_state.open_files(os.getpid())
    assert files["open"]
    assert files["limit"]
    assert _host_state.resident(os.getpid())
    assert _host_state.memory()["total"]
    assert _host_state.synchronised() in (True, False, None)
    assert _host_state.open_files(2**22 + 1) == {"open": None, "limit": None}


def test_memory_that_was_used_up() -> None:
    assert _host_state.memory_was_used_up({"container_limit": 100, "peak": 99})
    assert not _host_state.memory_was_used_up({"container_limit": 100, "peak": 50})
    assert not _host_state.memory_was_used_up({"container_limit": None, "peak": 50})


def test_who_holds_a_socket() -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        found = _host_state.holder({os.fstat(listener.fileno()).st_ino})
    assert found is not None
    assert found["pid"] == os.getpid()
    assert _host_state.holder({1}) is None


DPKG = """2026-11-20 10:00:00 startup archives unpack
2026-11-20 10:00:01 upgrade rabbitmq-server:all 3.10.8-1 4.0.5-6
2026-11-20 10:00:02 status installed rabbitmq-server:all 4.0.5-6
2026-11-20 10:00:03 install vim:amd64 <none> 2:9.0
"""


def test_packages_that_changed() -> None:
    (change,) = _changes.packages(DPKG, _changes.re.compile("^rabbitmq"))
    assert (change["kind"], change["what"]) == ("package", "upgrade rabbitmq-server 3.10.8-1 -> 4.0.5-6")


def test_files_that_changed_and_only_lately(tmp_path: Path) -> None:
    for name, written in (("new", 1_000_000_000), ("old", 100)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (written, written))
    found = _changes.lately(_changes.files([f"{tmp_path}/*"], "configuration"), now=1_000_000_100)
    assert [change["what"] for change in found] == [f"{tmp_path}/new was written"]


def test_the_offset_of_a_clock() -> None:
    assert _clock.offset("1970-01-01T00:01:40Z", 103.5) == 3.5
    assert _clock.offset(None, 1.0) is None
    with pytest.raises(BadInput):
        _clock.offset("yesterday", 1.0)


def test_the_last_good_copy_is_the_newest_that_is_older(tmp_path: Path) -> None:
    file = tmp_path / "rabbitmq.conf"
    copies = {".bak": ("old", 10), ".1": ("older", 5), ".dpkg-dist": ("package", 20), ".same": ("bad", 30),
              ".veza-refused.x": ("bad before", 40), ".later": ("new", 200), "~": ("much older", 1)}  # fmt: skip
    for suffix, (text, at) in {**copies, "": ("bad", 100)}.items():
        path = Path(f"{file}{suffix}")
        path.write_text(text)
        os.utime(path, (at, at))
    missing = str(tmp_path / "missing.conf")
    (found,) = _host_state.last_good([str(file), missing], ["{file}.*", "{file}~"])
    assert (found["file"], found["source"]) == (str(file), f"{file}.bak")
    assert found["modified_at"] == "1970-01-01T00:00:10.000Z"
    (elsewhere,) = _host_state.last_good([str(file)], [f"{tmp_path}/*/{{name}}", "{file}~"])
    assert elsewhere["source"] == f"{file}~"
    assert _host_state.last_good([str(file)], []) == []


def test_who_a_process_is() -> None:
    found = _host_state.described_process(os.getpid())
    assert found["pid"] == os.getpid()
    assert found["name"]
    assert found["command"]
    assert _host_state.described_process(2**30)["user"] is None


NO_WAIT: set[tuple[str, str]] = set()
WAIT = {("7", "5")}


@pytest.mark.parametrize(
    ("waits", "stuck"),
    [
        (lambda: itertools.repeat(WAIT), True),
        (lambda: ({("7", str(number))} for number in itertools.count()), False),
        (lambda: itertools.repeat(NO_WAIT), False),
        (lambda: itertools.chain([NO_WAIT] * 5, itertools.repeat(WAIT)), True),
        (lambda: itertools.chain([{("6", "1")}], [NO_WAIT] * 12, itertools.repeat(WAIT)), True),
        (lambda: itertools.repeat(None), None),
    ],
    ids=["one wait", "always a new one", "no wait", "one soon", "one long after a short one", "it has ended"],
)
def test_who_hangs_in_one_wait_for_the_disk(waits: Any, stuck: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, now = waits(), itertools.count()
    monkeypatch.setattr(_host_state, "_waits", lambda _pid: next(looks))
    monkeypatch.setattr(_host_state, "LOOK", 0.001)
    # A look takes a tenth of a second, whatever this machine does.
    monkeypatch.setattr(_host_state, "time", SimpleNamespace(monotonic=lambda: next(now) * 0.1, sleep=time.sleep))
    assert _host_state.DiskWatch(1).stuck() == stuck


@pytest.mark.parametrize(
    ("paces", "share"),
    [([1.0], 1.0), ([0.3], 0.3), ([0.01, 0.5], 0.5), ([0.01, 0.02, *[0.01] * 4], 0.02)],
    ids=["alone", "with others", "one pause", "next to none"],
)
def test_how_much_of_a_processor_work_gets(paces: list[float], share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([pace for pace in paces for _begin_and_end in range(2)])
    cpu = itertools.count(step=0.005)
    past = [0.0, 0.0]  # of the processor, and in all

    def thread_time() -> float:
        past[0] = next(cpu)
        return past[0]

    def monotonic() -> float:
        pace = next(looks)
        past[1] += (past[0] - since.pop()) / pace
        since.append(past[0])
        return past[1]

    since = [0.0]
    clocks = {"thread_time": thread_time, "monotonic": monotonic, "sleep": lambda _seconds: None}
    monkeypatch.setattr(_host_state, "time", SimpleNamespace(**clocks))
    with _host_state.Work() as work:
        pass
    assert work.share == pytest.approx(share, rel=0.01)


def test_the_waits_of_a_process_that_is_gone_are_not_known() -> None:
    assert _host_state._waits(2**22 + 1) is None
