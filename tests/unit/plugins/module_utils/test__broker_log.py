# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _broker_log as logs
from ansible_collections.veza.rabbitmq.plugins.module_utils._host import Tail
from ansible_collections.veza.rabbitmq.plugins.module_utils._log_signatures import HINTS, SIGNATURES
from tests.unit.plugins.module_utils.broker_logs import (
    ASKED,
    BOOT,
    BOOT_BEGUN,
    COOKIE_STDERR,
    CTL_STOP,
    FAULTS,
    HALTED,
    MAIN,
    NO_CERTIFICATE,
    NO_SYNTAX,
    PRELAUNCH_FAILURE,
    PRELAUNCH_FAILURE_STDERR,
    REFUSED,
    REFUSED_STDERR,
    SERVED,
    SERVED_STDOUT,
    SIGTERM,
    STDERR,
    STDOUT,
    UNWRITTEN_DUMP_STDERR,
    tail,
)

PREFIX = "2026-11-23 21:10:01.000000+00:00 [info] <0.1.0> "


def life(*tails: Tail, running: bool | None = None, started: datetime | None = None) -> dict[str, Any]:
    return logs.lifecycle(logs.read(tails), running, started)[0]


def counts(*tails: Tail) -> dict[str, tuple[int, int]]:
    return {found["name"]: (found["count"], found["total"]) for found in logs.signatures(logs.read(tails))}


# The log, whether the process lives, and then: last step, orderly stop, when the stop began, who.
LIVES: list[tuple[str, str, bool | None, str, bool | None, str | None, str | None]] = [
    ("serving", BOOT, True, "started", None, None, None),
    ("serving, process not seen", BOOT, None, "started", None, None, None),
    ("killed", BOOT, False, "started", False, None, None),
    ("booting", BOOT_BEGUN, True, "starting", None, None, None),
    ("killed while booting", BOOT_BEGUN, False, "starting", False, None, None),
    ("SIGTERM", BOOT + SIGTERM, False, "stopped", True, "2026-11-23T21:09:18.379Z", "SIGTERM"),
    ("SIGTERM, not gone yet", BOOT + SIGTERM, True, "stopping", None, None, "SIGTERM"),
    ("SIGTERM, process not seen", BOOT + SIGTERM, None, "stopping", None, None, "SIGTERM"),
    ("rabbitmqctl stop", BOOT + CTL_STOP, False, "stopped", True, "2026-11-23T21:10:55.757Z", "a stop command"),
    ("stop_app", BOOT + CTL_STOP, True, "stopped", True, "2026-11-23T21:10:55.757Z", "a stop command"),
    ("stopping", BOOT + ASKED, True, "stopping", None, None, "a stop command"),
    ("killed while stopping", BOOT + ASKED, False, "stopping", None, None, "a stop command"),
    ("nothing", "", False, "none", None, None, None),
    ("nothing that is a step", PREFIX + "accepting AMQP connection\n", True, "none", None, None, None),
    ("a tail without a step", PREFIX + "accepting AMQP connection\n", False, "none", False, None, None),
    ("a start after a stop", CTL_STOP.replace(" 21:1", " 20:1") + BOOT, True, "started", None, None, None),
    ("killed after a stop and a start", CTL_STOP.replace(" 21:1", " 20:1") + BOOT, False, "started", False, None, None),
]


@pytest.mark.parametrize(
    ("text", "running", "last", "clean_stop", "stopped_at", "by"), [row[1:] for row in LIVES], ids=[r[0] for r in LIVES]
)
def test_the_log_tells_how_the_last_run_ended(
    text: str, running: bool | None, last: str, clean_stop: bool | None, stopped_at: str | None, by: str | None
) -> None:
    found = life(tail(text), running=running)
    assert (found["last"], found["clean_stop"], found["stopped_at"], found["by"]) == (last, clean_stop, stopped_at, by)


def test_a_stop_that_was_not_completed_is_said_to_be_unclear() -> None:
    _found, unclear = logs.lifecycle(logs.read([tail(BOOT + ASKED)]), False)
    assert "not that it was completed" in unclear
    assert logs.lifecycle(logs.read([tail(BOOT + CTL_STOP)]), False)[1] == ""


