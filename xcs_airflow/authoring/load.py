"""Finds a pipeline by what people type: `path/to/file.py:function` or `package.module:function`.

It knows files, modules and names; it does not know what is done with the pipeline.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType

from xcs_airflow.authoring.importing import importable
from xcs_airflow.authoring.pipelines import Pipeline
from xcs_airflow.authoring.places import line_of_error, place_of_error
from xcs_airflow.authoring.roots import absolute, module_of_file, root_of_module
from xcs_airflow.errors import ConfigError, XcsError, nearest


def load_pipeline(spec: str) -> Pipeline[..., object]:
    """Import a pipeline.

    Two files of the same name in different folders are two modules; neither stays on `sys.path`.

    Args:
        spec: `path/to/file.py:function` or `package.module:function`, where packages are looked for in the current folder too. The
            function may be left out when the module has exactly one pipeline.

    Raises:
        ConfigError: There is no such pipeline (XCS801), or importing it failed (XCS804).
        TraceError: One of its decorators found something wrong.
    """
    target, function = _split(spec)
    is_file = target.endswith(".py") or os.sep in target or "/" in target
    root, name = _file(spec, target) if is_file else _module(spec, target)
    with importable(root):
        module = _imported(spec, root, name)
    return _pipeline(spec, module, function)


def _split(spec: str) -> tuple[str, str | None]:
    target, colon, function = spec.rpartition(":")
    is_drive = function.startswith(("/", "\\"))
    return (target, function) if colon and not is_drive else (spec, None)


def _file(spec: str, target: str) -> tuple[Path, str]:
    file = absolute(target)
    if not file.is_file():
        siblings = [sibling.name for sibling in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise ConfigError.because("XCS801", spec=spec, reason=f"there is no file {target}; {nearest(file.name, siblings)}")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise ConfigError.because("XCS801", spec=spec, reason=f"{file.name} cannot be imported: its name is no Python name")
    return module_of_file(file)


def _module(spec: str, name: str) -> tuple[Path, str]:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError.because("XCS801", spec=spec, reason=f"{name!r} is neither a file nor a module")
    here = Path.cwd()
    with importable(here):
        try:
            found = importlib.util.find_spec(name)
        except XcsError:
            raise
        except ModuleNotFoundError:
            found = None
        except Exception as error:
            raise _failed(spec, error, here) from error
    if found is None or found.origin is None or not found.has_location:
        raise ConfigError.because("XCS801", spec=spec, reason=f"there is no module {name}")
    return root_of_module(name, Path(found.origin)), name


def _imported(spec: str, root: Path, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except XcsError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(spec, error, root) from error


def _failed(spec: str, error: BaseException, root: Path) -> ConfigError:
    place = place_of_error(error, root)
    line = line_of_error(error, root)
    return ConfigError.because("XCS804", spec=spec, error=f"{type(error).__name__}: {error}", line=line, place=place)


def _pipeline(spec: str, module: ModuleType, function: str | None) -> Pipeline[..., object]:
    pipelines = {name: thing for name, thing in vars(module).items() if isinstance(thing, Pipeline)}
    if function is None:
        own = {name: thing for name, thing in pipelines.items() if thing.__module__ == module.__name__} or pipelines
        if len(own) != 1:
            reason = f"the module has {len(own)} pipelines: {', '.join(own)}" if own else "the module has no function with @pipeline"
            raise ConfigError.because("XCS801", spec=spec, reason=reason)
        return next(iter(own.values()))
    if function not in pipelines:
        reason = f"{function} has no @pipeline" if hasattr(module, function) else f"it has no {function}; {nearest(function, pipelines)}"
        raise ConfigError.because("XCS801", spec=spec, reason=reason)
    return pipelines[function]
