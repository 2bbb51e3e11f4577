"""`xcs`: the one command that holds the others."""

from __future__ import annotations

import click

from xcs_airflow.cli.cache import cache
from xcs_airflow.cli.check import check
from xcs_airflow.cli.console import Group
from xcs_airflow.cli.explain import explain
from xcs_airflow.cli.export import export
from xcs_airflow.cli.plan import plan
from xcs_airflow.cli.run import run
from xcs_airflow.cli.runs import runs
from xcs_airflow.cli.schema import schema


def _print_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        from xcs_airflow.exporting.assemble import tool_version  # noqa: PLC0415

        click.echo(f"xcs-airflow {tool_version()}")
        context.exit()


EXAMPLES = (
    "xcs plan pipeline.py:triage                       what it would do and cost",
    "xcs run pipeline.py:triage                        run it here",
    "xcs runs                                          what earlier runs used and cost",
    "xcs export pipeline.py:triage --target airflow    the same as xcs-export",
    "xcs cache stats                                   what is remembered",
    "xcs explain XCS203                                what an error code means",
)


@click.group("xcs", cls=Group, examples=EXAMPLES)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version and end.")
def xcs() -> None:
    """Compile Python functions that call language models into priced, cached, batched jobs.

    Exit codes: 0 all is well, 1 there are findings or the pipeline failed, 2 the command line cannot be obeyed or xcs is broken.
    """


def commands() -> dict[str, click.Command]:
    """The commands by name."""
    return {
        "cache": cache,
        "check": check,
        "explain": explain,
        "export": export,
        "plan": plan,
        "run": run,
        "runs": runs,
        "schema": schema,
    }


def all_commands() -> dict[str, click.Command]:
    """The commands by name, and after each group those in it, as in `cache stats`; in alphabetical order."""
    found: dict[str, click.Command] = {}
    for name, command in sorted(commands().items()):
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {part}": command.commands[part] for part in sorted(command.commands)}
    return found


for _name, _command in commands().items():
    xcs.add_command(_command, _name)


def main() -> None:
    """The script `xcs`."""
    xcs(prog_name="xcs")