def test_the_start_of_a_boot_is_its_first_line() -> None:
    found = life(tail(BOOT_BEGUN), running=True)
    assert found["at"] == "2026-11-23T21:09:05.361Z"
    assert "ACTIVE" in found["line"]
    assert found["file"] == MAIN
    assert life(tail(BOOT), running=True)["started_at"] == "2026-11-23T21:09:08.159Z"


def test_a_process_younger_than_the_log_is_booting() -> None:
    """For the first seconds a node writes nothing, and the log's last word is about the run before."""
    before, after = (datetime(2026, 11, 23, 21, 9, second, tzinfo=UTC) for second in (4, 30))
    for text in (BOOT, BOOT + SIGTERM, ""):
        found = life(tail(text), running=True, started=after)
        assert (found["last"], found["at"], found["clean_stop"]) == ("starting", "2026-11-23T21:09:30.000Z", None)
    assert life(tail(BOOT), running=True, started=before)["last"] == "started"


def test_a_stop_by_the_node_itself_is_no_stop_command() -> None:
    paused = PREFIX.replace("21:10:01", "21:10:54") + "Cluster minority/secondary status detected - awaiting recovery\n"
    assert life(tail(BOOT + paused + CTL_STOP), running=True)["by"] == "the node itself, in a minority of the cluster"


def test_a_boot_that_failed_before_the_node_had_a_log() -> None:
    """A failing boot after an orderly stop is not an orderly stop any more."""
    stdout = tail(PRELAUNCH_FAILURE, STDOUT)
    log = logs.read([tail(BOOT + CTL_STOP), stdout, tail(PRELAUNCH_FAILURE_STDERR, STDERR)])
    found, _unclear = logs.lifecycle(log, False)
    assert (found["last"], found["clean_stop"], found["file"]) == ("starting", False, STDOUT)
    assert logs.last_at(log) == found["at"] == "2026-11-23T21:24:35.594Z"
    later = BOOT.replace(" 21:09", " 21:25")
    assert life(tail(later), stdout, running=True)["last"] == "started"


def test_rotated_files_come_first() -> None:
    rotated, fresh = tail(BOOT, MAIN + ".1", "2026-11-23T21:09:30+00:00"), tail(SIGTERM)
    for order in ([rotated, fresh], [fresh, rotated]):
        assert life(*order, running=False)["clean_stop"] is True


def test_of_several_names_the_one_with_the_last_step_counts() -> None:
    old = tail(
        BOOT.replace("2026-11-23", "2026-10-01") + SIGTERM.replace("2026-11-23", "2026-10-01"), "/l/rabbit@a.log"
    )
    chatty = tail(PREFIX.replace("21:10", "23:59") + "no step\n", "/l/rabbit@b_upgrade.log")
    found = life(old, tail(BOOT), chatty, running=False)
    assert (found["file"], found["clean_stop"]) == (MAIN, False)


@pytest.mark.parametrize(
    ("prefix", "at"),
    [
        ("2026-11-23 17:56:31.564945+00:00 [warning] <0.289.0> ", "2026-11-23T17:56:31.564Z"),
        ("2026-11-23T17:56:31.564945+02:00 [warning] <0.289.0> ", "2026-11-23T15:56:31.564Z"),
        ("2026-11-23 17:56:31.564Z [info] <0.289.0> ", "2026-11-23T17:56:31.564Z"),
        ("2026-11-23 17:56:31-05:30 [info] <0.289.0> ", "2026-11-23T23:26:31.000Z"),
    ],
)
def test_the_forms_of_an_instant(prefix: str, at: str) -> None:
    assert logs.last_at(logs.read([tail(prefix + "text")])) == at


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-45 99:99:99.0+00:00 [info] <0.1.0> x",
        "no time\n",
        '{"time":"2026-11-23 17:56:31"}',
        "\x00\xff\n",
        " \n",
    ],
)
def test_lines_without_an_instant_are_no_trouble(text: str) -> None:
    log = logs.read([tail(text)])
    assert logs.last_at(log) is None
    assert logs.lifecycle(log, False)[0]["last"] == "none"
    assert logs.signatures(log) == []


def test_signatures_are_counted_since_the_last_start_and_in_all() -> None:
    before = FAULTS.replace("2026-11-23", "2026-11-22")
    found = counts(tail(before + BOOT + FAULTS + FAULTS))
    assert found["login_refused"] == (2, 3)
    assert found["disk_alarm_cleared"] == (4, 6)
    assert found["vhost_missing"] == (2, 3)
    assert found["connection_lost"] == (2, 3)
    assert "waiting_for_tables" not in found, "every boot waits for tables, with 9 retries left"


