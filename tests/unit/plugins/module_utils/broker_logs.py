# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs of RabbitMQ 3.10.8, captured from a real broker and shortened."""

from __future__ import annotations

from datetime import datetime

from ansible_collections.veza.rabbitmq.plugins.module_utils._host import Tail

MAIN = "/var/log/rabbitmq/rabbit@b.log"
STDOUT = "/var/log/rabbitmq/rabbitmq-server.log"
STDERR = "/var/log/rabbitmq/rabbitmq-server.error.log"

BOOT_BEGUN = """\
2026-11-23 21:09:05.361861+00:00 [notice] <0.223.0> Logging: configured log handlers are now ACTIVE
2026-11-23 21:09:07.501020+00:00 [info] <0.223.0>
2026-11-23 21:09:07.501020+00:00 [info] <0.223.0>  Starting RabbitMQ 3.10.8 on Erlang 25.2.3 [jit]
2026-11-23 21:09:07.501020+00:00 [info] <0.223.0>  Copyright (c) 2007-2022 VMware, Inc. or its affiliates.
2026-11-23 21:09:07.503539+00:00 [info] <0.223.0>  node           : rabbit@b
2026-11-23 21:09:07.503539+00:00 [info] <0.223.0>  database dir   : /var/lib/rabbitmq/mnesia/rabbit@b
2026-11-23 21:09:08.007970+00:00 [info] <0.223.0> Waiting for Mnesia tables for 30000 ms, 9 retries left
"""

BOOT = (
    BOOT_BEGUN
    + """\
2026-11-23 21:09:08.073711+00:00 [info] <0.472.0> Ready to start client connection listeners
2026-11-23 21:09:08.075084+00:00 [info] <0.583.0> started TCP listener on 127.0.0.1:5672
2026-11-23 21:09:08.159513+00:00 [info] <0.472.0> Server startup complete; 3 plugins started.
2026-11-23 21:09:08.159513+00:00 [info] <0.472.0>  * rabbitmq_management
"""
)

SIGTERM = """\
2026-11-23 21:09:18.379703+00:00 [notice] <0.61.0> SIGTERM received - shutting down
2026-11-23 21:09:18.379703+00:00 [notice] <0.61.0>
2026-11-23 21:09:18.391498+00:00 [info] <0.583.0> stopped TCP listener on 127.0.0.1:5672
2026-11-23 21:09:18.403117+00:00 [info] <0.388.0> Management plugin: to stop collect_statistics.
"""

ASKED = """\
2026-11-23 21:10:55.757080+00:00 [info] <0.1181.0> RabbitMQ is asked to stop...
2026-11-23 21:10:55.820606+00:00 [info] <0.1181.0> Stopping RabbitMQ applications and their dependencies in the \
following order:
2026-11-23 21:10:55.820606+00:00 [info] <0.1181.0>     rabbitmq_management
2026-11-23 21:10:55.844209+00:00 [info] <0.777.0> stopped TCP listener on 127.0.0.1:5672
"""

CTL_STOP = (
    ASKED
    + """\
2026-11-23 21:11:00.864749+00:00 [notice] <0.44.0> Application rabbit exited with reason: stopped
2026-11-23 21:11:00.884288+00:00 [info] <0.1181.0> Successfully stopped RabbitMQ and its dependencies
2026-11-23 21:11:00.884670+00:00 [info] <0.1181.0> Halting Erlang VM with the following applications:
2026-11-23 21:11:00.884670+00:00 [info] <0.1181.0>     amqp10_common
"""
)

# On standard output: the node has no log of its own yet.
PRELAUNCH_FAILURE = """\
2026-11-23 21:24:35.590583+00:00 [error] <0.132.0>   - Conf file attempted to set unknown variable: nosuch.key
2026-11-23 21:24:35.594435+00:00 [error] <0.132.0>
2026-11-23 21:24:35.594435+00:00 [error] <0.132.0> BOOT FAILED
2026-11-23 21:24:35.594435+00:00 [error] <0.132.0> ===========
2026-11-23 21:24:35.594435+00:00 [error] <0.132.0> Error during startup: {error,failed_to_prepare_configuration}
"""

PRELAUNCH_FAILURE_STDERR = """\

BOOT FAILED
===========
Error during startup: {error,failed_to_prepare_configuration}

"""

# 4.0.5: a configuration that was refused, then mended; a broker that served, and was stopped.
REFUSED = """\
2026-11-24 10:59:39.888317+00:00 [error] <0.153.0> Error preparing configuration in phase transform_datatypes:
2026-11-24 10:59:39.903575+00:00 [error] <0.153.0>   - Error transforming datatype for: listeners.tcp.default
2026-11-24 10:59:39.903660+00:00 [error] <0.153.0>   - "s3cret-val" cannot be converted to a(n) integer
2026-11-24 10:59:39.905951+00:00 [error] <0.153.0> BOOT FAILED
2026-11-24 10:59:39.905951+00:00 [error] <0.153.0> Error during startup: {error,failed_to_prepare_configuration}
2026-11-24 10:59:40.906496+00:00 [error] <0.153.0>     reason: failed_to_prepare_configuration
{exit,terminating,[{application_controller,call,2,[{file,"application_controller.erl"},{line,511}]}],\
{failed_to_prepare_configuration}}
2026-11-24 10:59:40.907032+00:00 [notice] <0.45.0> Application rabbitmq_prelaunch exited with reason: \
{{shutdown,{failed_to_start_child,prelaunch,failed_to_prepare_configuration}},{rabbit_prelaunch_app,start,[normal,[]]}
"""

