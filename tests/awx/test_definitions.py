# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What extensions/awx defines is what awx.awx documents, what the playbooks take, and consistent with itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.awx.tables import AWX, ROOT, VARIABLE, load, module, options, roles_of, specification, tables, tasks
from tests.tools import borrowed

TABLES = tables()
TEMPLATES = {one["name"]: one for one in TABLES["controller_templates"]}
TASKS = {
    f"{path.stem}: {task['name']}": module(task)
    for path in sorted((AWX / "tasks").glob("*.yml"))
    for task in tasks(load(path))
}
# What a question of a survey may say, and by which type of question an option is asked for.
QUESTION = {"question_name", "question_description", "variable", "type", "required", "default", "choices", "min", "max"}
ASKED_AS = {"bool": "multiplechoice", "int": "integer", "float": "integer", "str": "text", "path": "text"}
# What a field of a credential type may say (AWX's own schema).
FIELD = {"id", "type", "label", "help_text", "secret", "multiline", "format", "choices", "default", "ask_at_runtime"}


@pytest.fixture(scope="module")
def documented() -> dict[str, dict[str, Any]]:
    """The options of each module that is used, by its full name."""
    names = sorted({name for name, _arguments in TASKS.values()})
    doc = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-doc")), "-j", "-t", "module", *names],
        env={
            "ANSIBLE_COLLECTIONS_PATH": str(borrowed.path_with("awx.awx")),
            "PATH": "/usr/bin",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name: plugin["doc"]["options"] for name, plugin in json.loads(doc.stdout).items()}
    assert sorted(found) == names
    return found


def test_what_the_removal_leaves_is_said() -> None:
    """AWX sets a job's template to null and keeps the job; no module of awx.awx deletes one."""
    removed = {name.removeprefix("awx.awx.") for task, (name, _unused) in TASKS.items() if task.startswith("remove: ")}
    assert not [name for name in removed if "job" in name and not name.endswith("job_template")]
    for told in (AWX / "remove_awx.yml", AWX / "README.md"):
        text = " ".join(told.read_text(encoding="utf-8").replace("#", " ").split())
        assert "jobs and secrets included" not in text, told
        assert "history of its jobs" in text, told
        assert "Cleanup Job Details" in text, told


@pytest.mark.parametrize("task", TASKS)
def test_each_key_is_documented(task: str, documented: dict[str, dict[str, Any]]) -> None:
    name, arguments = TASKS[task]
    known = documented[name]
    assert set(arguments) <= set(known)
    assert {key for key, option in known.items() if option.get("required")} <= set(arguments)
    for key, value in arguments.items():
        if known[key].get("choices") and "{{" not in str(value):
            assert value in known[key]["choices"], key
        check_keys(known[key].get("suboptions"), value)


def check_keys(known: dict[str, Any] | None, value: Any) -> None:
    if known and isinstance(value, dict):
        assert set(value) <= set(known)
        for key, inner in value.items():
            check_keys(known[key].get("suboptions"), inner)


def test_what_is_defined_is_removed_too() -> None:
    def kinds(playbook: str) -> set[str]:
        return {name for task, (name, _arguments) in TASKS.items() if task.startswith(playbook)}

    # They go with what they belong to.
    inside = {"awx.awx.inventory_source", "awx.awx.workflow_job_template_node", "awx.awx.schedule", "awx.awx.role"}
    assert kinds("remove") == kinds("configure") - inside - {"awx.awx.inventory_source_update"}
    for task, (_name, arguments) in TASKS.items():
        if task.startswith("remove"):
            assert arguments["state"] == "absent"


def test_nothing_is_always_changed() -> None:
    """What the modules can't compare is left out; what AWX fills in is given."""
    for name, arguments in TASKS.values():
        assert not {"workflow_nodes", "schema", "destroy_current_nodes"} & set(arguments)
        if name == "awx.awx.credential" and "inputs" in arguments:
            assert "update_secrets" in arguments
        if name == "awx.awx.notification_template" and "notification_configuration" in arguments:
            given = {"url", "http_method", "headers", "username", "password", "disable_ssl_verification"}
            assert set(arguments["notification_configuration"]) == given
    assert TABLES["veza_awx_update_secrets"] is False


# ---- credentials --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TABLES["controller_credential_types"], ids=lambda kind: kind["name"])
def test_a_secret_is_never_an_extra_variable(kind: dict[str, Any]) -> None:
    fields = {field["id"]: field for field in kind["inputs"]["fields"]}
    for field in fields.values():
        assert set(field) <= FIELD
        assert field["type"] == "string", "AWX would add it, and the next run would differ"
    assert set(kind["inputs"]["required"]) <= set(fields)
    used = {
        where: set(VARIABLE.findall(" ".join(kind["injectors"].get(where, {}).values())))
        for where in ("env", "extra_vars")
    }
    assert used["env"] | used["extra_vars"] == set(fields), "each field goes somewhere"
    assert not used["extra_vars"] & {name for name, field in fields.items() if field.get("secret")}


