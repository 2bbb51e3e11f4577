"""The top level of a module: which statements give a name its meaning, and where that leads.

It knows one file; it does not know which modules are anybody's own.
"""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from xcs_airflow.authoring.names import Scope, Target, touched
from xcs_airflow.authoring.syntax import Definition, Function, Name, blocks, digest_of, dotted, drop_docstring

WHOLE: Final = "*"
"""Stands for every name of a module."""

_PACKAGE = __name__.partition(".")[0]
_SETTINGS: Final = frozenset({"op", "pipeline", "jit"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What some statements say.

    Attributes:
        said: A digest of each statement, in the order of the file.
        leads_to: What they read.
    """

    said: tuple[str, ...]
    leads_to: frozenset[Target]


class TopLevel:
    """The top level of one module.

    What `@op`, `@pipeline` and `@jit` are told is left out: an operation has it in its fields. So is what runs only when the file
    is a script.

    Args:
        path: The module's name in its parts.
        source: Its text.
        is_package: Whether it is the `__init__` of a package.

    Attributes:
        path: The module's name in its parts.
        imports: Names it binds by importing, with what they stand for.
        stars: Modules of which it imports everything.
        is_unreadable: Whether this version of Python cannot read it; then it has no names.
    """

    def __init__(self, path: Name, source: bytes, *, is_package: bool) -> None:
        self.path = path
        self.imports: dict[str, set[Target]] = {}
        self.stars: list[Name] = []
        self._package = path if is_package else path[:-1]
        self._statements: dict[str, list[ast.stmt]] = {}
        self._meanings: dict[str, Meaning] = {}
        tree = _read(source)
        self.is_unreadable = tree is None
        self._all = [ast.Expr(ast.Constant(source))] if tree is None else list(_that_run(tree.body))
        if tree is not None:
            self._find_names()
            self._leave_out(tree, keeps_docstrings=b"__doc__" in source)

    def __contains__(self, name: str) -> bool:
        return name in self._statements or name in self.imports

    def defines(self, name: str) -> bool:
        """Whether statements give a name its meaning, and not an import alone."""
        return name in self._statements

    def meaning(self, name: str) -> Meaning:
        """What a name stands for, or `WHOLE`."""
        if name not in self._meanings:
            self._meanings[name] = self._whole() if name == WHOLE else self._of(self._statements[name])
        return self._meanings[name]

    def meaning_of_step(self, name: str) -> Meaning:
        """What a function is that is a step itself: what `@llm` is told is left out too, as its operation has it."""
        return self._of(map(self._bare, self._statements[name]))

    def _whole(self) -> Meaning:
        imported = {target for targets in self.imports.values() for target in targets}
        meaning = self._of(self._all)
        return Meaning(meaning.said, meaning.leads_to | imported | set(map(Target, self.stars)))

    def _of(self, statements: Iterable[ast.stmt]) -> Meaning:
        said: list[str] = []
        leads_to: set[Target] = set()
        for statement in statements:
            scope = Scope(self._package).enter([statement])
            said.append(digest_of(statement))
            leads_to |= {Target(self.path, name) for name in scope.read} | scope.imported
        return Meaning(tuple(said), frozenset(leads_to))

    def _find_names(self) -> None:
        """Find which statements bind or change which names."""
        bound: list[set[str]] = []
        for statement in self._all:
            scope = Scope(self._package)
            if isinstance(statement, Definition):
                scope.bound.add(statement.name)
            else:
                scope.enter([statement])
            self.stars += scope.stars
            for name, targets in scope.imports.items():
                self.imports.setdefault(name, set()).update(targets)
            bound.append(scope.bound)
        own = set().union(*bound)
        for statement, names in zip(self._all, bound, strict=True):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            changed = touched(statement) & own
            if isinstance(statement, Definition):
                changed -= self.imports.keys()  # what a decorator of another module notes down is not followed
            for name in sorted(names | changed):
                self._statements.setdefault(name, []).append(statement)

    def _leave_out(self, tree: ast.Module, *, keeps_docstrings: bool) -> None:
        for block in blocks(tree):
            if not keeps_docstrings:
                drop_docstring(block)
            if isinstance(block, Function):
                block.decorator_list = self._but_for(_SETTINGS, block.decorator_list)

    def _bare(self, statement: ast.stmt) -> ast.stmt:
        if not isinstance(statement, Function):
            return statement
        bare = copy.copy(statement)
        bare.decorator_list = self._but_for(frozenset({"llm"}), statement.decorator_list)
        return bare

    def _but_for(self, names: frozenset[str], decorators: Iterable[ast.expr]) -> list[ast.expr]:
        """Decorators without those of this package that have one of these names."""
        return [decorator for decorator in decorators if not any(ours[-1] in names for ours in self._ours(decorator))]

    def _ours(self, decorator: ast.expr) -> Iterator[Name]:
        first, *rest = dotted(decorator) or ("",)
        targets = (target.part(rest) for target in self.imports.get(first, ()))
        return (target.names for target in targets if target.module[:1] == (_PACKAGE,) and target.names)


def _read(source: bytes) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python says them when it imports the module
            return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _that_run(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements without those for scripts; what is there for type checkers only stands beside the others."""
    for statement in statements:
        if isinstance(statement, ast.If) and "__name__" in {name[0] for name in Scope(()).enter([statement.test]).read}:
            yield from _that_run(statement.orelse)
        elif isinstance(statement, ast.If) and (dotted(statement.test) or ("",))[-1] == "TYPE_CHECKING":
            yield from _that_run([*statement.body, *statement.orelse])
        else:
            yield statement