def test_a_signature_has_its_last_line() -> None:
    found = {row["name"]: row for row in logs.signatures(logs.read([tail(BOOT + FAULTS)]))}["disk_alarm_set"]
    assert found["last_at"] == "2026-11-23T21:10:03.138Z"
    assert found["line"].endswith("disk resource limit alarm set on node rabbit@b.")
    assert found["file"] == MAIN


def test_without_a_start_in_the_tail_everything_is_since_the_start() -> None:
    assert counts(tail(FAULTS))["login_refused"] == (1, 1)


def test_the_same_line_in_two_logs_is_one_line() -> None:
    assert counts(tail(BOOT + FAULTS), tail(FAULTS, STDOUT))["login_refused"] == (1, 1)


def test_lines_without_an_instant_count_by_their_file() -> None:
    stderr = "2026-11-23T21:0{}:00+00:00"
    assert counts(tail(BOOT), tail(PRELAUNCH_FAILURE_STDERR, STDERR, stderr.format(8)))["boot_failed"] == (0, 1)
    after = tail(PRELAUNCH_FAILURE_STDERR, STDERR, "2026-11-23T21:10:00+00:00")
    assert counts(tail(BOOT), after)["boot_failed"] == (1, 1)
    rows = logs.signatures(logs.read([tail(BOOT), after]))
    assert [row["last_at"] for row in rows if row["name"] == "boot_failed"] == [None]


def test_a_failure_that_was_mended_is_none_of_the_broker_that_served_since() -> None:
    """Its standard output and error are written on, to the same files, and most of their lines have no time."""
    written = "2026-11-24T11:06:22.510+00:00"
    stdout = tail(REFUSED + SERVED_STDOUT, STDOUT, written)
    stderr = tail(REFUSED_STDERR + HALTED, STDERR, written)
    found = counts(tail(SERVED, MAIN, written), stdout, stderr)
    assert {name: count for name, (count, _total) in found.items()} == {
        "boot_failed": 0, "crash_dump": 0, "configuration": 0,
    }  # fmt: skip


def test_a_failure_is_not_taken_for_the_one_before_it() -> None:
    written = "2026-11-24T11:10:00+00:00"
    main = tail(SERVED, MAIN, "2026-11-24T11:06:22.510+00:00")
    found = counts(main, tail(REFUSED_STDERR + HALTED + COOKIE_STDERR, STDERR, written))
    assert (found["configuration"][0], found["cookie_file"][0], found["boot_failed"]) == (0, 1, (1, 3))
    again = counts(main, tail(COOKIE_STDERR + REFUSED_STDERR, STDERR, written))
    assert (again["configuration"][0] > 0, again["cookie_file"][0]) == (True, 0)
    no_dump = COOKIE_STDERR.rpartition("Crash dump")[0]
    assert counts(main, tail(no_dump + HALTED, STDERR, written))["cookie_file"][0] == 0


def test_what_follows_a_dump_that_could_not_be_written_is_of_the_next_run() -> None:
    """Its line has no end: `...erl_crash.dump...Gracefully halting Erlang VM` is the last line of the file."""
    main, written = tail(SERVED, MAIN, "2026-11-24T11:06:22.510+00:00"), "2026-11-24T11:06:22.600+00:00"
    stopped = counts(main, tail(UNWRITTEN_DUMP_STDERR + HALTED, STDERR, written))
    assert stopped == {"boot_failed": (0, 1), "crash_dump": (0, 1), "permissions": (0, 1)}
    # The dump of a boot that fails after the run counts, and so does a failure that is told on such a line.
    failed = counts(main, tail(HALTED + UNWRITTEN_DUMP_STDERR, STDERR, written))
    assert failed == {"boot_failed": (1, 1), "crash_dump": (1, 1), "permissions": (1, 1)}
    told = counts(main, tail(UNWRITTEN_DUMP_STDERR + COOKIE_STDERR.partition("\n\n")[0], STDERR, written))
    assert (told["permissions"], told["boot_failed"], told["cookie_file"]) == ((0, 1), (1, 2), (1, 1))


