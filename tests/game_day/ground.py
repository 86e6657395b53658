# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab as a run needs it: everything that touches hosts, files and processes. See ``run.Ground``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.lab import evidence, ledger, scenario
from tests.lab.incus.lab import API_CONTAINER
from tests.lab.ledger import Verdict
from tests.lab.state import CHECKOUT, LabError, write_private

from . import means, probe
from .run import Played
from .watchers import Sample

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

CALLBACK = Path(__file__).with_name("callback")

IN_THE_NODE = """
Say = fun(Look) -> try Look() catch _:_ -> unknown end end,
lists:flatten(lists:join(" ;; ", [io_lib:format("~0p", [Say(Look)]) || Look <- [
  fun() -> lists:keymember(rabbit, 1, application:which_applications()) end,
  fun() -> rabbit_alarm:get_alarms() end,
  fun() -> {vm_memory_monitor:get_vm_memory_high_watermark(), rabbit_disk_monitor:get_disk_free_limit()} end,
  fun() -> rabbit_maintenance:is_being_drained_consistent_read(node()) end]])).
"""
"""One call for all that only the node itself knows; the answer is one Erlang string."""

ON_THE_HOST = """
for path in /var/lib/rabbitmq/mnesia/*@*; do
    case $path in *-plugins-expand) ;; *) [ ! -d "$path" ] || stat -c 'data %n %i' "$path" ;; esac
done
find /etc/rabbitmq /var/lib/rabbitmq/.erlang.cookie -type f 2>/dev/null | sort | xargs sha256sum
echo whole
"""
"""An answer that was cut short, as one is on a busy machine, must not look like data that are gone."""

WORKERS = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Running}} {{.Id}} {{.State.StartedAt}}'
BACKEND = "{{.Id}} {{.State.StartedAt}} {{.State.Pid}}"


