"""Finds the line of the user's code that made something happen.

It knows stack frames and folders; it does not know what happened there.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, TracebackType

from xcs_airflow.authoring.roots import absolute

_PACKAGE = __name__.partition(".")[0]


def place_here(root: Path | None = None) -> str | None:
    """`file:line` of the innermost running line of the user's.

    Args:
        root: The pipeline's folder, from which the file is given; lines below it go before lines of other people's modules. None
            takes the innermost line as seen from the current folder.
    """
    frame = user_frame(root)
    return f"{relative_to(root or Path.cwd(), frame.f_code.co_filename)}:{frame.f_lineno}" if frame else None


def user_frame(root: Path | None = None) -> FrameType | None:
    """The innermost running frame that is not ours; if there is one below the folder, the innermost of these."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the documented way to the caller
    nearest: FrameType | None = None
    while frame is not None:
        if not _is_ours(frame):
            if root is None or _inside(root, frame.f_code.co_filename):
                return frame
            nearest = nearest or frame
        frame = frame.f_back
    return nearest


def place_of_error(error: BaseException, root: Path) -> str | None:
    """`file:line` of the last line below a folder that an exception went through."""
    found = _last_line_below(error.__traceback__, root)
    if found is None and isinstance(error, SyntaxError) and error.filename:
        found = (error.filename, error.lineno or 1)
    return f"{relative_to(root, found[0])}:{found[1]}" if found else None


def line_of_error(error: BaseException, root: Path) -> str:
    """The last line below a folder that an exception went through, as it is written; empty when there is none."""
    lines = [entry.line or "" for entry in traceback.extract_tb(error.__traceback__) if _inside(root, entry.filename)]
    if not lines and isinstance(error, SyntaxError):
        lines = [(error.text or "").strip()]
    return lines[-1] if lines else ""


def place_of_function(func: Callable[..., object], root: Path | None = None) -> str | None:
    """`file:line` where a function is written, as seen from a folder or from its own."""
    code = _code_of(func)
    if code is None:
        return None
    return f"{relative_to(root or absolute(code.co_filename).parent, code.co_filename)}:{code.co_firstlineno}"


def file_of_function(func: Callable[..., object]) -> Path | None:
    """The file a function is written in; None when it is not written in Python."""
    code = _code_of(func)
    return None if code is None else absolute(code.co_filename)


def relative_to(root: Path, filename: str) -> str:
    """A file as seen from a folder, with `/` on every system; only its name when it lies elsewhere."""
    return _inside(root, filename) or Path(filename).name


def _code_of(func: Callable[..., object]) -> CodeType | None:
    return getattr(inspect.unwrap(func), "__code__", None)


@lru_cache(maxsize=4096)
def _inside(root: Path, filename: str) -> str | None:
    """A file's path below a folder; None when it lies elsewhere."""
    path = absolute(filename)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def _last_line_below(trace: TracebackType | None, root: Path) -> tuple[str, int] | None:
    found = None
    while trace is not None:
        if not _is_ours(trace.tb_frame) and _inside(root, trace.tb_frame.f_code.co_filename):
            found = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return found


def _is_ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module == _PACKAGE or module.startswith(f"{_PACKAGE}.")
