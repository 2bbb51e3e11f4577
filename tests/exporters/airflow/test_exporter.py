import ast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xcs_airflow.ir import (
    Constant,
    Graph,
    Hole,
    LLMMetadata,
    LLMOperation,
    Message,
    Operation,
    Parameter,
    ParameterSpec,
    PipelinePolicy,
    Prompt,
    Ref,
)
from xcs_airflow.plan import CloudExporter
from xcs_exporters.airflow import AirflowExporter
from xcs_exporters.airflow.dag_facts import read_dag

EXPORTER = AirflowExporter()


def emit(graph, **chosen):
    return EXPORTER.emit(CloudExporter().export(graph), chosen)


def dag_file(bundle):
    return next(bundle.text(path) for path in bundle.files if path.endswith(".py"))


def call_arguments(source, function):
    """The literal arguments of every call of a function."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and ast.unparse(node.func) == function]
    return [{keyword.arg: _value(keyword.value) for keyword in call.keywords} for call in calls]


def _value(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def test_a_bundle_holds_the_dag_the_ignore_file_and_the_readme(graph):
    assert sorted(emit(graph).files) == [".airflowignore", "README.md", "small.py"]


def test_tasks_and_edges_are_those_of_the_plan(any_graph):
    plan = CloudExporter().export(any_graph)
    facts = read_dag(ast.parse(dag_file(EXPORTER.emit(plan, {}))))
    assert facts.tasks == [(task.id, task.shards) for task in plan.tasks]
    assert facts.edges == [(edge.before, edge.after) for edge in plan.edges]
    assert facts.dag_id == plan.name


def test_the_same_plan_gives_the_same_bytes(any_graph):
    assert emit(any_graph) == emit(any_graph)


def test_what_differs_from_the_default_stands_at_its_task(graph):
    tickets, group, report = call_arguments(emit(graph).text("small.py"), "RunTask")
    assert "retries" not in tickets
    assert group["doc_md"].startswith("Runs classify, summarise. Expected: 360 model calls")
    assert {key: report[key] for key in ("retries", "execution_timeout", "priority_weight")} == {
        "retries": 1,
        "execution_timeout": "timedelta(seconds=600)",
        "priority_weight": 1,
    }


def test_the_dag_has_the_schedule_of_the_pipeline(graph):
    changed = graph.replace(policy=PipelinePolicy(schedule="0  6 * * 1", timezone="Asia/Tokyo", deadline_s=5400))
    (dag,) = call_arguments(emit(changed).text("small.py"), "DAG")
    assert dag["schedule"] == "CronTriggerTimetable('0 6 * * 1', timezone='Asia/Tokyo')"
    assert dag["dagrun_timeout"] == "timedelta(seconds=5400)"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)


def test_settings_reach_the_dag(graph):
    chosen = {
        "dag_id": "mine",
        "owner": "ml",
        "tags": ("b", "a"),
        "max_active_runs": 3,
        "max_active_tasks": 64,
        "executor": "Celery",
        "pools": {"openai": "p"},
    }
    bundle = emit(graph, **chosen)
    (dag,) = call_arguments(bundle.text("small.py"), "DAG")
    assert (dag["dag_id"], dag["tags"], dag["max_active_runs"], dag["max_active_tasks"]) == ("mine", ["a", "b", "xcs"], 3, 64)
    assert "'owner': 'ml', 'executor': 'Celery'" in dag["default_args"]
    pools = [task.get("pool") for task in call_arguments(bundle.text("small.py"), "RunTask")]
    assert pools == [None, "p", None]
    assert "| openai | p |" in bundle.text("README.md")


def test_the_readme_names_variables_secrets_parameters_and_cost(graph):
    text = emit(graph).text("README.md")
    assert r"| OPENAI\_API\_KEY | the secret openai-key |" in text
    assert '| path | "tickets.jsonl" |' in text
    assert "Expected: 360 model calls instead of 480" in text
    assert "XCS_STORE" in text


def test_a_large_plan_is_a_table_and_stays_the_same_dag(graphs):
    small, large = graphs["wide"](30), graphs["wide"](3333)
    for graph, is_table in ((small, False), (large, True)):
        plan = CloudExporter().export(graph)
        source = EXPORTER.emit(plan, {}).text("wide.py")
        facts = read_dag(ast.parse(source))
        assert ("add_tasks(TASKS)" in source) is is_table
        assert facts.tasks == [(task.id, 1) for task in plan.tasks]
        assert set(facts.edges) == {(edge.before, edge.after) for edge in plan.edges}


# Fuzz: whatever stands in a text field is data in the DAG file.

FRAGMENTS = st.sampled_from(
    [
        *("'", '"', '"""', "'''", "\\", "\n", "\r", "\0", "\u2028", "\x85", "\ud83d", "\N{BOM}", "{{", "}}", "{%", "%}", "{#", "#}"),
        *("# -*- coding: utf-7 -*-", "#", ")", ");", "import os", "os._exit(3)", ".md", "README.md", "conn.x.password", "\\N{DASH}", "|"),
    ]
)
TEXT = st.lists(FRAGMENTS | st.text(st.characters(), max_size=5), max_size=8).map("".join)
NAMES = TEXT.filter(lambda text: text and "\ud83d" not in text and not any("\ud800" <= char <= "\udfff" for char in text))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
VALUES = TEXT.map(lambda text: "".join(char for char in text if char != "\0" and not "\ud800" <= char <= "\udfff"))


