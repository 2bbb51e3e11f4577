"""A pipeline's body becomes a graph."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xcs_airflow.errors import TraceError
from xcs_airflow.ir import Constant, ListOf, LLMOperation, Parameter, RecordOf, Ref, evaluate

STEPS = """
    @op
    def load(path: str = "in", limit: int = 0) -> list[str]:
        "Read it."
        return [path] * limit

    @op
    def join(**parts) -> str:
        return repr(parts)

    ask = llm("openai/gpt-4.1-mini", "About {x}", temperature=0)

    @llm("openai/gpt-4.1-mini")
    def tell(topic: str, tone: str = "dry") -> str:
        return f"Tell me about {topic}, {tone}."
"""


def steps(body: str) -> str:
    return f"{STEPS}\n{body}"


def test_calls_become_operations_in_order(graph_of):
    graph = graph_of(
        steps("""
    @pipeline
    def flow(path: str = "tickets"):
        found = load(path)
        return join(a=ask.map(x=found), b=tell.map(topic=found))
    """)
    )

    assert [operation.id for operation in graph] == ["load", "ask", "tell", "join"]
    assert Ref(operation="join") == graph.output
    assert {"path": Parameter(parameter="path"), "limit": Constant(constant=0)} == graph["load"].inputs
    assert (graph["load"].func, graph["load"].description) == ("flow:load", "Read it.")


def test_the_graph_prints_as_it_was_written(graph_of):
    graph = graph_of(
        steps("""
    @pipeline
    def flow(path="tickets"):
        return join(a=ask.map(x=load(path)))
    """)
    )

    assert str(graph).splitlines() == [
        'graph flow(path="tickets"):',
        "  %load = flow:load(path=$path, limit=0)  # flow.py:21",
        "  %ask = map llm openai/gpt-4.1-mini(x=each %load) [t 0]  # flow.py:21",
        "  %join = flow:join(a=%ask)  # flow.py:21",
        "  return %join",
    ]


def test_a_prompt_function_is_recorded_by_its_address(graph_of):
    graph = graph_of(steps("@pipeline\n    def flow():\n        return tell('cats')").replace("\n    ", "\n"))

    operation = graph["tell"]
    assert isinstance(operation, LLMOperation)
    assert (operation.prompt_func, operation.prompt, operation.func) == ("flow:tell", None, None)
    assert {"topic": Constant(constant="cats"), "tone": Constant(constant="dry")} == operation.inputs


def test_repeated_calls_are_numbered(graph_of):
    graph = graph_of(steps("@pipeline\n    def flow():\n        return [load(p) for p in 'abc']").replace("\n    ", "\n"))

    assert [operation.id for operation in graph] == ["load", "load.2", "load.3"]
    assert ListOf(items=tuple(Ref(operation=name) for name in ("load", "load.2", "load.3"))) == graph.output


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        ("(a, b)", ListOf(items=(Ref(operation="load"), Ref(operation="load.2")))),
        (
            "{'x': a, 'y': [b, 1]}",
            RecordOf(fields={"x": Ref(operation="load"), "y": ListOf(items=(Ref(operation="load.2"), Constant(constant=1)))}),
        ),
        ("a[0]", Ref(operation="load", path=(0,))),
        ("[a[-1], path]", ListOf(items=(Ref(operation="load", path=(-1,)), Parameter(parameter="path")))),
        ("None", None),
    ],
)
def test_results_are_returned_in_tuples_lists_and_dicts(graph_of, returned, output):
    graph = graph_of(
        steps(f"""
    @pipeline
    def flow(path="x"):
        a, b = load("a"), load("b")
        return {returned}
    """)
    )
    assert output == graph.output


def test_lists_and_dicts_may_hold_results(graph_of):
    graph = graph_of(
        steps("""
    @pipeline
    def flow(n: int):
        return join(parts=[load("a"), n, 1], facts={"first": load("b")[0], 2: None})
    """)
    )
    assert ListOf(items=(Ref(operation="load"), Parameter(parameter="n"), Constant(constant=1))) == graph["join"].inputs["parts"]
    assert RecordOf(fields={"first": Ref(operation="load.2", path=(0,)), "2": Constant(constant=None)}) == graph["join"].inputs["facts"]


def test_parameters_have_the_types_and_defaults_of_the_signature(graph_of):
    graph = graph_of(
        steps("""
    import datetime

    @pipeline
    def flow(path: str, day: datetime.date = datetime.date(2026, 1, 2), limit=3, note=None):
        return join(a=path, b=day, c=limit, d=note)
    """)
    )
    specs = {spec.name: (spec.has_default, spec.default, spec.value_schema) for spec in graph.parameters}
    assert specs == {
        "path": (False, None, {"type": "string"}),
        "day": (True, "2026-01-02", {"type": "string", "format": "date"}),
        "limit": (True, 3, {"type": "integer"}),
        "note": (True, None, {}),
    }


def test_known_values_become_json(graph_of):
    graph = graph_of(
        steps("""
    import dataclasses, datetime, decimal, enum, pathlib, uuid
    from pydantic import BaseModel

    class Colour(enum.Enum):
        RED = "red"

    class Model(BaseModel):
        day: datetime.date

    @dataclasses.dataclass
    class Point:
        x: int
        y: object = None

    @pipeline
    def flow():
        return join(
            colour=Colour.RED, model=Model(day="2026-01-02"), point=Point(1), names={"b", "a"}, size=decimal.Decimal("1.5"),
            path=pathlib.Path("a/b"), pair=(1, 2), deep={"x": [Colour.RED, {"y": (None, True)}]}, mixed=Point(2, load("p")),
        )
    """)
    )
    constants = {name: value.constant for name, value in graph["join"].inputs.items() if isinstance(value, Constant)}
    assert constants == {
        "colour": "red",
        "model": {"day": "2026-01-02"},
        "point": {"x": 1, "y": None},
        "names": ["a", "b"],
        "size": "1.5",
        "path": "a/b",
        "pair": [1, 2],
        "deep": {"x": ["red", {"y": [None, True]}]},
    }
    assert RecordOf(fields={"x": Constant(constant=2), "y": Ref(operation="load")}) == graph["join"].inputs["mixed"]


def test_helper_functions_and_loops_over_known_values_unroll(graph_of):
    graph = graph_of(
        steps("""
    def both(x):
        return {"asked": ask(x), "told": tell(topic=x)}

    @pipeline
    def flow():
        return [both(x) for x in ("cats", "dogs")]
    """)
    )
    assert [operation.id for operation in graph] == ["ask", "tell", "ask.2", "tell.2"]
    assert {"flow.py:20"} == {operation.source for operation in graph}


def test_a_pipeline_inside_a_pipeline_gives_its_steps(graph_of):
    graph = graph_of(
        steps("""
    @pipeline
    def inner(x):
        return ask(x)

    @pipeline
    def outer():
        return join(a=inner("cats"))
    """),
        function="outer",
    )
    assert [operation.id for operation in graph] == ["ask", "join"]


def test_tuples_of_known_length_unpack(graph_of):
    graph = graph_of(
        steps("""
    @op
    def split(text: str) -> tuple[list[str], dict[str, int]]:
        return [text], {}

    @pipeline
    def flow():
        words, counts = split("a b")
        return join(a=ask.map(x=words), b=counts["a"])
    """)
    )
    assert Ref(operation="split", path=(0,)) == graph["ask"].inputs["x"]
    assert Ref(operation="split", path=(1, "a")) == graph["join"].inputs["b"]


def test_fields_of_models_and_dataclasses_are_parts(graph_of):
    graph = graph_of(
        steps("""
    from dataclasses import dataclass
    from pydantic import BaseModel, Field

    @dataclass
    class Inner:
        urgent: bool

    class Details(BaseModel):
        order: str = Field(alias="orderNumber")
        inner: Inner

    extract = llm("openai/gpt-4.1-mini", "{x}", output=Details)

    @pipeline
    def flow():
        details = extract("text")
        return join(a=details.order, b=details.inner.urgent)
    """)
    )
    assert Ref(operation="extract", path=("orderNumber",)) == graph["join"].inputs["a"]
    assert Ref(operation="extract", path=("inner", "urgent")) == graph["join"].inputs["b"]


def test_a_step_takes_the_name_given_or_found_and_templates_without_one_are_called_llm(graph_of):
    graph = graph_of(
        steps("""
    class Prompts:
        summarise = llm("m/m", "Sum up {x}")

    templates = [llm("m/m", "First {x}"), llm("m/m", "Second {x}", name="second")]

    @pipeline
    def flow():
        local = llm("m/m", "Here {x}")
        return [Prompts.summarise("a"), templates[0]("a"), templates[1]("a"), local("a"), ask("a")]
    """)
    )
    assert [operation.id for operation in graph] == ["summarise", "llm", "second", "local", "ask"]


def test_tracing_twice_gives_the_same_graph(load):
    flow = load(steps("@pipeline\n    def flow():\n        return [load(p) for p in 'ab']").replace("\n    ", "\n"))

    assert flow.graph() == flow.graph()
    assert flow.graph().digest() == flow.graph().digest()


def test_the_graph_is_the_same_under_any_hash_seed(write):
    file = write(
        "flow.py",
        """
        from xcs_airflow import op, pipeline

        @op
        def take(words) -> str: ...

        @pipeline
        def flow():
            return take({"a", "b", "c", "d"}), take([{"z", "y"}])
        """,
    )
    script = f"from xcs_airflow import load_pipeline\nfrom xcs_airflow.ir import dumps\nprint(dumps(load_pipeline({str(file)!r}).graph()))"
    graphs = {
        subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in "0123"
    }
    assert len(graphs) == 1


def test_a_graph_means_what_the_function_does(load):
    flow = load(
        steps("""
    @op
    def words(text: str) -> list[str]:
        return text.split()

    @op
    def is_long(word: str) -> bool:
        return len(word) > 3

    @op
    def shout(word: str, sign: str = "!") -> str:
        return word.upper() + sign

    @op
    def count(items: list[str]) -> tuple[int, dict[str, int]]:
        return len(items), {item: items.count(item) for item in items}

    @pipeline
    def flow(texts: list[str], sign: str = "?"):
        parts = words.flat_map(text=texts)
        long = is_long.filter(word=parts)
        total, by_word = count(shout.map(word=long, sign=sign))
        both = join.map(word=long, loud=shout.map(word=parts), sign=whole([1, 2]))
        return {"total": total, "by_word": by_word, "both": both, "first": long[0]}
    """)
    )
    texts = ["one three", "four five three"]

    eager = flow(texts, sign="#")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(flow.root))
        computed = evaluate(flow.graph(), {"texts": texts, "sign": "#"}, ask_model=lambda *_: "")

    assert eager == computed
    assert (eager["total"], eager["first"]) == (4, "three")


@pytest.mark.parametrize("default", ["object()", "float('nan')", "{1, object()}"])
def test_a_default_that_is_not_json_is_refused(load, default):
    flow = load(f"@op\ndef a(x): ...\n@pipeline\ndef flow(x: object = {default}):\n    return a(x)")
    with pytest.raises(TraceError) as caught:
        flow.graph()
    assert (caught.value.code, caught.value.findings[0].place) == ("XCS104", "flow.py:4")


@pytest.mark.parametrize(
    "value", ["object()", "float('inf')", "[a]", "lambda: 1", "each([1])", "[whole(1)]", "{'k': {1: object}}", "b'\\xff'"]
)
def test_a_value_that_is_not_json_is_refused(load, value):
    flow = load(f"@op\ndef a(x): ...\n@pipeline\ndef flow():\n    return a({value})")
    with pytest.raises(TraceError) as caught:
        flow.graph()
    assert (caught.value.code, caught.value.findings[0].place) == ("XCS104", "flow.py:6")
