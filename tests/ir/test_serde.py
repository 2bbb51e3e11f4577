"""JSON in and out: strict, complete, and never running anything."""

import json
import subprocess
import sys

import jsonschema
import pytest

from xcs_airflow.errors import GraphError
from xcs_airflow.ir import Graph, Operation, Ref, dumps, json_schema, loads, print_graph, verify
from xcs_airflow.ir.serde import to_document


def test_a_graph_round_trips(any_graph):
    assert loads(dumps(any_graph)) == any_graph
    assert dumps(loads(dumps(any_graph))) == dumps(any_graph)


def test_every_document_fits_the_published_schema(any_graph):
    jsonschema.validate(to_document(any_graph), json_schema())


def document(*operations, **fields):
    return json.dumps({"schema_version": 1, "name": "x", "operations": list(operations), **fields})


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("[]", ["XCS220"]),
        ('{"name": "x"}', ["XCS223"]),
        (document(schema_version=2), ["XCS223"]),
        (document(schema_version=True), ["XCS223"]),
        (document(bogus=1), ["XCS224"]),
        (document({"id": "a", "func": "m:f", "bogus": 1}), ["XCS224"]),
        (document({"func": "m:f"}), ["XCS224"]),
        (document({"id": "a", "func": "m:f"}, {"id": "a", "func": "m:f"}), ["XCS202"]),
        (document({"id": "a", "func": "m:f", "kind": "shell"}), ["XCS224"]),
        (document({"id": "a", "func": "m:f", "inputs": {"x": {"operation": "a"}}}), ["XCS205"]),
        (document(output={"operation": "z"}), ["XCS212"]),
        (json.dumps({"schema_version": 1, "operations": {}}), ["XCS224", "XCS224"]),
        (document(1, None, "x"), ["XCS224", "XCS224", "XCS224"]),
        ('{"schema_version": 1, "name": "a", "name": "b"}', ["XCS222"]),
    ],
)
def test_what_is_no_graph_is_refused(text, codes):
    with pytest.raises(GraphError) as caught:
        loads(text)
    assert [finding.code for finding in caught.value.findings] == codes


def test_a_document_from_before_code_was_digested_is_read():
    graph = loads(document({"id": "a", "func": "m:f"}, {"id": "b", "func": "m:f", "code": "0123456789abcdef"}))
    assert [operation.code for operation in graph] == [None, "0123456789abcdef"]
    assert [operation.get("code") for operation in to_document(graph)["operations"]] == [None, "0123456789abcdef"]


def test_findings_of_form_and_of_meaning_come_together():
    text = document(
        {"id": "a", "bogus": 1, "func": "m:f"},
        {"id": "b", "func": "nonsense", "inputs": {"x": {"operation": "a"}, "y": {"operation": "missing"}}},
    )
    with pytest.raises(GraphError) as caught:
        loads(text)
    found = [(finding.code, finding.operation) for finding in caught.value.findings]
    assert found == [("XCS224", "%a"), ("XCS208", "%b"), ("XCS203", "%b")]


def test_loading_imports_nothing_that_a_document_names(tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    lines = [
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})",
        "from xcs_airflow.ir import loads",
        "loads(sys.stdin.read())",
        "assert 'evil' not in sys.modules",
    ]
    text = document({"id": "a", "func": "evil:run"})
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_ten_thousand_operations_load_verify_and_print():
    first = Operation(id="op0", func="m:f")
    rest = [
        Operation(id=f"op{n}", func="m:f", inputs={"x": Ref(operation=f"op{n // 2}"), "y": Ref(operation=f"op{n - 1}")})
        for n in range(1, 10_000)
    ]
    graph = loads(dumps(Graph([first, *rest])))
    assert verify(graph) == []
    assert len(print_graph(graph).splitlines()) == 10_002
