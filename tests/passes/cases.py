"""What the graphs of the fixtures have in common."""

from __future__ import annotations

from xcs_airflow.ir import (
    Graph,
    Operation,
    ParameterSpec,
    Ref,
)

from .toys import plain

TICKETS = ParameterSpec(name="tickets", has_default=True, default=["late", "broken", "late", "odd"])
LOAD = plain("load", "words", n=4, items=4)


def graph(*operations: Operation, output: object = None, **settings: object) -> Graph:
    """A graph whose output is one operation, by its id, or a value."""
    value = Ref(operation=output) if isinstance(output, str) else output
    return Graph(operations, **{"name": "case", "parameters": [TICKETS], "output": value, **settings})
