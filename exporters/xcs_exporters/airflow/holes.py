"""Fills the holes of a template; how a value reads in the text around it is decided once for all holes, by one function.

It knows Jinja; it does not know Python, Markdown or DAGs.
"""

from __future__ import annotations

from collections.abc import Callable

from xcs_airflow.template_files import template_folder


def fill(template: str, form: Callable[[object], str], **values: object) -> str:
    """The text of a template of `templates/airflow`.

    Args:
        template: Its file name.
        form: Writes the value of every hole, without exception.
        **values: What its holes and loops read.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  # 60 ms that only an export pays

    environment = Environment(  # noqa: S701  # `form` escapes for the language at hand, which is never HTML
        loader=FileSystemLoader(template_folder("airflow")),
        finalize=form,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)