class LabGround:
    """A lab of Incus hosts."""

    def __init__(self, lab: IncusLab, rabbitmq: str, output: Path, clean: bool = False) -> None:
        """``clean``: the lab is in its clean state already, so the first reset is spared."""
        self.lab, self.rabbitmq, self._output, self._clean = lab, rabbitmq, output, clean
        self._quiet_since = 0.0
        output.mkdir(parents=True, exist_ok=True)

    def reset(self) -> None:
        """Bring the lab into its clean state, all of it at work."""
        if not self._clean:
            try:
                self.lab.reset()
            except LabError:
                # A boot that starved on a busy machine says nothing about what is measured.
                self.lab.reset()
        self._clean = False
        if not means.until(lambda: probe.look(self.lab).drained, 60):
            raise RuntimeError(f"the lab is not at work 60 s after its reset: {probe.look(self.lab)}")

    def versions(self) -> dict[str, str]:
        """Return the versions of what takes part."""
        galaxy = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())
        return {
            "rabbitmq": str(means.api(self.lab, "GET", "/api/overview")["rabbitmq_version"]),
            "ansible_core": metadata.version("ansible-core"),
            "collection": str(galaxy["version"]),
        }

    @contextlib.contextmanager
    def load(self, wanted: bool) -> Iterator[None]:
        """Keep requests flowing inside the context."""
        if wanted:
            with scenario.Load(self.lab, seconds=3600.0):
                yield
        else:
            yield
        self._quiet_since = time.time()

    def progress(self, over: Callable[[], bool]) -> probe.Progress:
        """Look from outside inside the context."""
        return probe.Progress(lambda: probe.look(self.lab), over)

    def play(self, name: str, *arguments: str, extra: Mapping[str, Any], timeout: float) -> Played:
        """Run a playbook; its output and what the witness saw stay beside the run's result."""
        number = len(list(self._output.glob("*.log"))) + 1
        log = self._output / f"{number}-{name}.log"
        witness = log.with_suffix(".jsonl")
        if extra:
            variables = self.lab.dir / "game-day-variables.json"
            write_private(variables, json.dumps(dict(extra)))
            arguments = (*arguments, "-e", f"@{variables}")
        os.environ.update(
            VEZA_WITNESS=str(witness), ANSIBLE_CALLBACK_PLUGINS=str(CALLBACK), ANSIBLE_CALLBACKS_ENABLED="witness"
        )
        status: int | None = None
        with contextlib.suppress(scenario.ScenarioError):
            status = scenario.Playbook(self.lab, name, *arguments, log=log).start().wait(timeout)
        lines = witness.read_text().splitlines() if witness.exists() else []
        return Played(name, status, [json.loads(line) for line in lines])

    def actions(self) -> list[str]:
        """Return what the last incident's record says was done."""
        records = [document["record"] for document in self.lab.incident_documents() if "record" in document]
        done = records[-1]["actions"] if records else []
        return [f"{action['name']} on {action['target']}" for action in done]

    def sample(self) -> Sample:
        """Return how the hosts are; what does not answer is None."""
        unit = means.attempt(lambda: means.unit(self.lab))
        alive = unit is not None and unit.get("MainPID") != "0"
        seen = probe.look(self.lab)
        sample = Sample(
            backends={host: means.attempt(partial(self._backend, host)) for host in means.BACKENDS},
            workers=means.attempt(self._workers) or {},
            unit=unit,
            serving=seen.serving,
            listens=means.attempt(lambda: means.hello(self.lab) != "refused"),
            dead_letters=seen.dead_letters,
            **(means.attempt(self._files) or {}),
        )
        return replace(sample, **(means.attempt(self._node) or {})) if alive else sample

    def _backend(self, host: str) -> str:
        argv = ("docker", "inspect", "-f", BACKEND, API_CONTAINER)
        return str(self.lab.on(host, *argv, check=True, timeout=20).stdout.strip())

    def _workers(self) -> dict[str, str | None]:
        script = f"docker ps -aq | xargs docker inspect -f '{WORKERS}'"
        lines = means.shell(self.lab, means.WORKERS, script, timeout=20).splitlines()
        rows = [line.split(" ", 2) for line in lines]
        return {service: identity if running == "true" else "" for service, running, identity in rows}

    def _files(self) -> dict[str, Any]:
        *lines, last = means.shell(self.lab, means.BROKER, ON_THE_HOST, timeout=20).splitlines()
        if last != "whole":
            return {}
        data = frozenset(line.removeprefix("data ") for line in lines if line.startswith("data "))
        rest = "\n".join(line for line in lines if not line.startswith("data "))
        return {"data": data, "configuration": hashlib.sha256(rest.encode()).hexdigest()}

    def _node(self) -> dict[str, Any]:
        # A broker that hangs would keep rabbitmqctl for a minute.
        text = self.lab.rabbitmqctl("eval", " ".join(IN_THE_NODE.split()), timeout=12).strip().strip('"')
        app, alarms, limits, maintenance = text.split(" ;; ")
        truth = {"true": True, "false": False}
        return {
            "app": truth.get(app),
            "alarms": None if alarms == "unknown" else alarms,
            "limits": None if "unknown" in limits else limits,
            "maintenance": truth.get(maintenance),
        }

    def settle(self, seconds: float) -> list[str]:
        """Wait until nothing is under way; return what still is when time ran out."""
        settled = scenario.settle(self.lab, self._quiet_since, seconds)
        return [] if settled else scenario.under_way(self.lab)

    def judge(self) -> Verdict:
        """Ask the ledger. That there was an outage is not its business here: the fault itself was proved."""
        listed = scenario.audits(self.lab) or frozenset()
        facts = evidence.gather(self.lab, None, listed, demanded=frozenset())
        doubts = [doubt for doubt in ledger.DOUBTS if doubt not in ledger.OF_AN_OUTAGE]
        reasons = tuple(reason for doubt in doubts for reason in doubt(facts))
        return replace(ledger.judge(facts), invalid=reasons)
