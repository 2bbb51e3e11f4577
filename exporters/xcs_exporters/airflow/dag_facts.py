"""Reads a generated DAG file back without running it: its id, tags, tasks and edges.

It knows both forms of the file, statements and table; it does not know what is right.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar

from xcs_exporters.airflow.dag import POLLS, PROBES

T = TypeVar("T")


@dataclass
class DagFacts:
    """What a DAG file says.

    Attributes:
        dag_id: The id of its DAG.
        doc: The Markdown of the DAG.
        tags: Its labels.
        tasks: Task id and number of shards of each statement or row.
        polls: The ids of the tasks that ask again and again.
        probes: Task id to the id of the task that it may spare.
        rules: Task id to its trigger rule, where it has one of its own.
        edges: Pairs of task ids: the second waits for the first.
    """

    dag_id: str
    doc: str
    tags: list[str]
    tasks: list[tuple[str, int]] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    polls: set[str] = field(default_factory=set)
    probes: dict[str, str] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)

    def add(self, operator: str, task_id: str, shards: int, options: Mapping[str, Any]) -> None:
        """Take note of a task, as far as its options are literals."""
        self.tasks.append((task_id, shards))
        if operator == POLLS.text:
            self.polls.add(task_id)
        if operator == PROBES.text:
            self.probes[task_id] = _of_type(str, options.get("spares"))
        if "trigger_rule" in options:
            self.rules[task_id] = _of_type(str, options["trigger_rule"])


def read_dag(tree: ast.Module) -> DagFacts:
    """What a DAG file says.

    Args:
        tree: The parsed file, inside the language of `dag_language`.

    Raises:
        ValueError: It is not built as the template builds DAG files.
    """
    blocks = [statement for statement in tree.body if isinstance(statement, ast.With)]
    if len(blocks) != 1 or not isinstance(blocks[0].items[0].context_expr, ast.Call):
        raise ValueError(f"it has {len(blocks)} DAGs")
    values = _literals(blocks[0].items[0].context_expr.keywords)
    tags = _of_type(list, values.get("tags"))
    facts = DagFacts(_of_type(str, values.get("dag_id")), _of_type(str, values.get("doc_md")), [_of_type(str, tag) for tag in tags])
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="TASKS")], value=ast.Tuple(elts=rows)):
                _read_rows(rows, facts)
    _read_statements(blocks[0].body, facts)
    return facts


def _read_statements(statements: list[ast.stmt], facts: DagFacts) -> None:
    ids: dict[str, str] = {}
    for statement in statements:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call(func=ast.Attribute(value=ast.Call() as call)))
                | ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call() as call)
            ):
                values = _literals(call.keywords)
                ids[variable] = _of_type(str, values.get("task_id"))
                facts.add(ast.unparse(call.func).partition(".")[0], ids[variable], _of_type(int, values.get("shards", 1)), values)
            case ast.Expr(value=ast.BinOp(left=ast.Name(id=before), right=ast.Name(id=after))):
                facts.edges.append((ids.get(before, before), ids.get(after, after)))


def _read_rows(rows: list[ast.expr], facts: DagFacts) -> None:
    for row in rows:
        match row:
            case ast.Tuple(
                elts=[
                    ast.Name(id=operator),
                    ast.Constant(value=str(task_id)),
                    ast.Constant(value=int(shards)),
                    ast.Tuple(elts=needs),
                    ast.Dict(keys=names, values=values),
                ]
            ):
                options = [ast.keyword(str(name.value), value) for name, value in zip(names, values, strict=True) if _is_text(name)]
                facts.add(operator, task_id, shards, _literals(options))
                facts.edges += [(_of_type(str, ast.literal_eval(need)), task_id) for need in needs]
            case _:
                raise ValueError(f"line {row.lineno} is no row of the table")


def _is_text(node: ast.expr | None) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _literals(keywords: Sequence[ast.keyword]) -> dict[str, Any]:
    """The arguments of a call that are literals."""
    values: dict[str, Any] = {}
    for keyword in keywords:
        try:
            values[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except (TypeError, ValueError):
            continue
    return values


def _of_type(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is no {kind.__name__}")  # noqa: TRY004  # the value comes from a file, not from a caller
    return value
