"""The small part of Python in which generated DAG files are written, and the check that a file stays inside it.

It knows statements, names and calls; it does not know whether the DAG they make is the right one. Definitions must be the
template's own to the letter, so everything that differs from file to file is data: literals, and calls that hold literals.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations
from typing import Any

from xcs_airflow.template_files import template_folder

DEFINITIONS = ("run_task.py.j2", "poll_task.py.j2", "probe_task.py.j2", "add_tasks.py.j2")

_SOMETIMES = ("BaseBranchOperator", "BaseSensorOperator", "CronTriggerTimetable", "Param")

IMPORTS = frozenset(
    {
        "import json",
        "import os",
        "from datetime import datetime, timedelta, timezone",
        "from pathlib import Path",
        *(
            f"from airflow.sdk import {', '.join(('DAG', *sorted(('BaseOperator', *names))))}"
            for count in range(len(_SOMETIMES) + 1)
            for names in combinations(_SOMETIMES, count)
        ),
        "from airflow.sdk.exceptions import AirflowException, AirflowFailException",
    }
)

CALLS = frozenset(
    {
        "CronTriggerTimetable",
        "DAG",
        "Param",
        "PollTask",
        "PollTask.partial",
        "PollTask.partial.expand",
        "ProbeTask",
        "RunTask",
        "RunTask.partial",
        "RunTask.partial.expand",
        "add_tasks",
        "datetime",
        "list",
        "range",
        "timedelta",
    }
)

ATTRIBUTES = frozenset(
    {"PollTask.partial", "PollTask.partial.expand", "RunTask.partial", "RunTask.partial.expand", "timezone.utc"},
)

CONSTANTS = frozenset({"GENERATED_BY", "GRAPH_DIGEST", "SOURCE", "TASKS"})

NAMES = CONSTANTS | frozenset(
    {
        *("AirflowException", "AirflowFailException", "BaseBranchOperator", "BaseOperator", "BaseSensorOperator"),
        *("CronTriggerTimetable", "DAG", "Param", "Path", "PollTask", "ProbeTask", "RunTask", "add_tasks", "main"),
        *("datetime", "json", "os", "timedelta", "timezone"),
        *("dict", "list", "range", "str", "super"),
    }
)
"""Names with a meaning of their own in a DAG file, which no task's variable may take."""


def violations(tree: ast.Module) -> Iterator[str]:
    """What a DAG file holds that none should, each with its line.

    Args:
        tree: The parsed file.
    """
    variables = frozenset(_variables(tree))
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.dump(node) in _definitions():
            continue
        if not _is_allowed(node, variables):
            yield f"line {getattr(node, 'lineno', 1)}: {type(node).__name__} {_shortened(node)}"
            continue
        pending.extend(reversed(list(ast.iter_child_nodes(node))))


def _variables(tree: ast.Module) -> Iterator[str]:
    """What the file calls its tasks."""
    for block in (statement for statement in tree.body if isinstance(statement, ast.With)):
        for statement in block.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)]) if name not in NAMES and re.fullmatch("[a-z][a-z0-9_]*", name, re.ASCII):
                    yield name


def _is_allowed(node: ast.AST, variables: frozenset[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in variables or node.id in (CONSTANTS if isinstance(node.ctx, ast.Store) else NAMES)
    rule = _RULES.get(type(node))
    return rule is not None and rule(node)


def _is_import(node: ast.stmt) -> bool:
    return ast.unparse(node) in IMPORTS


def _is_call(node: ast.Call) -> bool:
    return _dotted(node.func) in CALLS and all(keyword.arg is not None for keyword in node.keywords)


def _is_attribute(node: ast.Attribute) -> bool:
    return _dotted(node) in ATTRIBUTES


def _is_negative_number(node: ast.UnaryOp) -> bool:
    return isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant)


def _is_edge(node: ast.BinOp) -> bool:
    return isinstance(node.op, ast.RShift) and all(isinstance(end, ast.Name) and end.id not in NAMES for end in (node.left, node.right))


def _is_data(node: ast.AST) -> bool:  # noqa: ARG001  # what it holds is looked at in its turn
    return True


_RULES: dict[type[ast.AST], Callable[[Any], bool]] = {
    ast.Import: _is_import,
    ast.ImportFrom: _is_import,
    ast.Call: _is_call,
    ast.Attribute: _is_attribute,
    ast.UnaryOp: _is_negative_number,
    ast.BinOp: _is_edge,
    **dict.fromkeys((ast.Module, ast.Expr, ast.Assign, ast.With, ast.withitem, ast.keyword, ast.alias), _is_data),
    **dict.fromkeys((ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.Load, ast.Store, ast.USub, ast.RShift), _is_data),
}


def _dotted(node: ast.expr) -> str:
    """`a.b` of a chain of names, attributes and calls; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{_dotted(value)}.{attr}"
        case ast.Call(func=func):
            return _dotted(func)
        case _:
            return ""


def _shortened(node: ast.AST) -> str:
    text = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
    return ascii(text[:60])


@cache
def _definitions() -> frozenset[str]:
    """The classes and the function that a DAG file may define, in the form of `ast.dump`."""
    folder = template_folder("airflow")
    return frozenset(ast.dump(ast.parse((folder / name).read_text("utf-8")).body[0]) for name in DEFINITIONS)
