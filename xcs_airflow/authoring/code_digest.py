"""Tells by a digest when the code of a function changed: its own, and all that it uses in the pipeline's own modules.

It reads source files and follows names through them; it never imports or runs anything.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

Place = tuple[Name, str]
"""A name of one module, or `WHOLE` of it."""

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
        self._maps: dict[tuple[Path, str | None], CodeMap] = {}
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
        if (root, only) not in self._maps:
            self._maps[root, only] = CodeMap(OwnModules(root, only))
        return self._maps[root, only].digest(path, qualname.partition(".")[0])


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


@dataclass(frozen=True, slots=True)
class _Uses:
    """What one name says, and what it uses.

    Attributes:
        said: A digest of its own statements.
        own: The names of own modules that they use.
        outside: The other modules that they use, and what of them.
    """

    said: str
    own: frozenset[Place]
    outside: frozenset[Name]


class CodeMap:
    """Which names of some modules use which; each is looked at once, however many functions lead to it.

    Args:
        modules: The modules.
    """

    def __init__(self, modules: OwnModules) -> None:
        self._modules = modules
        self._known: dict[Place, _Uses] = {}

    def digest(self, module: Name, name: str) -> str:
        """The digest of one name of a module; of the whole module when no statement gives it a meaning."""
        home = self._modules[module]
        is_written = home is not None and home.defines(name)
        place = (module, name) if is_written else (module, WHOLE)
        first = self._uses(place, home.meaning_of_step(name)) if home is not None and is_written else self._of(place)
        said, outside = {first.said}, set(first.outside)
        seen, waiting = {place}, [*first.own]
        while waiting:
            place = waiting.pop()
            if place not in seen:
                seen.add(place)
                uses = self._of(place)
                said.add(uses.said)
                outside |= uses.outside
                waiting += uses.own
        return digest([module, name, sorted(said), sorted(outside)])[:DIGITS]

    def _of(self, place: Place) -> _Uses:
        if place not in self._known:
            path, name = place
            module = self._modules[path]
            self._known[place] = self._uses(place, module.meaning(name) if module is not None else Meaning((), frozenset()))
        return self._known[place]

    def _uses(self, place: Place, meaning: Meaning) -> _Uses:
        """Follow what is read, through imports, to where it has a meaning."""
        own: set[Place] = set()
        outside: set[Name] = set()
        seen = set(meaning.leads_to)
        waiting = list(seen)
        while waiting:
            further: set[Target] = set()
            for found in self._steps(waiting.pop()):
                if isinstance(found, Target):
                    further.add(found)
                elif found[1] is None:
                    outside.add(found[0])
                else:
                    own.add((found[0], found[1]))
            waiting += further - seen
            seen |= further
        return _Uses(digest([*place, *meaning.said]), frozenset(own), frozenset(outside))

    def _steps(self, target: Target) -> Iterator[Target | tuple[Name, str | None]]:
        """Where a name leads at once: a place, another name, or outside; a package's own names go before its modules."""
        path, names = target
        module = self._modules[path]
        if module is not None and (module.is_unreadable or not names):
            yield path, WHOLE
            return
        if not names:
            if path not in self._modules:
                yield path, None
            return
        part, below = names[0], (*path, names[0])
        is_module = below in self._modules
        if module is not None and part in module:
            if module.defines(part):
                yield path, part
            bound = module.imports.get(part, set())
            yield from (found.part(names[1:]) for found in bound if found != (path, (part,)))
            is_module &= (path, (part,)) in bound
        elif module is not None:
            yield from (Target(star, names) for star in module.stars)
        elif not is_module:
            yield (*path, *names), None
        if is_module:
            yield Target(below, names[1:])
