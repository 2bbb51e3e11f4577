"""Which names some code reads, binds and changes.

It knows scopes and imports as they are written; it does not know which modules there are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from xcs_airflow.authoring.syntax import Definition, Function, Name, children, dotted

Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


class Target(NamedTuple):
    """What a name stands for: a module, or what is found in one.

    Attributes:
        module: The module's full name.
        names: A name in it, then names of attributes; empty for the module itself.
    """

    module: Name
    names: Name = ()

    def part(self, names: Iterable[str]) -> Target:
        """An attribute of it."""
        return Target(self.module, (*self.names, *names))


class Scope:
    """The names that one scope reads and binds. Scopes inside it add what they do not bind themselves.

    Args:
        package: The package that relative imports start from.

    Attributes:
        read: Names it reads; whether it binds them too is not considered.
        bound: Names it binds.
        imports: Names it binds by importing, with what they stand for.
        stars: Modules of which it imports everything.
        imported: What scopes inside it read of what they import themselves.
    """

    def __init__(self, package: Name) -> None:
        self.read: set[Name] = set()
        self.bound: set[str] = set()
        self.imports: dict[str, set[Target]] = {}
        self.stars: list[Name] = []
        self.imported: set[Target] = set()
        self._package = package
        self._declared: set[str] = set()

    def enter(self, nodes: Iterable[ast.AST]) -> Scope:
        """Take in what some code reads and binds."""
        waiting = list(nodes)
        while waiting:
            waiting += self._parts(waiting.pop())
        return self

    def _parts(self, node: ast.AST) -> Iterable[ast.AST]:
        """Note what one node says about names; returns the nodes that are still to be looked at."""
        if isinstance(node, Function | ast.Lambda):
            return self._function(node)
        if isinstance(node, ast.ClassDef):
            return self._class(node)
        if isinstance(node, Comprehension):
            return self._comprehension(node)
        if isinstance(node, ast.Attribute) and (name := dotted(node)) is not None:
            self.read.add(name)
            return ()
        if isinstance(node, ast.AnnAssign):
            return [*children(node), *_in_texts([node.annotation])]
        self._note(node)
        return children(node)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                self.bound.add(name)
            case ast.Name(id=name):
                self.read.add((name,))
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                self._declared.update(names)
                self.read.update((name,) for name in names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self.bound.add(name)
            case ast.MatchMapping(rest=str(name)):
                self.bound.add(name)
            case ast.Import() | ast.ImportFrom():
                self._import(node)

    def _function(self, node: Function | ast.Lambda) -> list[ast.AST]:
        args = node.args
        starred = [arg for arg in (args.vararg, args.kwarg) if arg is not None]
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *starred]
        inner = Scope(self._package).enter([node.body] if isinstance(node, ast.Lambda) else node.body)
        inner.bound |= {arg.arg for arg in every}
        self._take(inner)
        if isinstance(node, ast.Lambda):
            return [args]
        self.bound.add(node.name)
        annotations = [note for note in (node.returns, *(arg.annotation for arg in every)) if note is not None]
        return [args, *annotations, *_in_texts(annotations), *node.decorator_list, *getattr(node, "type_params", ())]

    def _class(self, node: ast.ClassDef) -> list[ast.AST]:
        self.bound.add(node.name)
        inner = Scope(self._package).enter(node.body)
        inner.bound.clear()  # functions inside do not see them
        self._take(inner)
        return [*node.decorator_list, *node.bases, *node.keywords, *getattr(node, "type_params", ())]

    def _comprehension(self, node: Comprehension) -> list[ast.AST]:
        first = node.generators[0]
        inside = [part for part in children(node) if part is not first]
        self._take(Scope(self._package).enter([*inside, first.target, *first.ifs]))
        return [first.iter]

    def _take(self, inner: Scope) -> None:
        """Take over what a scope inside does not bind."""
        self.imported |= inner.imported
        for name in inner.read:
            first, rest = name[0], name[1:]
            if first in inner.imports and first not in inner._declared:  # one of its own kind
                self.imported |= {target.part(rest) for target in inner.imports[first]}
            elif first not in inner.bound or first in inner._declared:
                self.read.add(name)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = tuple(alias.name.split("."))
                if alias.asname is None:
                    self._bind(parts[0], Target(parts[:1]))
                else:
                    self._bind(alias.asname, Target(parts[:-1], parts[-1:]) if len(parts) > 1 else Target(parts))
            return
        above = self._package[: len(self._package) - node.level + 1] if node.level else ()
        module = (*above, *(node.module.split(".") if node.module else ()))
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                self._bind(alias.asname or alias.name, Target(module, (alias.name,)))

    def _bind(self, name: str, target: Target) -> None:
        self.bound.add(name)
        self.imports.setdefault(name, set()).add(target)


def touched(statement: ast.stmt) -> set[str]:
    """The names whose values a statement changes without binding them: `X[0] = 1`, `X.append(1)`, `fill(X)`, `@X.register`."""
    names: set[str] = set()
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Definition):
            names |= {path[0] for path in map(dotted, node.decorator_list) if path is not None and len(path) > 1}
            continue
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            names |= _read_by(_base(node))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            receiver = dotted(node.value.func)
            names |= {receiver[0]} if receiver is not None and len(receiver) > 1 else _read_by(node)
        waiting += children(node)
    return names


def _read_by(node: ast.AST) -> set[str]:
    return {name[0] for name in Scope(()).enter([node]).read}


def _base(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node


def _in_texts(annotations: Sequence[ast.expr]) -> list[ast.AST]:
    """What annotations say in texts: `list["Ticket"]` names `Ticket`, `Literal["bug"]` names nothing."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(annotations)
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            with suppress(SyntaxError):
                found.append(ast.parse(part.value, mode="eval"))
        elif not (isinstance(part, ast.Subscript) and (dotted(part.value) or ("",))[-1] == "Literal"):
            waiting += children(part)
    return found
