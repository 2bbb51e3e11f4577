"""The rules of a well-formed graph: `verify` runs all of them and returns every finding.

It knows what makes a graph meaningless or impossible to run; it does not know platforms or prices.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from xcs_airflow.errors import Finding, GraphError, nearest
from xcs_airflow.ir.collection import Collection, mapped_sources, result_collection
from xcs_airflow.ir.cron import CronError, is_timezone, parse_cron
from xcs_airflow.ir.graph import Graph, dependencies
from xcs_airflow.ir.grouping import may_share, tasks, uneven
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.values import Parameter, Ref, Value, leaves

ID = re.compile(r"[A-Za-z0-9_.\-]{1,250}", re.ASCII)
ADDRESS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
SECRET_NAME = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)

Rule = Callable[[Operation], Iterator[Finding]]


def verify(graph: Graph, *, also_known: frozenset[str] = frozenset(), sound: Graph | None = None) -> list[Finding]:
    """Every finding about a graph, in the order of its operations; an empty list means it is well formed.

    Args:
        graph: What to look at.
        also_known: Ids of operations that exist but could not be read, so that references to them are not reported.
        sound: A well-formed graph; operations that the graph has from it are not looked at again if its parameters are the same.
    """
    ids = {operation.id for operation in graph} | also_known
    parameters = {spec.name for spec in graph.parameters}
    findings = list(_check_unique(graph))
    sound = None if sound is None or sound.parameters != graph.parameters else sound
    is_whole = sound is not None and all(operation.id in ids for operation in sound)
    for operation in graph:
        known = sound[operation.id] if sound is not None and operation.id in sound else None
        if operation is not known:
            for rule in OPERATION_RULES:
                findings.extend(rule(operation))
        if not is_whole or known is None or not _reads_the_same(operation, known):
            findings.extend(_check_references(operation, ids, parameters))
    findings.extend(_check_output(graph, ids, parameters))
    findings.extend(_check_schedule(graph))
    findings.extend(_check_tasks(graph))
    if sound is None or not _is_wired_as(graph, sound):
        findings.extend(_check_order(graph))
    return findings


def _is_wired_as(graph: Graph, sound: Graph) -> bool:
    """Whether operations of the same names read the same, so that their order and collections are the same."""
    return all(
        op.id in sound and _reads_the_same(op, old := sound[op.id]) and op.map_over == old.map_over and op.collect == old.collect
        for op in graph
    )


def _reads_the_same(operation: Operation, known: Operation) -> bool:
    return operation.inputs is known.inputs and operation.when is known.when


def errors_of(graph: Graph, *, sound: Graph | None = None) -> list[Finding]:
    """The findings that keep a graph from being used. Where there are none, it is remembered of the graph, so it is not looked for twice.

    Args:
        graph: What to look at.
        sound: A well-formed graph that it was made from.
    """
    if graph.is_sound:
        return []
    errors = [finding for finding in verify(graph, sound=sound) if finding.severity == "error"]
    if not errors:
        graph.take_for_sound()
    return errors


def check(graph: Graph) -> Graph:
    """The graph itself, if it is well formed.

    Raises:
        GraphError: It is not; the error carries every finding.
    """
    errors = errors_of(graph)
    if errors:
        raise GraphError(errors)
    return graph


def _found(code: str, operation: Operation, **facts: object) -> Finding:
    return Finding.of(code, operation=f"%{operation.id}", place=operation.source, **facts)  # type: ignore[arg-type]


def _check_unique(graph: Graph) -> Iterator[Finding]:
    counts = Counter(operation.id for operation in graph)
    for name, count in counts.items():
        if count > 1:
            twins = [operation for operation in graph if operation.id == name]
            places = ", ".join(twin.source or "unknown" for twin in twins[1:])
            yield _found("XCS202", twins[0], name=name, count=count, places=places)


def _check_id(operation: Operation) -> Iterator[Finding]:
    if not ID.fullmatch(operation.id):
        yield _found("XCS201", operation, name=operation.id)


def _check_body(operation: Operation) -> Iterator[Finding]:
    bodies: dict[str, object] = {"func": operation.func}
    if isinstance(operation, LLMOperation):
        bodies |= {"prompt": operation.prompt, "prompt_func": operation.prompt_func}
    given = [name for name, body in bodies.items() if body is not None]
    if len(given) != 1:
        yield _found("XCS207", operation, what=f"both {' and '.join(given)}" if given else f"none of {', '.join(bodies)}")
    for name in ("func", "prompt_func"):
        address = bodies.get(name)
        if address is not None and not ADDRESS.fullmatch(str(address)):
            yield _found("XCS208", operation, name=address)


def _check_mapping(operation: Operation) -> Iterator[Finding]:
    for name in operation.map_over:
        if name not in operation.inputs:
            yield _found("XCS206", operation, name=name, known=operation.inputs)


def _check_prompt(operation: Operation) -> Iterator[Finding]:
    if isinstance(operation, LLMOperation) and operation.prompt is not None:
        for name in operation.prompt.inputs:
            if name not in operation.inputs:
                yield _found("XCS210", operation, name=name, known=operation.inputs)


def _check_ranges(operation: Operation) -> Iterator[Finding]:
    at_least: list[tuple[str, float | None, float]] = [
        ("items", operation.items, 0),
        ("distinct_items", operation.distinct_items, 0),
        ("shards", operation.shards, 1),
        ("timeout_s", operation.timeout_s, 1),
        ("resources.cpu", operation.resources.cpu, 0.001),
        ("resources.memory_mib", operation.resources.memory_mib, 1),
        ("resources.gpu", operation.resources.gpu, 0),
        ("retry.attempts", operation.retry.attempts, 1),
        ("retry.delay_s", operation.retry.delay_s, 0),
    ]
    if isinstance(operation, LLMOperation):
        data = operation.metadata
        at_least += [
            ("temperature", data.temperature, 0),
            ("max_tokens", data.max_tokens, 1),
            ("max_pack", data.max_pack, 1),
            ("estimated_tokens", data.estimated_tokens, 0),
            ("estimated_input_tokens", data.estimated_input_tokens, 0),
            ("estimated_output_tokens", data.estimated_output_tokens, 0),
            ("estimated_latency_s", data.estimated_latency_s, 0),
            ("estimated_cost_usd", None if data.estimated_cost_usd is None else float(data.estimated_cost_usd), 0),
        ]
    for field, value, least in at_least:
        if value is not None and value < least:
            yield _found("XCS211", operation, field=field, value=value, range=f"at least {least:g}")


def _check_packing(operation: Operation) -> Iterator[Finding]:
    if not isinstance(operation, LLMOperation):
        return
    data, batch = operation.metadata, operation.batch
    if data.quality_sensitive and data.max_pack > 1:
        yield _found("XCS217", operation, reason="it is quality-sensitive, and packing changes answers", instead="drop one of the two")
    if batch is not None and batch.mechanism == "packed" and not 1 < batch.pack_size <= data.max_pack:
        reason = f"pack_size = {batch.pack_size} is not between 2 and max_pack = {data.max_pack}"
        yield _found("XCS217", operation, reason=reason, instead="let the metadata say max_pack")
    if batch is not None and batch.mechanism != "packed" and batch.pack_size != 1:
        reason = f"pack_size = {batch.pack_size}, and its calls are {batch.mechanism}"
        yield _found("XCS217", operation, reason=reason, instead='let the mechanism be "packed"')


def _check_environment(operation: Operation) -> Iterator[Finding]:
    for name in operation.env:
        if SECRET_NAME.search(name):
            yield _found("XCS213", operation, name=name)


OPERATION_RULES: tuple[Rule, ...] = (
    _check_id,
    _check_body,
    _check_mapping,
    _check_prompt,
    _check_ranges,
    _check_packing,
    _check_environment,
)


def _inputs(operation: Operation) -> Iterator[tuple[str, Value]]:
    yield from operation.inputs.items()
    if operation.when is not None:
        yield "when", operation.when


def _check_references(operation: Operation, ids: set[str], parameters: set[str]) -> Iterator[Finding]:
    for name, value in _inputs(operation):
        for leaf in leaves(value):
            if isinstance(leaf, Ref) and leaf.operation not in ids:
                yield _found("XCS203", operation, input=name, name=leaf.operation, known=ids)
            elif isinstance(leaf, Parameter) and leaf.parameter not in parameters:
                yield _found("XCS204", operation, input=name, name=leaf.parameter, known=parameters)


def _check_output(graph: Graph, ids: set[str], parameters: set[str]) -> Iterator[Finding]:
    if graph.output is None:
        return
    for leaf in leaves(graph.output):
        name = getattr(leaf, "operation", None) or getattr(leaf, "parameter", None)
        known = parameters if isinstance(leaf, Parameter) else ids
        if name is not None and name not in known:
            yield Finding.of("XCS212", name=name, place=graph.source, nearest=nearest(name, known))


def _check_schedule(graph: Graph) -> Iterator[Finding]:
    policy = graph.policy
    if policy.schedule is None:
        return
    try:
        parse_cron(policy.schedule)
    except CronError as error:
        yield Finding.of("XCS214", schedule=policy.schedule, reason=str(error), instead=error.instead, place=graph.source)
    if not is_timezone(policy.timezone):
        yield Finding.of("XCS215", name=policy.timezone, place=graph.source)
    for spec in graph.parameters:
        if not spec.has_default:
            yield Finding.of("XCS216", name=spec.name, place=graph.source)


def _check_tasks(graph: Graph) -> Iterator[Finding]:
    for members in tasks(operation for operation in graph if may_share(operation)):
        finding = uneven(members, is_final=False) if len(members) > 1 else None
        if finding is not None:
            yield finding


def _check_order(graph: Graph) -> Iterator[Finding]:
    """Cycles, and collections that cannot be mapped together: both need the order."""
    try:
        ordered = graph.in_order()
    except GraphError as error:
        yield from error.findings
        return
    known: dict[str, Collection] = {}
    for operation in ordered:
        known[operation.id] = result_collection(operation, known)
        if operation.is_mapped and all(need in known for need in dependencies(operation)):
            yield from _check_join(operation, known)


def _check_join(operation: Operation, known: dict[str, Collection]) -> Iterator[Finding]:
    (first, first_source), *others = mapped_sources(operation, known).items()
    for name, source in others:
        if not source.joins(first_source):
            yield _found("XCS209", operation, first=first, second=name)
