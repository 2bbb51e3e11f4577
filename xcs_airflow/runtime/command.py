"""The command that platforms start: arguments and the platform's own variables become one call of `run_task`.

It knows options, variables and exit codes; it does not know what a task does.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.errors import CODES, Finding, NotReadyError, RuntimeTaskError, XcsError
from xcs_airflow.manifest import Manifest
from xcs_airflow.runtime.parameters import read_parameters
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.store import open_store
from xcs_airflow.runtime.task import is_retryable, run_task

_LOG = logging.getLogger("xcs_airflow.runtime")

DONE = 0
FAILED = 1
WRONG_CALL = 2
TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""

_CALLED_WRONGLY = frozenset({"XCS601", "XCS607", "XCS609", "XCS611"})
_SHARD_VARIABLES = ("AWS_BATCH_JOB_ARRAY_INDEX", "CLOUD_RUN_TASK_INDEX")


def main(argv: Sequence[str]) -> int:
    """Run one task, as `python -m xcs_airflow.runtime` does.

    Args:
        argv: The arguments, without the program's name.

    Returns:
        0 done or already done, 1 failed for good, 2 called wrongly, 75 to be tried again later, as while a provider works on a batch,
        or not to be done by a probe, because not everything is known.
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        _start(options, os.environ)
    except NotReadyError as waiting:
        more = len(waiting.findings) - 1
        _LOG.info("task %s: %s%s", options.task, waiting.findings[0].message, f"; and {more} more like that" if more else "")
        return TRY_AGAIN
    except XcsError as error:
        return _reported(error)
    except Exception as error:  # noqa: BLE001  # the last one who can report it
        _LOG.exception("task %s stopped", options.task)
        return _reported(RuntimeTaskError.because("XCS615", error=f"{type(error).__name__}: {error}"))
    return DONE


def load_manifest(address: str) -> Manifest:
    """Read a manifest from a file, `file://`, `s3://` or `gs://`.

    Raises:
        RuntimeTaskError: It cannot be read (XCS606).
    """
    folder, slash, name = address.removeprefix("file://").rpartition("/")
    try:
        data = open_store(folder or slash or ".").get(name)
        if data is None:
            raise RuntimeTaskError.because("XCS606", reason=f"there is no {address}")
        return Manifest.model_validate(load_json(data))
    except DocumentError as error:
        reason = CODES[error.code].message.format_map(error.facts)
    except ValidationError as error:
        reason = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors(include_url=False)[:5])
    except (OSError, ValueError) as error:
        reason = str(error)
    raise RuntimeTaskError.because("XCS606", reason=f"{address}: {reason}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xcs_airflow.runtime",
        description="Run one task of a manifest. Running it again is free.",
        epilog="Exit codes: 0 done or already done, 1 failed for good, 2 called wrongly, 75 try again later.",
        allow_abbrev=False,
    )
    parser.add_argument("--manifest", required=True, metavar="URI", help="the manifest: a file, s3:// or gs://")
    parser.add_argument("--task", required=True, metavar="ID", help="which task to run")
    parser.add_argument("--run", required=True, metavar="ID", help="the name of the run; the same name again resumes it")
    parser.add_argument("--shard", metavar="I/S", help="which part of the task; by default the platform's array or task index")
    parser.add_argument("--attempt", type=int, metavar="N", help="how often this was started; by default the platform's number")
    parser.add_argument("--params", metavar="JSON", help="parameters of the run as one object; by default XCS_PARAMS")
    parser.add_argument("--store", metavar="URI", help="folder, s3:// or gs:// of results; by default XCS_STORE, else .xcs/store")
    parser.add_argument("--cache", metavar="URI", help="the response cache; by default XCS_CACHE, else beside the store")
    parser.add_argument("--code", type=Path, metavar="DIR", help="the pipeline's modules; by default XCS_CODE, else code/ by the manifest")
    return parser


def _start(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    settings = RuntimeSettings.from_environment(environ, store=options.store, cache=options.cache, code=options.code)
    manifest = load_manifest(options.manifest)
    beside = Path(options.manifest.removeprefix("file://")).parent / "code"
    if settings.code is None and beside.is_dir():
        settings = settings.model_copy(update={"code": beside})
    task = manifest.task_by_id.get(options.task)
    given = (options.params, "--params") if options.params is not None else (environ.get("XCS_PARAMS") or "{}", "XCS_PARAMS")
    run_task(
        manifest,
        options.task,
        run_id=options.run,
        shard=_shard(options.shard, options.task, task.shards if task else 1, environ),
        parameters=read_parameters(*given),
        settings=settings,
        attempt=_attempt(options.attempt, environ),
    )


def _shard(option: str | None, task: str, shards: int, environ: Mapping[str, str]) -> int:
    """Which shard to run: as told, else as the platform counts its array; a task that is not spread needs neither."""
    if option is not None:
        index, _, count = option.partition("/")
        if not (index.isascii() and index.isdigit() and count == str(shards) and int(index) < shards):
            raise RuntimeTaskError.because("XCS609", shard=option, name=task, shards=shards)
        return int(index)
    if shards == 1:
        return 0
    told = next(((name, environ[name]) for name in _SHARD_VARIABLES if environ.get(name)), None)
    if told is None:
        raise RuntimeTaskError.because("XCS609", shard="none given", name=task, shards=shards)
    name, value = told
    if not (value.isascii() and value.isdigit() and int(value) < shards):
        raise RuntimeTaskError.because("XCS611", name=name, reason=f"{value!r} is not a shard of {task}, which has {shards}")
    started = environ.get("CLOUD_RUN_TASK_COUNT")
    if name == "CLOUD_RUN_TASK_INDEX" and started and started != str(shards):
        raise RuntimeTaskError.because("XCS611", name="CLOUD_RUN_TASK_COUNT", reason=f"it is {started}, but {task} has {shards} shards")
    return int(value)


def _attempt(option: int | None, environ: Mapping[str, str]) -> int:
    """Counted from 1, as AWS Batch does; Cloud Run counts from 0."""
    if option is not None:
        return option
    for name, offset in (("AWS_BATCH_JOB_ATTEMPT", 0), ("CLOUD_RUN_TASK_ATTEMPT", 1)):
        number = environ.get(name, "")
        if number.isascii() and number.isdigit():
            return int(number) + offset
    return 1


def _reported(error: XcsError) -> int:
    """Say on one line why there is no result; the log has the rest."""
    _LOG.error("%s", error)
    sys.stderr.write(" ".join(_line(error.findings[0]).split()) + "\n")
    if is_retryable(error):
        return TRY_AGAIN
    return WRONG_CALL if error.code in _CALLED_WRONGLY else FAILED


def _line(finding: Finding) -> str:
    place = f" ({finding.place})" if finding.place else ""
    where = f" in {finding.operation}" if finding.operation else ""
    return f"{finding.severity}[{finding.code}]: {finding.message}{where}{place}"