@st.composite
def hostile_graphs(draw):
    load = Operation(
        id="load",
        func="pipeline:load",
        inputs={draw(TEXT): Parameter(parameter="p"), draw(TEXT): Constant(constant=draw(JSON))},
        env={"GREETING": draw(VALUES)},
        secrets={"KEY": draw(TEXT)},
        description=draw(TEXT),
        source=draw(TEXT),
    )
    ask = LLMOperation(
        id="ask",
        prompt=Prompt(messages=(Message(parts=(draw(TEXT), Hole(input="x"))),)),
        inputs={"x": Ref(operation="load")},
        metadata=LLMMetadata(model=f"openai/{draw(TEXT)}"),
        description=draw(TEXT),
        shards=draw(st.sampled_from([None, 3])),
    )
    parameters = [ParameterSpec(name="p", has_default=True, default=draw(JSON), value_schema=draw(st.dictionaries(TEXT, JSON, max_size=2)))]
    policy = PipelinePolicy(description=draw(TEXT))
    return Graph([load, ask], name=draw(NAMES), parameters=parameters, policy=policy, output=Ref(operation="ask"), source=draw(TEXT))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=hostile_graphs())
def test_text_is_data_whatever_it_says(graph):
    bundle = emit(graph)
    source = dag_file(bundle)
    assert EXPORTER.check(bundle) == ()
    constants = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
    }
    assert constants["SOURCE"] == graph.source
    (load, *_) = call_arguments(source, "RunTask")
    assert load["env"] == {"GREETING": graph["load"].env["GREETING"]}
    shown = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Param"]
    for param in shown:
        assert repr(ast.literal_eval(param.args[0])) == repr(graph.parameters[0].default)
    (dag,) = call_arguments(source, "DAG")
    assert not dag["doc_md"].endswith(".md")


@settings(deadline=None)
@given(text=TEXT)
def test_text_never_becomes_code_outside_its_literal(text):
    """The same pipeline with other text differs in nothing but the literals."""
    policy, operation = PipelinePolicy(description=text), Operation(id="a", func="m:a", description=text, source=text)
    hostile = dag_file(emit(Graph([operation], name="g", policy=policy, source=text)))
    harmless = dag_file(emit(Graph([operation.model_copy(update={"description": "x"})], name="g", source="x")))
    assert _shape(hostile) == _shape(harmless)


def _shape(source):
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and (isinstance(node.value, str) or node.value is None):
            node.value = ""
    return ast.dump(tree)


@pytest.mark.parametrize("stem", ["x.md", "README", "__init__", "con", "a/../b", "\N{SNOWMAN}", "7", "class"])
def test_a_pipeline_of_any_name_becomes_one_file_inside_the_folder(stem):
    bundle = emit(Graph([Operation(id="a", func="m:a")], name=stem))
    (path,) = [path for path in bundle.files if path.endswith(".py")]
    assert path.isascii()
    assert "/" not in path