def test_what_is_injected_is_what_the_roles_look_for() -> None:
    looked_for = re.findall(
        r"^(\w+): \"{{ lookup\('ansible.builtin.env', '(\w+)'\) }}\"$",
        (ROOT / "roles/veza/defaults/main.yml").read_text(),
        re.MULTILINE,
    )
    assert all(name.upper() == variable for name, variable in looked_for)
    injected = [name for kind in TABLES["controller_credential_types"] for name in kind["injectors"]["env"]]
    assert sorted(injected) == sorted(variable for _name, variable in looked_for)
    for kind in TABLES["controller_credential_types"]:
        assert set(kind["injectors"].get("extra_vars", {})) <= set(specification("veza"))


def test_every_kind_has_a_credential() -> None:
    used = [one["credential_type"] for one in TABLES["controller_credentials"]]
    assert sorted(used) == sorted(["Machine", *(kind["name"] for kind in TABLES["controller_credential_types"])])


# ---- templates ----------------------------------------------------------------------------------------------------


def test_every_playbook_has_one_template() -> None:
    playbooks = sorted(f"playbooks/{path.name}" for path in (ROOT / "playbooks").glob("*.yml"))
    assert sorted(template["playbook"] for template in TEMPLATES.values()) == playbooks


def surveys() -> list[Any]:
    """Each template's survey, and the workflow's with the templates of its nodes."""
    nodes = [TEMPLATES[node["template"]] for node in TABLES["controller_workflow"]["nodes"] if "template" in node]
    cases = [(template["survey"], [template]) for template in TEMPLATES.values()]
    return [
        pytest.param(survey, asked, id=name)
        for (survey, asked), name in zip(
            [*cases, (TABLES["controller_workflow"]["survey"], nodes)], [*TEMPLATES, "the workflow"], strict=True
        )
    ]


@pytest.mark.parametrize(("survey", "templates"), surveys())
def test_a_survey_asks_for_options_of_the_roles(survey: list[dict[str, Any]], templates: list[dict[str, Any]]) -> None:
    known = {name: option for template in templates for name, option in options(template["playbook"]).items()}
    composed = {name: text for template in templates for name, text in template.get("extra_vars", {}).items()}
    assert len({question["variable"] for question in survey}) == len(survey)
    for question in survey:
        assert set(question) <= QUESTION
        assert question["question_name"]
        assert question["question_description"]
        name = question["variable"]
        if name in known:
            check_question(question, known[name])
        else:
            # A key of an option that is a dictionary, which the template puts together.
            (whole,) = [one for one in composed if name in VARIABLE.findall(composed[one])]
            assert known[whole]["type"] == "dict"
            assert name.startswith(f"{whole}_")


def check_question(question: dict[str, Any], option: dict[str, Any]) -> None:
    assert question["type"] == ("multiplechoice" if option.get("choices") else ASKED_AS[option["type"]])
    if option["type"] == "bool":
        assert question["choices"] == ["false", "true"]
    elif option.get("choices"):
        assert question["choices"] == option["choices"]
    else:
        assert question["min"] <= question["max"]
    default = question["default"]
    assert default == (str(option["default"]).lower() if option["type"] == "bool" else option["default"])
    # AWX fills in a default where the question is not required, and refuses a launch without an answer where it is.
    assert question["required"] is (default == "" and question["min"] > 0)
    # Else AWX refuses the survey.
    assert isinstance(default, int if question["type"] == "integer" else str)
    assert default in question.get("choices", [default])


def test_a_yes_of_a_survey_is_text() -> None:
    """So every option that is asked for by yes and no must be made a boolean where it is used."""
    asked = {
        question["variable"]
        for template in TEMPLATES.values()
        for question in template["survey"]
        if options(template["playbook"]).get(question["variable"], {}).get("type") == "bool"
    }
    assert asked
    bare = re.compile(rf"(?<!needs: )\b(?:{'|'.join(asked)})\b(?! \| bool|[:=])")
    for path in (ROOT / "roles").rglob("*.yml"):
        if path.parent.parent.name == "roles" or path.parent.name in ("tasks", "remedies", "vars"):
            assert bare.findall(path.read_text()) == [], path