# 4.0.5: a certificate that is not there, and a syntax error in advanced.config.
NO_CERTIFICATE = """\
2026-11-28 05:16:26.442718+00:00 [error] <0.151.0> Error preparing configuration in phase validation:
2026-11-28 05:16:26.442793+00:00 [error] <0.151.0>   - ssl_options.certfile invalid, file does not exist or cannot be \
read by the node
2026-11-28 05:16:26.445951+00:00 [error] <0.151.0> BOOT FAILED
2026-11-28 05:16:26.445951+00:00 [error] <0.151.0> Error during startup: {error,failed_to_prepare_configuration}
2026-11-28 05:16:27.455248+00:00 [error] <0.151.0>                              failed_to_prepare_configuration}},
"""

NO_SYNTAX = """\
2026-11-28 05:14:13.680000+00:00 [error] <0.151.0> Failed to load advanced configuration file \
"/etc/rabbitmq/advanced.config": 1: syntax error before: '{'
2026-11-28 05:14:13.690000+00:00 [error] <0.151.0> BOOT FAILED
2026-11-28 05:14:13.690000+00:00 [error] <0.151.0> Error during startup: \
{error,failed_to_read_advanced_configuration_file}
2026-11-28 05:14:14.695000+00:00 [error] <0.151.0>     reason: failed_to_read_advanced_configuration_file
"""

SERVED = """\
2026-11-24 11:06:16.000000+00:00 [notice] <0.216.0> Logging: configured log handlers are now ACTIVE
2026-11-24 11:06:19.000000+00:00 [info] <0.586.0> Server startup complete; 4 plugins started.
2026-11-24 11:06:22.368000+00:00 [info] <0.820.0> RabbitMQ is asked to stop...
2026-11-24 11:06:22.500000+00:00 [info] <0.820.0> Successfully stopped RabbitMQ and its dependencies
"""

SERVED_STDOUT = """\

  ##  ##      RabbitMQ 4.0.5
  ##########  Copyright (c) 2007-2024 Broadcom Inc and/or its subsidiaries
  Starting broker... completed with 4 plugins.
Stopping and halting node rabbit@b ...
"""

REFUSED_STDERR = """\
BOOT FAILED
===========
Error during startup: {error,failed_to_prepare_configuration}

Kernel pid terminated (application_controller) ("{application_start_failure,rabbitmq_prelaunch,{{shutdown,\
{failed_to_start_child,prelaunch,failed_to_prepare_configuration}},{rabbit_prelaunch_app,start,[normal,[]]}}}")

Crash dump is being written to: erl_crash.dump...done
"""

COOKIE_STDERR = """\
BOOT FAILED
===========
error:{badmatch,{error,{{shutdown,{failed_to_start_child,auth,\
{"Cookie file /var/lib/rabbitmq/.erlang.cookie must be accessible by owner only",[]}}}}}}

Crash dump is being written to: erl_crash.dump...done
"""

# 4.0.5: the dump could not be written, so that the line has no end; the next run's words, as the file has them.
UNWRITTEN_DUMP_STDERR = """\
Kernel pid terminated (application_controller) ("{application_start_failure,rabbit,{{cannot_log_to_file,\
\\"/var/log/rabbitmq/rabbit@rabbitmq.log\\",eacces},{rabbit,start,[normal,[]]}}}")

Crash dump is being written to: /var/log/rabbitmq/erl_crash.dump..."""

HALTED = "Gracefully halting Erlang VM\n"

FAULTS = """\
2026-11-23 21:10:01.359000+00:00 [error] <0.861.0> Error on AMQP connection <0.861.0> (127.0.0.1:45010 -> \
127.0.0.1:5672, state: starting):
2026-11-23 21:10:01.359000+00:00 [error] <0.861.0> PLAIN login refused: user 'u1' - invalid credentials
2026-11-23 21:10:02.889000+00:00 [error] <0.866.0> vhost /nosuch not found
2026-11-23 21:10:03.138524+00:00 [info] <0.293.0> Free disk space is insufficient. Free bytes: 84. Limit: 999999000
2026-11-23 21:10:03.138630+00:00 [warning] <0.289.0> disk resource limit alarm set on node rabbit@b.
2026-11-23 21:10:05.805482+00:00 [warning] <0.289.0> disk resource limit alarm cleared on node rabbit@b
2026-11-23 21:10:05.805518+00:00 [warning] <0.289.0> disk resource limit alarm cleared across the cluster
2026-11-23 21:10:05.970763+00:00 [warning] <0.1067.0> client unexpectedly closed TCP connection
"""


def seconds(text: str) -> float:
    """Return an instant as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def tail(text: str, path: str = MAIN, modified: str = "2026-11-23T21:30:00+00:00", *, whole: bool = True) -> Tail:
    """Return the end of a log file."""
    return Tail(path, text, seconds(modified), whole)
