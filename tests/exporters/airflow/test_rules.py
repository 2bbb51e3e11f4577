from pathlib import Path

import pytest

from xcs_airflow.canonical import pretty_json
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.ir import BatchPolicy, Graph, LLMMetadata, LLMOperation, Message, Prompt
from xcs_airflow.plan import CloudExporter
from xcs_exporters.airflow import AirflowExporter
from xcs_exporters.airflow.rules import MAX_SOURCE_BYTES, RULES

EXPORTER = AirflowExporter()


@pytest.fixture
def bundle(graph):
    plan = CloudExporter().export(graph)
    manifest = pretty_json(plan.manifest.to_dict())
    return EXPORTER.emit(plan, {}).with_files({"manifest.json": manifest, "code/pipeline.py": "x = 1\n"})


def broken_rules(bundle, path="small.py", old="", new=""):
    assert old in bundle.text(path)
    changed = bundle.with_files({path: bundle.text(path).replace(old, new)})
    return {finding.message.split(":")[0] for finding in EXPORTER.check(changed)}


def test_a_generated_bundle_breaks_no_rule(bundle):
    assert EXPORTER.check(bundle) == ()


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("AF02", "SOURCE = ", "SOURCE = = "),
        ("AF02", "SOURCE = ", "# \N{LATIN SMALL LETTER U WITH DIAERESIS}\nSOURCE = "),
        ("AF02", "SOURCE = ", f"SOURCE = {'[' * 300}{']' * 300}, "),
        ("AF03", "import os\n", "import os, sys\n"),
        ("AF04", 'dag_id="small"', 'dag_id="sm all"'),
        ("AF04", 'dag_id="small"', 'dag_id="small\\n"'),
        ("AF04", 'dag_id="small"', f'dag_id="{"x" * 251}"'),
        ("AF04", 'task_id="report"', 'task_id="tickets"'),
        ("AF05", "    tickets >> classify_summarise\n", "    tickets >> later\n    later = RunTask(task_id='x')\n"),
        ("AF06", 'tags=["xcs"]', f'tags=["{"x" * 101}"]'),
        ("AF09", "the workers need.\\n", "the workers need in README.md"),
        ("AF10", 'task_id="report"', 'task_id="reports"'),
        ("AF10", "    tickets >> classify_summarise\n", ""),
    ],
)
def test_every_rule_finds_what_breaks_it(bundle, rule, old, new):
    assert rule in broken_rules(bundle, old=old, new=new)


def test_a_bundle_has_one_dag_file(bundle):
    assert "AF01" in {finding.message.split(":")[0] for finding in EXPORTER.check(bundle.with_files({"other.py": "x = 1\n"}))}
    assert "AF01" in {finding.message.split(":")[0] for finding in EXPORTER.check(Bundle())}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('dag_id="small"', 'dag_id=["small"]'),
        ('dag_id="small"', "dag_id={[]: 1}"),
        ('tags=["xcs"]', "tags=[1]"),
        ('task_id="report"', "task_id=[]"),
        ('    tags=["xcs"],\n', ""),
        ("SOURCE = ", "TASKS = (1,)\nSOURCE = "),
        ("SOURCE = ", 'TASKS = (("a", 1, (2,), {}),)\nSOURCE = '),
        ("SOURCE = ", "with DAG():\n    DAG()\nSOURCE = "),
        ("SOURCE = ", "with SOURCE:\n    DAG()\nSOURCE = "),
    ],
)
def test_a_dag_file_that_is_built_otherwise_is_a_finding_and_no_crash(bundle, old, new):
    assert broken_rules(bundle, old=old, new=new) == {"AF03"}


def test_a_dag_file_fits_into_the_database(bundle):
    comment = f"# {'x' * MAX_SOURCE_BYTES}\n"
    assert broken_rules(bundle, old="SOURCE = ", new=f"{comment}SOURCE = ") == {"AF07"}


@pytest.mark.parametrize(("old", "new"), [("ask_poll = PollTask", "ask_poll = RunTask"), ("ask_submit = RunTask", "ask_submit = PollTask")])
def test_the_tasks_that_poll_and_no_others_give_their_worker_back(old, new):
    prompt = Prompt(messages=(Message(parts=("Hello",)),))
    batch = BatchPolicy(group="ask", mechanism="provider_batch")
    plan = CloudExporter().export(
        Graph([LLMOperation(id="ask", prompt=prompt, metadata=LLMMetadata(model="openai/gpt-4.1-mini"), batch=batch)], name="small")
    )
    bundle = EXPORTER.emit(plan, {}).with_files({"manifest.json": pretty_json(plan.manifest.to_dict())})
    assert broken_rules(bundle) == set()
    assert broken_rules(bundle, old=old, new=new) == {"AF11"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('spares="answer",', 'spares="classify",'),
        ("answer_probe = ProbeTask", "answer_probe = RunTask"),
        ('        trigger_rule="none_failed",\n', ""),
        ('trigger_rule="none_failed"', 'trigger_rule="all_done"'),
        ('task_id="work",', 'task_id="work",\n        trigger_rule="none_failed",'),
    ],
)
def test_only_what_a_probe_is_for_may_be_skipped_and_what_waits_for_that_runs_all_the_same(graphs, old, new):
    plan = CloudExporter().export(graphs["probed"]().replace(name="small"))
    bundle = EXPORTER.emit(plan, {}).with_files({"manifest.json": pretty_json(plan.manifest.to_dict())})
    assert broken_rules(bundle) == set()
    assert broken_rules(bundle, old=old, new=new) == {"AF12"}


def test_code_is_hidden_from_airflow(bundle):
    assert broken_rules(bundle, ".airflowignore", "code/", "cod/") == {"AF08"}


def test_every_rule_is_tested():
    text = Path(__file__).read_text(encoding="utf-8")
    assert [rule for rule in RULES if f'"{rule}"' not in text] == []