def test_an_empty_answer_is_null() -> None:
    """AWX hands it over as YAML that ansible-core 2.19 and later read so: no text may be compared as it comes."""
    asked = {
        question["variable"]
        for template in TEMPLATES.values()
        for question in template["survey"]
        if question["type"] == "text" and question["min"] == 0
    }
    assert asked
    used = r"==|!=|or|and|\|(?! default\(| veza.rabbitmq.shift_instant)"
    bare = re.compile(rf"(?<!not )(?<!_)\b(?:{'|'.join(asked)})\b(?= (?:{used}))")
    for path in (ROOT / "roles").rglob("*.yml"):
        if path.parent.name in ("tasks", "remedies", "vars"):
            lines = [line for line in path.read_text().splitlines() if bare.search(line) and "msg:" not in line]
            assert not lines, path


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_task_sets_what_a_survey_asks_for(template: str) -> None:
    """An answer is an extra variable, also where it is empty: it would beat whatever the task says."""
    playbook = TEMPLATES[template]["playbook"]
    asked = "|".join(question["variable"] for question in TEMPLATES[template]["survey"])
    for role in roles_of(playbook):
        for path in (ROOT / "roles" / role / "tasks").rglob("*.yml"):
            assert re.findall(rf"^\s+(?:{asked}):", path.read_text(), re.MULTILINE) == [], path


def test_no_survey_asks_for_a_secret() -> None:
    for template in TEMPLATES.values():
        assert all(question["type"] != "password" for question in template["survey"])


def test_names_are_unique() -> None:
    """AWX looks for what a node runs among all of them."""
    site = TABLES["veza_awx_sites"][0]["name"]
    workflow = TABLES["controller_workflow"]
    approvals = [f"{node['name']} {site}" for node in workflow["nodes"] if "template" not in node]
    others = ["Veza RabbitMQ playbooks", f"Veza RabbitMQ {site} hosts", f"{workflow['name']} {site}"]
    names = [*TEMPLATES, *approvals, *others]
    assert len(set(names)) == len(names)


def test_the_workflow_diagnoses_asks_recovers_audits_and_reports() -> None:
    nodes = TABLES["controller_workflow"]["nodes"]
    assert [node["identifier"] for node in nodes] == ["diagnose", "approve", "recover", "audit", "report"]
    assert {node["template"] for node in nodes if "template" in node} <= set(TEMPLATES)
    assert [node.get("job_type") for node in nodes] == ["check", None, "run", "run", "run"]
    assert "diagnose" in nodes[1]["description"]
    assert "rabbitmq_outage_plan" in nodes[1]["description"]


def test_jobs_of_one_broker_are_never_sliced_and_may_run_side_by_side() -> None:
    arguments = TASKS["configure: Offer each playbook"][1]
    assert arguments["job_slice_count"] == 1
    assert arguments["allow_simultaneous"] is True
    for asked in ("inventory", "credential", "job_type", "variables"):
        assert arguments[f"ask_{asked}_on_launch"] is True


def test_every_site_of_the_example_has_its_inventory() -> None:
    for site in TABLES["veza_awx_sites"]:
        inventory = load(ROOT / site["source_path"])
        assert inventory["all"]["vars"]["veza_site"] == site["name"]
        assert set(inventory["veza"]["children"]) >= {"veza_data_rabbitmq", "veza_app_backend", "veza_workers"}
        assert set(inventory["all"]["vars"]) <= set(specification("veza"))


# ---- artifacts ----------------------------------------------------------------------------------------------------


def artifacts() -> dict[str, Path]:
    """Every artifact that the collection hands over, and the file that does so."""
    found: dict[str, Path] = {}
    for path in sorted([*(ROOT / "roles").glob("*/tasks/**/*.yml"), *(ROOT / "playbooks").glob("*.yml")]):
        for task in tasks(load(path)):
            if "ansible.builtin.set_stats" in task:
                found |= dict.fromkeys(task["ansible.builtin.set_stats"]["data"], path)
    return found


def test_verdict_plan_and_accounting_are_artifacts() -> None:
    expected = {"rabbitmq_outage_verdict", "rabbitmq_outage_plan", "rabbitmq_outage_accounting"}
    assert set(artifacts()) == expected


@pytest.mark.parametrize("artifact", artifacts())
def test_an_artifact_is_no_variable_of_ours(artifact: str) -> None:
    """It becomes an extra variable of the jobs that follow, which beats whatever a task registers or sets."""
    word = re.compile(rf"\b{artifact}\b")
    mentioned = {
        path.relative_to(ROOT)
        for place in ("roles", "playbooks", "plugins", "extensions")
        for path in (ROOT / place).rglob("*")
        if path.suffix in (".yml", ".yaml", ".j2", ".py") and word.search(path.read_text())
    }
    # Where it is handed over, where that is documented, and where AWX hands it on.
    handed_over = artifacts()[artifact].relative_to(ROOT)
    documents = {path for path in mentioned if path.name == "argument_specs.yml"}
    assert mentioned - documents <= {handed_over, Path("extensions/awx/vars/templates.yml")}
    assert len(word.findall((ROOT / handed_over).read_text())) == 1
    for role in (ROOT / "roles").iterdir():
        assert artifact not in load(role / "defaults" / "main.yml")
    assert roles_of("playbooks/recover_rabbitmq.yml") >= {"outage_diagnose", "outage_recover", "outage_audit"}
