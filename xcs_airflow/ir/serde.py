"""The JSON form of a graph, its version and its schema.

It knows how a document becomes a graph and refuses what is not one; it never imports or runs what a document names.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError

from xcs_airflow.canonical import DocumentError, load_json, pretty_document
from xcs_airflow.errors import Finding, GraphError
from xcs_airflow.ir.check import check, verify
from xcs_airflow.ir.graph import Decision, Graph, PipelinePolicy
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.manifest import ParameterSpec
from xcs_airflow.values import Frozen, Value

SCHEMA_VERSION: Literal[1] = 1


def _kind_of(value: object) -> str:
    kind = value.get("kind", "python") if isinstance(value, dict) else getattr(value, "kind", "python")
    return str(kind)


AnyOperation = Annotated[
    Annotated[Operation, Tag("python")] | Annotated[LLMOperation, Tag("llm")],
    Discriminator(_kind_of),
]


class GraphDocument(Frozen):
    """The JSON form of a graph.

    Attributes:
        schema_version: Of this document; a reader refuses versions it does not know.
        name: The pipeline's name.
        source: `file:line` where the pipeline was written.
        parameters: What a run may set.
        policy: What the author wants of every run.
        operations: In the order they were written.
        output: The value of the graph as a whole.
        decisions: What the passes did to it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    source: str | None = None
    parameters: tuple[ParameterSpec, ...] = ()
    policy: PipelinePolicy = PipelinePolicy()
    operations: tuple[AnyOperation, ...] = Field(default=())
    output: Value | None = None
    decisions: tuple[Decision, ...] = ()


_OPERATION: TypeAdapter[Operation | LLMOperation] = TypeAdapter(AnyOperation)


def to_document(graph: Graph) -> dict[str, Any]:
    """The JSON form of a graph, without what equals its default."""
    fields = GraphDocument.model_construct(
        name=graph.name,
        source=graph.source,
        parameters=graph.parameters,
        policy=graph.policy,
        operations=graph.operations,
        output=graph.output,
        decisions=graph.decisions,
    )
    document = fields.model_dump(mode="json", exclude_defaults=True, serialize_as_any=True)
    for written, operation in zip(document.get("operations", ()), graph, strict=True):
        written["kind"] = operation.kind
    return {"schema_version": SCHEMA_VERSION, **document}


def dumps(graph: Graph) -> str:
    """A graph as a JSON text: sorted keys, the same bytes every time."""
    return pretty_document(to_document(graph))


def loads(text: str | bytes) -> Graph:
    """Read a graph from a JSON text. Nothing that the text names is imported or run.

    Raises:
        GraphError: It is not a well-formed graph; the error carries every finding.
    """
    try:
        document = load_json(text)
    except DocumentError as error:
        raise GraphError([Finding.of(error.code, **error.facts)]) from None  # type: ignore[arg-type]
    return from_document(document)


def from_document(document: object) -> Graph:
    """Build a graph from its JSON form.

    Raises:
        GraphError: It is not a well-formed graph; the error carries every finding.
    """
    if not isinstance(document, dict):
        raise GraphError.because("XCS220", reason="it is not an object")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise GraphError.because("XCS223", version=version, known=[str(SCHEMA_VERSION)])
    raw = document.get("operations", [])
    operations, findings = _read_operations(raw) if isinstance(raw, list) else ([], [])
    head, head_findings = _read_head(document if not isinstance(raw, list) else {**document, "operations": []})
    findings = [*head_findings, *findings]
    graph = Graph(
        operations,
        name=head.name,
        parameters=head.parameters,
        output=head.output,
        policy=head.policy,
        decisions=head.decisions,
        source=head.source,
    )
    if not findings:
        return check(graph)
    unread = frozenset(str(item["id"]) for item in raw if isinstance(item, dict) and "id" in item) if isinstance(raw, list) else frozenset()
    raise GraphError([*findings, *(finding for finding in verify(graph, also_known=unread) if finding.severity == "error")])


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    schema = GraphDocument.model_json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "xcs-airflow graph", **schema}


def _read_head(document: dict[str, Any]) -> tuple[GraphDocument, list[Finding]]:
    try:
        return GraphDocument.model_validate(document), []
    except ValidationError as error:
        return GraphDocument(name=""), list(findings_of(error, ""))


def _read_operations(raw: list[Any]) -> tuple[list[Operation], list[Finding]]:
    operations: list[Operation] = []
    findings: list[Finding] = []
    for index, item in enumerate(raw):
        try:
            operations.append(_OPERATION.validate_python(item))
        except ValidationError as error:
            name = item.get("id") if isinstance(item, dict) else None
            findings.extend(findings_of(error, f"operations[{index}]", operation=f"%{name}" if name else None))
    return operations, findings


def findings_of(error: ValidationError, where: str, operation: str | None = None) -> list[Finding]:
    """What pydantic found, as findings."""
    findings = []
    for detail in error.errors(include_url=False, include_context=False):
        steps = [step for step in detail["loc"] if step not in ("python", "llm")]
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        place = f"{where}{path}".lstrip(".") or "the document"
        findings.append(Finding.of("XCS224", operation=operation, where=place, reason=detail["msg"]))
    return findings
