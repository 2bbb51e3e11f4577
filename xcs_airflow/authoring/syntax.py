"""What a piece of source code says, whatever its layout.

It knows syntax trees; it does not know what names stand for.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

Name = tuple[str, ...]
"""A dotted name in its parts: `helpers.clean` is `("helpers", "clean")`."""


Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
Block = Definition | ast.Module

_NOT_SAID: Final = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def digest_of(node: ast.AST) -> str:
    """A digest of what a tree says: the same for every layout, and in every version of Python that can read it."""
    said = hashlib.sha256()
    waiting: list[object] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            said.update(part.encode())
        elif isinstance(part, ast.Constant):
            said.update(_constant(part.value).encode())
        elif isinstance(part, ast.AST):
            # What is left out or empty is not said, so a field that a later version adds changes nothing until it is used.
            fields = [(name, value) for name, value in _fields(part) if name not in _NOT_SAID and value not in (None, [])]
            said.update(f"{type(part).__name__}(".encode())
            waiting.append(")")
            for name, value in reversed(fields):
                waiting += [value, f" {name}="]
        elif isinstance(part, list):
            said.update(b"[")
            waiting.append("]")
            for item in reversed(part):
                waiting += [item, ","]
        else:
            said.update(ascii(part).encode())
    return said.hexdigest()


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.JoinedStr):
            yield name, _joined(value)
        elif isinstance(value, ast.JoinedStr) and not _joined(value.values):
            yield name, None  # the format `{x:}`, which versions read differently
        elif isinstance(value, str):
            yield name, ascii(value)
        else:
            yield name, value


def _joined(parts: Sequence[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string; versions differ in how they cut the text between two values."""
    joined: list[ast.expr] = []
    for part in parts:
        if not isinstance(part, ast.Constant):
            joined.append(part)
        elif joined and isinstance(joined[-1], ast.Constant):
            joined[-1] = ast.Constant(str(joined[-1].value) + str(part.value))
        elif part.value:
            joined.append(part)
    return joined


def _constant(value: object) -> str:
    text = hex(value) if type(value) is int else ascii(value)
    return f"{type(value).__name__} {text}"


def blocks(tree: ast.Module) -> Iterator[Block]:
    """The module, its functions and its classes, those inside others included."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Block):
            yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inside = getattr(node, name, ())
            waiting += inside if isinstance(inside, list) else ()


def drop_docstring(block: Block) -> None:
    """Leave out the docstring of a block; a body that was nothing else becomes `pass`."""
    first = block.body[0] if block.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        block.body = block.body[1:] or [ast.Pass()]


def dotted(node: ast.expr) -> Name | None:
    """The parts of a dotted name, also when it is called; None for any other expression."""
    attributes: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Call) and not attributes:
            node = node.func
        else:
            return None
    return (node.id, *reversed(attributes))


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below one."""
    return list(ast.iter_child_nodes(node))
