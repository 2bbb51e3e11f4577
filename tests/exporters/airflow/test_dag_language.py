import ast

import pytest

from xcs_airflow.plan import CloudExporter
from xcs_exporters.airflow import AirflowExporter
from xcs_exporters.airflow.dag_language import violations


@pytest.fixture
def source(graph):
    return AirflowExporter().emit(CloudExporter().export(graph), {}).text("small.py")


def test_a_generated_file_is_inside_the_language(source):
    assert list(violations(ast.parse(source))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import subprocess",
        "from os import system",
        "from airflow.sdk import *",
        "from json import loads as DAG",
        "__import__('os')",
        "print('x')",
        "os.system('x')",
        "json.loads('x')",
        "Path('x').unlink()",
        "eval('1')",
        "x = open('x')",
        "GENERATED_BY = [open for open in ()]",
        "GENERATED_BY = f'{DAG}'",
        "GENERATED_BY = lambda: 0",
        "GENERATED_BY = (0).__class__",
        "GENERATED_BY = DAG.__init__",
        "GENERATED_BY = DAG(**{})",
        "GENERATED_BY = DAG(*[])",
        "GENERATED_BY = 1 if 1 else 2",
        "GENERATED_BY = 'x' * 10 ** 10",
        "GENERATED_BY = 10 << 10",
        "GENERATED_BY = -DAG",
        "list = DAG",
        "RunTask = DAG",
        "DAG.x = 1",
        "TASKS[0] = 1",
        "GENERATED_BY: str = ''",
        "GENERATED_BY += 'x'",
        "del DAG",
        "assert DAG",
        "while True: pass",
        "for x in (): pass",
        "if DAG: pass",
        "try: pass\nfinally: pass",
        "raise SystemExit",
        "def f(): pass",
        "def add_tasks(rows): pass",
        "class RunTask(BaseOperator): pass",
        "@DAG\nclass X: pass",
        "async def f(): pass",
        "global x",
        "(x := DAG)",
        "match DAG:\n    case _: pass",
    ],
)
def test_any_other_statement_is_a_violation(source, line):
    assert list(violations(ast.parse(f"{source}\n{line}\n")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("template_fields = ()", 'template_fields = ("env",)'),
        ("from xcs_airflow.runtime import main", "from os import system as main"),
        ('"--run": context["run_id"]', '"--run": context["ti"]'),
        ("class RunTask(BaseOperator)", "class RunTask(BaseOperator, object)"),
        ("report = RunTask(", "list = RunTask("),
        ("report = RunTask(", "_report = RunTask("),
        ("tickets >> classify_summarise", "tickets >> os"),
    ],
)
def test_a_definition_or_task_that_differs_from_the_template_is_a_violation(source, old, new):
    assert old in source
    assert list(violations(ast.parse(source.replace(old, new))))


def test_a_violation_names_its_line(source):
    (found,) = violations(ast.parse(f"import subprocess\n{source}"))
    assert found == "line 1: Import 'import subprocess'"
