"""The reference interpreter: what graphs mean."""

import pytest

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
    Prompt,
    Ref,
    evaluate,
)

FUNCTIONS = {
    "m:numbers": lambda n=4: list(range(n)),
    "m:lazy": lambda: (n for n in (1, 2)),
    "m:double": lambda x: 2 * x,
    "m:is_even": lambda x: x % 2 == 0,
    "m:spread": lambda x: [x] * x,
    "m:add": lambda x, y: x + y,
    "m:total": lambda xs: 0 + sum(xs),
    "m:pair": lambda: {"a": [10, 20]},
    "m:prompt": lambda x: f"say {x}",
}


def run(*operations, output="out", parameters=None, **fields):
    graph = Graph(operations, output=Ref(operation=output), **fields)
    return evaluate(graph, parameters, ask_model=lambda _, messages: messages[-1]["content"].upper(), find=FUNCTIONS.__getitem__)


def op(operation_id, func, map_over=(), collect="map", when=None, **inputs):
    return Operation(id=operation_id, func=f"m:{func}", inputs=inputs, map_over=map_over, collect=collect, when=when)


NUMBERS = op("numbers", "numbers")
EACH = {"x": Ref(operation="numbers"), "map_over": ("x",)}


def test_map_runs_once_per_item():
    assert run(NUMBERS, op("out", "double", **EACH)) == [0, 2, 4, 6]


def test_filter_keeps_the_items_themselves():
    assert run(NUMBERS, op("out", "is_even", collect="filter", **EACH)) == [0, 2]


def test_flat_map_spreads_lists():
    assert run(NUMBERS, op("out", "spread", collect="flat_map", **EACH)) == [1, 2, 2, 3, 3, 3]


def test_a_filtered_collection_joins_by_key_with_the_one_it_came_from():
    kept = op("kept", "is_even", collect="filter", **EACH)
    doubled = op("doubled", "double", **EACH)
    both = op("out", "add", x=Ref(operation="kept"), y=Ref(operation="doubled"), map_over=("x", "y"))
    assert run(NUMBERS, kept, doubled, both) == [0, 6]


def test_what_is_not_mapped_is_given_to_every_item():
    assert run(NUMBERS, op("out", "add", y=Constant(constant=100), **EACH)) == [100, 101, 102, 103]


def test_a_plain_operation_receives_the_whole_collection():
    assert run(NUMBERS, op("doubled", "double", **EACH), op("out", "total", xs=Ref(operation="doubled"))) == 12


def test_a_generator_is_a_list():
    assert run(op("out", "lazy")) == [1, 2]


def test_a_part_of_a_result_can_be_mapped():
    assert run(op("pair", "pair"), op("out", "double", x=Ref(operation="pair", path=("a",)), map_over=("x",))) == [20, 40]


def test_parameters_take_their_defaults():
    spec = ParameterSpec(name="n", has_default=True, default=2)
    operation = op("out", "numbers", n=Parameter(parameter="n"))
    graph = Graph([operation], parameters=[spec], output=Ref(operation="out"))
    answers = [evaluate(graph, given, ask_model=lambda *_: None, find=FUNCTIONS.__getitem__) for given in ({}, {"n": 3})]
    assert answers == [[0, 1], [0, 1, 2]]


def test_a_prompt_is_rendered_and_asked():
    prompt = Prompt(messages=(Message(parts=("is ", Hole(input="x"), " odd?")),))
    llm = LLMOperation(id="out", metadata=LLMMetadata(model="m"), prompt=prompt, inputs={"x": Ref(operation="numbers")}, map_over=("x",))
    assert run(NUMBERS, llm) == [f"IS {n} ODD?" for n in range(4)]


def test_a_prompt_function_writes_the_prompt():
    llm = LLMOperation(id="out", metadata=LLMMetadata(model="m"), prompt_func="m:prompt", inputs={"x": Constant(constant="hi")})
    assert run(llm) == "SAY HI"


def test_a_false_condition_skips_the_operation_and_what_reads_it():
    off = op("off", "numbers", when=Constant(constant=False))
    assert run(off, op("out", "total", xs=Ref(operation="off"))) is None


def test_lists_of_different_lengths_do_not_join():
    two = op("two", "numbers", n=Constant(constant=2))
    with pytest.raises(ValueError, match="do not belong"):
        run(NUMBERS, two, op("out", "add", x=Ref(operation="numbers"), y=Ref(operation="two"), map_over=("x", "y")))
