"""Where a pipeline's own code begins: the folder that a worker will put on its import path.

It knows files, packages and module names; it imports nothing.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_OWN = frozenset({"xcs_airflow", "xcs_exporters"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def absolute(path: str | os.PathLike[str]) -> Path:
    """A path from the top of the disk, without `..`."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links out of the folder they are in


def root_of_module(name: str, file: Path) -> Path:
    """The folder from which a module is imported.

    Args:
        name: Its full name.
        file: Its file.
    """
    depth = name.count(".") + (file.name == "__init__.py")
    return file.parents[depth]


def module_of_file(file: Path) -> tuple[Path, str]:
    """The folder from which a file is imported, and the name it has then: packages are those with an `__init__.py`."""
    folder = file.parent
    parts = [] if file.name == "__init__.py" else [file.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def own_modules(root: Path, start: Path) -> dict[str, Path]:
    """The modules below a folder that a file imports, directly or by way of others, whether or not they have been imported.

    They are found by reading, not by importing, so an import inside a function counts, and what else this process has
    imported does not. Modules imported by a computed name are not found.

    Args:
        root: The folder.
        start: The file to begin with.

    Returns:
        Path relative to the folder, `/` between parts, to the file; sorted.
    """
    only = only_package(root, start.relative_to(root).with_suffix("").parts[0])
    found: dict[str, Path] = {}
    waiting = [*_packages_above(root, start), start]
    while waiting:
        file = waiting.pop()
        path = file.relative_to(root).as_posix()
        if path not in found:
            found[path] = file
            names = _imported_names(root, file)
            waiting += [module for name in names if is_own(name, only) for module in _files_of(root, name)]
    return dict(sorted(found.items()))


def module_at(root: Path, path: Sequence[str]) -> Path | None:
    """The file of a module below a folder, by the parts of its name; None when it has none."""
    folder = root.joinpath(*path)
    package, module = folder / "__init__.py", folder.with_name(f"{folder.name}.py")
    return next((file for file in (package, module) if file.is_file()), None)


def only_package(root: Path, name: str) -> str | None:
    """The one package below a folder that is somebody's own, when others are installed there too; None when all are.

    Args:
        root: The folder.
        name: Full name of a module of theirs.
    """
    return name.partition(".")[0] if _INSTALLED & set(root.parts) else None


def is_own(name: str, only: str | None) -> bool:
    """Whether a module may be one of the user's: not this package's, and of that one package if there is one."""
    top = name.partition(".")[0]
    return top not in _OWN and (only is None or top == only)


def is_below(root: Path, file: str | os.PathLike[str] | None) -> bool:
    """Whether a file is one of a folder's own: below it, and not of a package that was installed there."""
    if file is None or not os.path.abspath(file).startswith(f"{root}{os.sep}"):  # noqa: PTH100  # as in `absolute`
        return False
    return _INSTALLED.isdisjoint(absolute(file).relative_to(root).parts)


def _packages_above(root: Path, file: Path) -> list[Path]:
    folders = [folder for folder in file.relative_to(root).parents if folder.name]
    return [root / folder / "__init__.py" for folder in folders if (root / folder / "__init__.py").is_file()]


def _imported_names(root: Path, file: Path) -> Iterator[str]:
    """Every name that a file imports and that may be a module."""
    package = file.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """The files that importing a name runs, as far as they lie below a folder."""
    folder = root
    for part in filter(None, name.split(".")):
        if (folder / f"{part}.py").is_file() and not (folder / part / "__init__.py").is_file():
            yield folder / f"{part}.py"
            return
        folder /= part
        if not folder.is_dir():
            return
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
