"""Every rule of a well-formed graph, one broken graph each."""

import pytest

from xcs_airflow.errors import GraphError
from xcs_airflow.ir import (
    Constant,
    Graph,
    Hole,
    LLMMetadata,
    LLMOperation,
    Message,
    Operation,
    Parameter,
    Prompt,
    Ref,
    Resources,
    Retry,
    check,
    verify,
)
from xcs_airflow.ir.llm_ops import BatchPolicy


def op(operation_id="a", **fields):
    return Operation(**{"id": operation_id, "func": "m:f", "source": "p.py:1", **fields})


def llm(operation_id="a", **fields):
    return LLMOperation(**{"id": operation_id, "metadata": LLMMetadata(model="openai/x"), **fields})


def prompt(*names):
    return Prompt(messages=(Message(parts=tuple(Hole(input=name) for name in names)),))


def each(name, make=op, **fields):
    return make(name, inputs={"x": Ref(operation="l")}, map_over=("x",), **fields)


BROKEN = {
    "an id with a space": ("XCS201", [op("a b")]),
    "an empty id": ("XCS201", [op("")]),
    "an id of 251 characters": ("XCS201", [op("a" * 251)]),
    "an id that is not ASCII": ("XCS201", [op("é")]),
    "an id with a line end": ("XCS201", [op("a\n")]),
    "two operations of one id": ("XCS202", [op("a"), op("a")]),
    "a reference to nothing": ("XCS203", [op(inputs={"x": Ref(operation="b")})]),
    "a condition on nothing": ("XCS203", [op(when=Ref(operation="b"))]),
    "an undeclared parameter": ("XCS204", [op(inputs={"x": Parameter(parameter="p")})]),
    "an operation that waits for itself": ("XCS205", [op(inputs={"x": Ref(operation="a")})]),
    "mapping over an unknown input": ("XCS206", [op(map_over=("x",))]),
    "no function": ("XCS207", [op(func=None)]),
    "a prompt and a function": ("XCS207", [llm(func="m:f", prompt=prompt())]),
    "a model call without a prompt": ("XCS207", [llm()]),
    "an address without a colon": ("XCS208", [op(func="m.f")]),
    "an address with code in it": ("XCS208", [op(func="m:f()")]),
    "items that do not belong together": (
        "XCS209",
        [
            op("a"),
            op("kept", inputs={"x": Ref(operation="a")}, map_over=("x",), collect="flat_map"),
            op("b", inputs={"x": Ref(operation="kept"), "y": Ref(operation="a")}, map_over=("x", "y")),
        ],
    ),
    "a prompt with an unknown input": ("XCS210", [llm(prompt=prompt("x"))]),
    "no attempts": ("XCS211", [op(retry=Retry(attempts=0))]),
    "negative memory": ("XCS211", [op(resources=Resources(memory_mib=-1))]),
    "no shards": ("XCS211", [op(shards=0)]),
    "a negative temperature": ("XCS211", [llm(prompt=prompt(), metadata=LLMMetadata(model="m", temperature=-1))]),
    "a fused task of different shards": ("XCS218", [op("l"), *(each(name, shards=n, fused="t") for name, n in (("a", 2), ("b", 3)))]),
    "a group of different shards": (
        "XCS218",
        [op("l"), *(each(name, llm, shards=n, batch=BatchPolicy(group="g"), prompt=prompt("x")) for name, n in (("a", 2), ("b", 3)))],
    ),
    "a plain operation in a task of several shards": ("XCS218", [op("l"), each("a", shards=2, fused="t"), op("b", fused="t")]),
    "a secret in plain text": ("XCS213", [op(env={"OPENAI_API_KEY": "sk-1"})]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name):
    code, operations = BROKEN[name]
    assert code in {finding.code for finding in verify(Graph(operations))}


def test_different_shards_of_a_task_are_told_with_the_lines_of_all_its_operations():
    members = [each(name, shards=n, fused="t", source=f"p.py:{n}") for name, n in (("a", 2), ("b", 3))]
    (finding,) = verify(Graph([op("l"), *members, each("c", fused="t", source=None), op("d", fused="t", source="p.py:9")]))
    assert (finding.code, finding.operation, finding.place) == ("XCS218", "%a", "p.py:2")
    assert finding.message.endswith("%a 2 (p.py:2), %b 3 (p.py:3), %c any number, %d 1 (p.py:9)")
    assert finding.hint == "give all operations of the task 't' the same shards, or take out of it what has others"


def test_shards_that_are_left_out_may_be_decided_yet():
    assert verify(Graph([op("l"), each("a", shards=3, fused="t"), each("b", fused="t"), op("end")])) == []


def test_a_cycle_is_named_from_end_to_end():
    ring = [op(name, inputs={"x": Ref(operation=need)}) for name, need in [("a", "c"), ("b", "a"), ("c", "b")]]
    (finding,) = verify(Graph(ring))
    assert finding.code == "XCS205"
    assert sorted(finding.message.split(": ")[1].split(" -> ")[:-1]) == ["a", "b", "c"]


def test_an_output_that_reads_nothing_is_found():
    assert [finding.code for finding in verify(Graph([op()], output=Ref(operation="x")))] == ["XCS212"]


def test_all_findings_come_at_once():
    graph = Graph([op("a b", func="x"), op("c", inputs={"x": Ref(operation="d")})])
    with pytest.raises(GraphError) as caught:
        check(graph)
    assert [finding.code for finding in caught.value.findings] == ["XCS201", "XCS208", "XCS203"]


def test_a_filtered_collection_joins_the_one_it_came_from():
    graph = Graph(
        [
            op("a"),
            op("kept", inputs={"x": Ref(operation="a")}, map_over=("x",), collect="filter"),
            op("b", inputs={"x": Ref(operation="kept"), "y": Ref(operation="a")}, map_over=("x", "y")),
        ]
    )
    assert verify(graph) == []


def test_two_differently_filtered_collections_do_not_join():
    graph = Graph(
        [
            op("a"),
            *(op(name, inputs={"x": Ref(operation="a")}, map_over=("x",), collect="filter") for name in ("k1", "k2")),
            op("b", inputs={"x": Ref(operation="k1"), "y": Ref(operation="k2")}, map_over=("x", "y")),
        ]
    )
    assert [finding.code for finding in verify(graph)] == ["XCS209"]


def test_the_shared_graphs_are_well_formed(any_graph):
    assert verify(any_graph) == []


def test_constants_may_be_any_json():
    assert verify(Graph([op(inputs={"x": Constant(constant={"a": [None, 1.5, "é"]})})])) == []


@pytest.mark.parametrize(
    ("metadata", "batch"),
    [
        ({"max_pack": 5, "quality_sensitive": True}, None),
        ({}, {"mechanism": "packed", "pack_size": 2}),
        ({"max_pack": 5}, {"mechanism": "packed", "pack_size": 6}),
        ({"max_pack": 5}, {"mechanism": "packed"}),
        ({"max_pack": 5}, {"pack_size": 5}),
    ],
)
def test_packs_are_no_larger_than_allowed_and_only_where_items_are_packed(metadata, batch):
    prompt = Prompt(messages=(Message(parts=("x",)),))
    data = LLMMetadata(model="openai/gpt-4.1-mini", **metadata)
    policy = None if batch is None else BatchPolicy(group="g", **batch)
    graph = Graph([LLMOperation(id="ask", prompt=prompt, metadata=data, batch=policy, source="p.py:3")], name="p")
    (finding,) = verify(graph)
    assert (finding.code, finding.operation, finding.place) == ("XCS217", "%ask", "p.py:3")
