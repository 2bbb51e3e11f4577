"""`xcs schema`: the JSON Schemas of the documents that xcs reads and writes."""

from __future__ import annotations

import click

from xcs_airflow.cli.console import Command, show

EXAMPLES = ("xcs schema plan > plan.schema.json",)


@click.command("schema", cls=Command, examples=EXAMPLES)
@click.argument("document", type=click.Choice(["graph", "manifest", "plan", "profile"]))
def schema(document: str) -> None:
    """Print the JSON Schema of a document."""
    from xcs_airflow import manifest  # noqa: PLC0415
    from xcs_airflow.canonical import pretty_json  # noqa: PLC0415
    from xcs_airflow.cost import profile  # noqa: PLC0415
    from xcs_airflow.ir import serde  # noqa: PLC0415
    from xcs_airflow.plan import cloud_graph  # noqa: PLC0415

    makers = {
        "graph": serde.json_schema,
        "manifest": manifest.json_schema,
        "plan": cloud_graph.json_schema,
        "profile": profile.json_schema,
    }
    show(pretty_json(makers[document]()).rstrip("\n"))
