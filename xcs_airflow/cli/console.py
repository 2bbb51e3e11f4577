"""How commands talk and end: results on stdout, everything else on stderr, exit codes 0, 1 and 2.

It knows terminals, formats and exit codes; it does not know what a command does.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click

from xcs_airflow.errors import Finding, XcsError

FOUND: Final = 1
"""Exit code: there are findings, or the pipeline failed."""

NOT_RUN: Final = 2
"""Exit code: the command line cannot be obeyed, or xcs itself is broken."""

INTERRUPTED: Final = 130
"""Exit code of a process that Ctrl-C ended, as shells have it."""

SCHEMA_VERSION: Final = 1
"""Of the JSON that commands print."""

# Findings about the command line or the configuration, as opposed to the pipeline.
_USAGE = frozenset({"XCS501", "XCS607", "XCS611", "XCS734", "XCS735", "XCS801", "XCS802", "XCS803", "XCS805", "XCS806", "XCS807"})
_SEVERITY_COLORS = {"error": "red", "warning": "yellow"}

_WITHOUT = "xcs.no_profile"

_F = TypeVar("_F", bound=Callable[..., Any])


def format_option(function: _F) -> _F:
    """The option `--format text|json`."""
    return click.option(
        "--format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people, or for programs."
    )(function)


def prices_option(function: _F) -> _F:
    """The option `--prices FILE`."""
    return click.option(
        "--prices", metavar="FILE", type=click.Path(), help="A file of prices that go before the built-in ones.  [env: XCS_PRICES]"
    )(function)


def target_option(function: _F) -> _F:
    """The option `--target TARGET` of commands that look at one plan."""
    return click.option(
        "-t", "--target", metavar="TARGET", help="Plan for airflow, aws-batch, cloud-run or a plugin's target.  [default: for all alike]"
    )(function)


NO_PROFILE: Final = ""
"""What `profile_option` gives for `--no-profile`."""


def profile_option(function: _F) -> _F:
    """The options `--profile FILE` and `--no-profile`, as one parameter: None when neither is given."""

    def chosen(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
        if ctx.meta.get(_WITHOUT) and value is not None:
            raise click.BadParameter("it cannot be given with --no-profile")
        return NO_PROFILE if ctx.meta.get(_WITHOUT) else value

    def without(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # click calls it
        ctx.meta[_WITHOUT] = value

    named = click.option(
        "--profile",
        metavar="FILE",
        callback=chosen,
        help="What earlier runs measured.  [default: profile.json, if there is one; env: XCS_PROFILE]",
    )
    refused = click.option(
        "--no-profile", is_flag=True, is_eager=True, expose_value=False, callback=without, help="Do without what earlier runs measured."
    )
    return named(refused(function))


class _WithExamples(click.Command):
    """Shows examples at the end of its help.

    Args:
        *args: As of `click.Command`.
        examples: Command lines, each with an optional remark after two spaces.
        **kwargs: As of `click.Command`.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are, one a line."""
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"{' ' * formatter.current_indent}{example}\n" for example in self.examples))
        super().format_epilog(ctx, formatter)


class Group(_WithExamples, click.Group):
    """A group of commands."""


class Command(_WithExamples):
    """A command whose body may raise `XcsError`: findings are printed and become the exit code, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the body, and end with what it returns: an exit code, or None for 0."""
        _replace_what_cannot_be_encoded()
        try:
            code = super().invoke(ctx)
        except XcsError as error:
            _print_traceback_if_asked()
            show_findings(error.findings, ctx.params.get("format", "text"))
            code = exit_code(error.findings)
        except KeyboardInterrupt:
            say("\ninterrupted")
            code = INTERRUPTED
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001  # nothing above it could say more than it does
            _print_traceback_if_asked()
            say(f"{ctx.command_path} met an error that it has no words for: {type(error).__name__}: {error}")
            say("Please report it, with the traceback that XCS_TRACEBACK=1 prints.")
            code = NOT_RUN
        ctx.exit(code or 0)


def exit_code(findings: Iterable[Finding]) -> int:
    """The exit code that findings mean: 0 for warnings alone, 2 when the command line is to blame for all errors."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return 0
    return NOT_RUN if all(finding.code in _USAGE for finding in errors) else FOUND


def show_findings(findings: Iterable[Finding], format: str) -> None:  # noqa: A002  # the option's name
    """Print what ended a command: to stderr for people, to stdout for programs."""
    if format == "json":
        show_json({"findings": [finding.to_dict() for finding in findings]})
    else:
        for finding in findings:
            say_finding(finding)


def show_json(document: dict[str, Any]) -> None:
    """Print the one JSON document of a command to stdout."""
    show(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2, ensure_ascii=False))


def show(text: str) -> None:
    """Print a result to stdout."""
    click.echo(text)


def say(text: str) -> None:
    """Print a remark to stderr."""
    click.echo(text, err=True)


def say_finding(finding: Finding) -> None:
    """Print one finding to stderr, coloured where a person watches; users' texts in it cannot move the terminal."""
    from xcs_airflow.plan.text import printable  # noqa: PLC0415

    severity, colon, message = "\n".join(printable(line) for line in str(finding).split("\n")).partition(":")
    if is_watched():
        severity = click.style(severity, fg=_SEVERITY_COLORS[finding.severity], bold=True)
    say(f"{severity}{colon}{message}")


def is_watched() -> bool:
    """Whether stderr is a terminal that takes colours and moving lines."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Gives a function that shows what is being done, on one line of stderr that is gone at the end; silent unless watched."""
    if not is_watched():
        yield lambda _: None
        return
    try:
        yield lambda text: click.echo(f"\r\033[K{text}", nl=False, err=True)
    finally:
        click.echo("\r\033[K", nl=False, err=True)


def _replace_what_cannot_be_encoded() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _print_traceback_if_asked() -> None:
    if os.environ.get("XCS_TRACEBACK"):
        traceback.print_exc()
