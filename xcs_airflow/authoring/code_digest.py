"""Tells by a digest when the code of a function changed: its own, and all that it uses in the pipeline's own modules.

It reads source files and follows names through them; it never imports or runs anything.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from xcs_airflow.authoring.names import Target
from xcs_airflow.authoring.places import file_of_function
from xcs_airflow.authoring.roots import is_below, is_own, module_at, only_package, root_of_module
from xcs_airflow.authoring.syntax import Name
from xcs_airflow.authoring.top_level import WHOLE, Meaning, TopLevel
from xcs_airflow.canonical import digest

DIGITS: Final = 16
"""Hexadecimal digits of a digest: it has to differ only from those of other states of the same function."""

_STDLIB = Path(sysconfig.get_path("stdlib"))


class CodeDigests:
    """The digests of functions, as their files are when they are first read. Each file is read once.

    A digest covers the function and, over any number of steps, the functions, classes and constants that it names in the
    pipeline's own modules: those below the folder that the function's module is imported from. Other modules count by their
    names, whatever their version. Layout, comments and docstrings do not count, nor does what `@op`, `@pipeline` and `@jit` are
    told. What `@llm` is told counts for functions that ask the question; for the question itself its operation has it.

    What is found only when the code runs is not covered: names that are computed, what one module puts into the registry of
    another, methods of objects whose class is named nowhere, data files.
    """

    def __init__(self) -> None:
        self._modules: dict[tuple[Path, str | None], OwnModules] = {}
        self._known: dict[tuple[str, str, Path], str | None] = {}

    def of(self, func: Callable[..., Any]) -> str | None:
        """The digest of a function; None when it has no source file, or is Python's own."""
        file = file_of_function(func)
        if file is None:
            return None
        key = (func.__module__, func.__qualname__, file)
        if key not in self._known:
            self._known[key] = self._digest(*key)
        return self._known[key]

    def _digest(self, module: str, qualname: str, file: Path) -> str | None:
        path = tuple(module.split("."))
        if is_below(_STDLIB, file) or len(path) > len(file.parents):
            return None
        root, only = root_of_module(module, file), only_package(file.parent, module)
        if module_at(root, path) != file:
            return None
        modules = self._modules.setdefault((root, only), OwnModules(root, only))
        return _Walk(modules).digest(path, qualname.partition(".")[0])


class OwnModules:
    """The modules below a folder, each read when it is first asked for.

    Args:
        root: The folder.
        only: The one package below it that is own; None takes all.
    """

    def __init__(self, root: Path, only: str | None) -> None:
        self._root = root
        self._only = only
        self._read: dict[Name, TopLevel | None] = {}

    def __getitem__(self, path: Name) -> TopLevel | None:
        if path not in self._read:
            file = module_at(self._root, path) if path and is_own(path[0], self._only) else None
            is_package = file is not None and file.name == "__init__.py"
            self._read[path] = None if file is None else TopLevel(path, file.read_bytes(), is_package=is_package)
        return self._read[path]

    def __contains__(self, path: Name) -> bool:
        return self[path] is not None or (path != () and is_own(path[0], self._only) and self._root.joinpath(*path).is_dir())


class _Walk:
    """Follows names from one function to all that it uses."""

    def __init__(self, modules: OwnModules) -> None:
        self._modules = modules
        self._said: dict[tuple[Name, str], tuple[str, ...]] = {}
        self._outside: set[Name] = set()
        self._seen: set[Target] = set()
        self._waiting: list[Target] = []

    def digest(self, module: Name, name: str) -> str:
        """The digest of one name of a module; of the whole module when no statement gives it a meaning."""
        home = self._modules[module]
        if home is not None and home.defines(name):
            self._count(module, name, home.meaning_of_step(name))
        else:
            self._go_on([Target(module)])
        while self._waiting:
            self._follow(self._waiting.pop())
        said = sorted([".".join(path), name, *digests] for (path, name), digests in self._said.items())
        return digest([module, name, said, sorted(self._outside)])[:DIGITS]

    def _follow(self, target: Target) -> None:
        """Count what a name stands for; a package's own names go before its modules."""
        path, names = target
        module = self._modules[path]
        if module is not None and (module.is_unreadable or not names):
            self._take(module, WHOLE)
            return
        if not names:
            self._go_outside(target)
            return
        part, below = names[0], (*path, names[0])
        is_module = below in self._modules
        if module is not None and part in module:
            if module.defines(part):
                self._take(module, part)
            bound = module.imports.get(part, set())
            self._go_on(found.part(names[1:]) for found in bound if found != (path, (part,)))
            is_module &= (path, (part,)) in bound
        elif module is not None:
            self._go_on(Target(star, names) for star in module.stars)
        elif not is_module:
            self._go_outside(target)
        if is_module:
            self._go_on([Target(below, names[1:])])

    def _take(self, module: TopLevel, name: str) -> None:
        if (module.path, name) not in self._said:
            self._count(module.path, name, module.meaning(name))

    def _count(self, module: Name, name: str, meaning: Meaning) -> None:
        self._said[module, name] = meaning.said
        self._go_on(meaning.leads_to)

    def _go_on(self, targets: Iterable[Target]) -> None:
        new = [target for target in targets if target not in self._seen]
        self._seen.update(new)
        self._waiting += new

    def _go_outside(self, target: Target) -> None:
        if target.module not in self._modules or target.names:
            self._outside.add((*target.module, *target.names))