def test_what_a_boot_says_before_it_fails_belongs_to_it() -> None:
    rows = logs.signatures(logs.read([tail(SERVED, MAIN), tail(REFUSED.replace(" 10:59:", " 11:59:"), STDOUT)]))
    found = {row["name"]: row for row in rows}["configuration"]
    assert found["count"] == found["total"] == 5
    assert found["line"].endswith("Error transforming datatype for: listeners.tcp.default")
    assert found["last_at"] == "2026-11-24T11:59:40.907Z"
    assert "s3cret" not in str(rows)


def test_the_telling_line_of_a_failure_is_quoted() -> None:
    lines = [
        "    reason: {listen_error,{acceptor,{0,0,0,0,0,0,0,0},5672},eaddrinuse}",
        "                                 eaddrinuse}}}}}}},",
    ]
    text = "".join(f"{PREFIX}{line}\n" for line in lines)
    (found,) = [row for row in logs.signatures(logs.read([tail(text)])) if row["name"] == "port_in_use"]
    assert (found["count"], found["line"].endswith("5672},eaddrinuse}")) == (2, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (NO_CERTIFICATE, "ssl_options.certfile invalid, file does not exist or cannot be read by the node"),
        (NO_SYNTAX, "advanced.config\": 1: syntax error before: '{'"),
    ],
)
def test_of_a_configuration_that_is_refused_the_line_with_the_fault_is_quoted(text: str, told: str) -> None:
    found = {row["name"]: row for row in logs.signatures(logs.read([tail(text, STDOUT)]))}
    assert found["configuration"]["count"] >= 3
    assert found["configuration"]["line"].endswith(told)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["BOOT FAILED", "===========", "Error during startup: {error,not_json}"], "startup: {error,not_json}"),
        (["BOOT FAILED", "===========", "Exception during startup:", "", "error:{badmatch,[]}"], "error:{badmatch,[]}"),
        (["BOOT FAILED", "===========", "Exception during startup:"], "BOOT FAILED"),
        (["BOOT FAILED", "another line"], "BOOT FAILED"),
    ],
)
def test_of_a_boot_that_failed_the_reason_is_quoted_and_not_that_it_failed(lines: list[str], told: str) -> None:
    (found,) = logs.signatures(logs.read([tail("".join(f"{PREFIX}{line}\n" for line in lines))]))
    assert (found["name"], found["count"], found["line"].endswith(told)) == ("boot_failed", 1, True)


def test_lines_of_the_journal_have_its_time() -> None:
    written = datetime.fromisoformat("2026-11-24T10:59:40+00:00")
    line = logs.line_of("Cookie file /x must be accessible by owner only", "journal", written)
    found = logs.signatures(logs.read([tail(SERVED)], [line]))
    assert [(row["name"], row["count"], row["file"], row["last_at"]) for row in found] == [
        ("cookie_file", 0, "journal", "2026-11-24T10:59:40.000Z")
    ]
    assert logs.last_at(logs.read([tail(SERVED)], [line])) == "2026-11-24T11:06:22.500Z"


