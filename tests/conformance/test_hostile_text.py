"""Text of an author stays text: it reaches the runtime as it was, and changes nothing else in any file."""

import ast
import json
import re
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xcs_airflow.errors import UnsupportedError
from xcs_airflow.exporting.portable import unportable
from xcs_airflow.ir import Constant, Graph, Hole, LLMMetadata, LLMOperation, Message, Operation, ParameterSpec, PipelinePolicy, Prompt, Ref
from xcs_airflow.plan import CloudExporter

from .readers import READERS

DIGEST = re.compile(r"[0-9a-f]{8,64}")
PIECES = [
    "'",
    '"',
    '"""',
    "\\",
    "\n",
    "\r",
    "{{ x }}",
    "{% x %}",
    "${XCS_BUCKET}",
    "${!Token}",
    "${Token}",
    "$(id)",
    "`id`",
    "%(x)s",
    "\u2028",
    "\x85",
    "#",
    "<b>",
]
TEXT = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5), max_size=8
).map("".join)


def graph_with(text, name="quoted"):
    """A graph with this text wherever an author may write."""
    load = Operation(
        id="load",
        func="pipeline:load",
        inputs={"path": Constant(constant=text)},
        description=text,
        env={"GREETING": text},
        secrets={"OPENAI_API_KEY": "openai-key"},
        source=f"{text}:1",
    )
    ask = LLMOperation(
        id="ask",
        prompt=Prompt(messages=(Message(parts=(text, Hole(input="x"))),)),
        inputs={"x": Ref(operation="load")},
        metadata=LLMMetadata(model="openai/gpt-4.1-mini"),
        description=text,
    )
    return Graph(
        [load, ask],
        name=name,
        parameters=[ParameterSpec(name="path", has_default=True, default=text, value_schema={"type": "string", "description": text})],
        policy=PipelinePolicy(description=text, schedule="0 6 * * *"),
        source=f"{text}:1",
    )


def shape(path, content):
    """A file without its texts: what a platform, not a person, reads."""
    if path.endswith(".json"):
        return json.dumps(_blank(json.loads(content)))
    if path.endswith(".py"):
        return ast.dump(_BlankText().visit(ast.parse(content)))
    return ""


def _blank(node):
    if isinstance(node, dict):
        return sorted((DIGEST.sub("#", key), json.dumps(_blank(value))) for key, value in node.items())
    if isinstance(node, list):
        return [_blank(value) for value in node]
    return "text" if isinstance(node, str) else node


class _BlankText(ast.NodeTransformer):
    def visit_Constant(self, node):
        return ast.Constant("text") if isinstance(node.value, str) else node


def shapes(bundle):
    return Counter(shape(path, content.decode()) for path, content in bundle.files.items())


def emit_or_refuse(exporter, plan):
    """The bundle, or the reasons why there is none."""
    try:
        return exporter.emit(plan, {}), ()
    except UnsupportedError as error:
        return None, [finding.message for finding in error.findings if finding.severity == "error"]


@given(text=TEXT)
@example(text="'; import os; os._exit(3) #")
@example(text='"""); raise SystemExit("""')
@example(text="{{ conn.x.password }} {% raw %} {# c #}")
@example(text="${XCS_BUCKET} ${ImageUri} ${!ImageUri} ${AWS::AccountId}")
@example(text="{{resolve:secretsmanager:x}}")
@settings(max_examples=60, deadline=None)
def test_text_changes_nothing_but_text_or_is_refused(exporter, text):
    plain = exporter.emit(CloudExporter().export(graph_with("words")), {})
    quoted, reasons = emit_or_refuse(exporter, CloudExporter().export(graph_with(f"a{text}z")))
    if quoted is None:
        assert all("'GREETING'" in reason for reason in reasons)
    else:
        assert shapes(quoted) == shapes(plain)
        assert exporter.check(quoted) == ()
        assert READERS[exporter.name](quoted).variables["load"]["GREETING"] == f"a{text}z"


def test_every_hostile_text_reaches_the_task_as_it_was(exporter, hostile_texts):
    for text in hostile_texts:
        bundle = exporter.emit(CloudExporter().export(graph_with(text.replace("\0", ""))), {})
        assert READERS[exporter.name](bundle).variables["load"]["GREETING"] == text.replace("\0", "")


NAMES = ["../../etc", "a/b", "..", "-", "ä", "x" * 300, "a b", "$(id)", "{{ x }}", "'", "a\nb", ".hidden", "9"]


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_of_any_name_has_files_of_harmless_names(exporter, name):
    bundle = exporter.emit(CloudExporter().export(graph_with("words", name)), {})
    assert list(unportable(bundle.files)) == []
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", path) for path in bundle.files)
    assert exporter.check(bundle) == ()
