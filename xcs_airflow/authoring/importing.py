"""Makes a folder importable for as long as it is needed, even when another folder has modules of the same names.

It knows `sys.path` and `sys.modules`; it does not know pipelines.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from xcs_airflow.authoring.roots import absolute, is_below

_KEPT: dict[Path, dict[str, ModuleType]] = {}
"""The modules that were imported from each folder, for the next time it is needed."""

_PACKAGE = __name__.partition(".")[0]


@contextmanager
def importable(root: Path) -> Iterator[None]:
    """While inside, modules below a folder go by their own names and before all others but the standard library's.

    Afterwards `sys.path` and `sys.modules` are as they were; the folder's modules come back when it is made importable again. A
    folder that Python imports from anyway is left alone.
    """
    root = absolute(root)
    kept = _KEPT.setdefault(root, {})
    own_names = _names_in(root)
    hidden = {name: module for name, module in sys.modules.items() if _hides(name, module, root, own_names)}
    if not hidden and root in {absolute(entry) for entry in sys.path}:
        yield
        return
    before = {name: module for name, module in sys.modules.items() if name in kept or _is_own(name, module, root)} | hidden
    for name in hidden:
        del sys.modules[name]
    sys.modules.update(kept)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))
        kept.update({name: module for name, module in sys.modules.items() if _is_own(name, module, root)})
        for name in kept:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def _is_own(name: str, module: ModuleType, root: Path) -> bool:
    return name != "__main__" and name.partition(".")[0] != _PACKAGE and is_below(root, getattr(module, "__file__", None))


def _names_in(root: Path) -> set[str]:
    """The modules and packages that lie in a folder, without those whose names are taken for good."""
    modules = {file.stem for file in root.glob("*.py")}
    packages = {file.parent.name for file in root.glob("*/__init__.py")}
    return (modules | packages) - sys.stdlib_module_names - {_PACKAGE}


def _hides(name: str, module: ModuleType, root: Path, own_names: set[str]) -> bool:
    """Whether a module from elsewhere has the name of one of the folder's."""
    return name.partition(".")[0] in own_names and not is_below(root, getattr(module, "__file__", None))