# Lines of 3.10.8 and 4.0.5 that each signature must find.
LINES = {
    "disk_low": "Free disk space is insufficient. Free bytes: 31000000. Limit: 50000000",
    "disk_alarm_set": "disk resource limit alarm set on node 'rabbit@b-r1'.",
    "disk_alarm_cleared": "disk resource limit alarm cleared across the cluster",
    "memory_high": "vm_memory_high_watermark set. Memory used:152000000 allowed:100000000",
    "memory_alarm_set": "memory resource limit alarm set on node rabbit@b.",
    "memory_alarm_cleared": "memory resource limit alarm cleared on node rabbit@b",
    "file_descriptors": "Ranch acceptor reducing accept rate: out of file descriptors",
    "disk_quota": "failed to write PID file: disk quota exceeded",
    "disk_full": "** Reason for termination = error:{badmatch,{error,enospc}}",
    "login_refused": "PLAIN login refused: user 'veza' - invalid credentials",
    "guest_from_afar": "PLAIN login refused: user 'guest' can only connect via localhost",
    "vhost_missing": "vhost /nosuch not found",
    "vhost_refused": "access to vhost '/' refused for user 'mon'",
    "http_refused": "HTTP access denied: user 'x' - invalid credentials",
    "connection_lost": "client unexpectedly closed TCP connection",
    "handshake_timeout": "{handshake_timeout,frame_header}",
    "bad_header": '{bad_header,<<"-e AMQP\\\\">>}',
    "heartbeats_missed": "missed heartbeats from client, timeout: 60s",
    "permission_refused": "operation basic.publish caused a channel exception access_refused: write access to exchange "
                          "'veza.events' in vhost '/veza' refused for user 'veza'",
    "exclusive_use": "operation basic.consume caused a channel exception access_refused: queue 'dmca_propagation' in "
                     "vhost '/veza' in exclusive use",
    "exchange_missing": "operation basic.publish caused a channel exception not_found: no exchange 'veza.events' in "
                        "vhost '/veza'",
    "message_too_large": "operation basic.publish caused a channel exception precondition_failed: message size 312 is"
                         " larger than configured max size 23",
    "operation_refused": "operation queue.declare caused a channel exception not_found: no queue 'q' in vhost '/veza'",
    "arguments_refused": "operation queue.declare caused a channel exception precondition_failed: inequivalent arg "
                         "'x-max-length' for queue 'transcode_jobs' in vhost '/veza': received '7'",
    "connection_limit": "Error on AMQP connection <0.1.0>: access to vhost '/veza' refused for user 'veza': connection "
                        "limit (2) is reached",
    "ack_timeout": "Consumer 'ctag1' on channel 1 and queue 'q' in vhost '/' has timed out waiting for a consumer "
                   "acknowledgement of a delivery with delivery tag = 1. Timeout used: 1800000 ms.",
    "partition": "Mnesia('rabbit@r1'): ** ERROR ** mnesia_event got {inconsistent_database, "
                 "running_partitioned_network, 'rabbit@r3'}",
    "peer_lost": "node 'rabbit@r3' down: net_tick_timeout",
    "minority_paused": "Cluster minority/secondary status detected - awaiting recovery",
    "autoheal": "Autoheal: we were selected to restart; winner is 'rabbit@r3'",
    "waiting_for_tables": "Waiting for Mnesia tables for 30000 ms, 8 retries left",
    "cookie_of_peer": "Connection attempt from node 'rabbit@x' rejected. Invalid challenge reply.",
    "quorum_member_missing": "Quorum queue recovery: configured member of queue 'q' in vhost '/' was not found on this "
                             "node. Starting member as a new one. Context: name_not_registered",
    "sigterm": "SIGTERM received - shutting down",
    "maintenance": "This node is being put into maintenance (drain) mode",
    "revived": "This node is being revived from maintenance (drain) mode",
    "empty_boot": "Node database directory at /var/lib/rabbitmq/mnesia/rabbit@a is empty. Assuming we need to join an"
                  " existing cluster or initialise from scratch...",
    "unclean_before": "dets: file \"/var/lib/rabbitmq/mnesia/x.dets\" not properly closed, repairing ...",
    "messages_dropped": "Queue q in vhost / dropped 3/4/0 persistent messages and 1 transient messages after unclean "
                        "shutdown",
    "start_script": "/usr/lib/rabbitmq/bin/rabbitmq-server: 68: exec: erl: Permission denied",
    "boot_failed": "BOOT FAILED",
    "crash_dump": "Crash dump is being written to: /var/log/rabbitmq/erl_crash.dump...done",
    "configuration": "  - Conf file attempted to set unknown variable: nosuch.key",
    "port_in_use": "{could_not_start_listener,\"::\",5672,{{shutdown,{failed_to_start_child,{listen,eaddrinuse}}}}}",
    "cookie_file": "Cookie file /var/lib/rabbitmq/.erlang.cookie must be accessible by owner only",
    "permissions": "Ra could not create its data directory. Error: eacces",
    "feature_flags": "Feature flags: `stream_single_active_consumer`: required feature flag not enabled!",
    "inconsistent_cluster": "Mnesia: node 'a' thinks it's clustered with node 'b', but 'b' disagrees",
    "peers_missing": "Timeout contacting cluster nodes: ['rabbit@r2'].",
    "name_resolution": "ERROR: epmd error for host rabbit: nxdomain (non-existing domain)",
}  # fmt: skip


def test_every_signature_has_a_line_here() -> None:
    assert list(LINES) == [signature.name for signature in SIGNATURES]


def test_an_older_broker_tells_of_a_late_acknowledgement_in_other_words() -> None:
    text = "Consumer 2 on channel 1 has timed out waiting for delivery acknowledgement. Timeout used: 4000 ms."
    assert counts(tail(PREFIX + text + "\n")) == {"ack_timeout": (1, 1)}


@pytest.mark.parametrize("name", LINES)
def test_each_signature_finds_its_line(name: str) -> None:
    assert HINTS.search(LINES[name])
    assert counts(tail(PREFIX + LINES[name] + "\n"))[name] == (1, 1)


def test_a_healthy_boot_and_an_orderly_stop_show_nothing_bad() -> None:
    assert counts(tail(BOOT + CTL_STOP)) == {}
    assert set(counts(tail(BOOT + SIGTERM))) == {"sigterm"}


def test_a_line_is_quoted_with_a_bound() -> None:
    found = logs.signatures(logs.read([tail(PREFIX + "BOOT FAILED" + "x" * 10000)]))
    assert len(found[0]["line"]) == 400


def test_the_end_of_the_run_before_is_known_while_the_next_one_boots() -> None:
    before = PREFIX.replace("21:10:01", "20:10:01") + "accepting AMQP connection\n"
    assert life(tail(before + BOOT_BEGUN), running=True)["previous_end"] == "2026-11-23T20:10:01.000Z"
    assert life(tail(BOOT_BEGUN), running=True)["previous_end"] is None


def test_an_orderly_stop_of_the_run_before_is_told_of_the_next_one() -> None:
    stopped = life(tail(BOOT + CTL_STOP), running=False)["at"]
    later = BOOT.replace("2026-11-23", "2026-11-24")
    assert life(tail(BOOT + CTL_STOP + later), running=True)["previous_stop"] == stopped
    assert life(tail(BOOT + later), running=True)["previous_stop"] is None
    assert life(tail(later), running=True)["previous_stop"] is None
    # It has not written yet.
    young = datetime(2026, 11, 24, tzinfo=UTC)
    read = logs.read([tail(BOOT + CTL_STOP)])
    assert logs.lifecycle(read, True, young)[0]["previous_stop"] == stopped


def test_what_a_boot_dropped_is_a_number() -> None:
    text = (
        "2026-01-31 02:00:00.000000+00:00 [info] <0.1.0>  Starting RabbitMQ 4.0.5 on Erlang 27.3.4.1 [jit]\n"
        "2026-01-31 02:00:01.000000+00:00 [warning] <0.2.0> Queue old in vhost /veza dropped 9/9/9 persistent messages "
        "and 9 transient messages after unclean shutdown\n"
        "2026-01-31 02:03:00.000000+00:00 [info] <0.1.0>  Starting RabbitMQ 4.0.5 on Erlang 27.3.4.1 [jit]\n"
        "2026-01-31 02:03:01.000000+00:00 [warning] <0.2.0> Queue a queue in vhost /veza dropped 3/4/0 persistent "
        "messages and 1 transient messages after unclean shutdown\n"
    )
    log = logs.read([Tail("/var/log/rabbitmq/rabbit@mq.log", text, 0.0, True)])
    assert logs.dropped(log) == [{"queue": "a queue", "vhost": "/veza", "persistent": 7, "transient": 1}]


def test_where_the_log_of_the_run_has_no_start_an_older_boot_that_failed_is_not_of_it() -> None:
    run = "2026-01-30 00:00:01.000000+00:00 [info] <0.1.0> accepting AMQP connection\n"
    boot = (
        "2026-01-10 10:00:00.000000+00:00 [error] <0.1.0> Conf file attempted to set unknown variable: moon\n"
        "BOOT FAILED\n"
    )
    for at, count in (("2026-01-10T10:00:01+00:00", 0), ("2026-01-30T00:00:02+00:00", 1)):
        log = logs.read([tail(run, modified="2026-01-30T00:00:01+00:00"), tail(boot, STDOUT, at)])
        found = logs.signatures(log)
        assert {one["name"]: one["count"] for one in found} == {"boot_failed": count, "configuration": 0}


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("operation basic.publish caused a channel exception not_found: no exchange 'x' in vhost '/veza'", True),
        ("operation basic.publish caused a channel exception not_found: no exchange 'x' in vhost '/veza2'", False),
        ("access to vhost '/dev' refused for user 'veza'", False),
        ("disk resource limit alarm set on node rabbit@a.", True),
    ],
)
def test_what_another_vhost_is_told_of_is_not_ours(text: str, ours: bool) -> None:
    log = logs.read([tail(BOOT + PREFIX + text + "\n")])
    assert bool(logs.signatures(log, "/veza")) is ours
    assert logs.signatures(log)
    assert logs.signatures(log, "/vézà")  # how such a name is written is not known
