"""A whole bundle: an exporter's files, and what every target needs beside them.

It knows which documents travel together; it does not know what a platform wants or where a bundle is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from xcs_airflow.exporting.bundle import INDEX, Bundle
from xcs_airflow.exporting.image import Image, dockerfile
from xcs_airflow.exporting.port import Exporter
from xcs_airflow.plan.cloud_graph import CloudGraph

_PACKAGE = "xcs-airflow"
_DEFAULT_IMAGE = Image()


def assemble(
    plan: CloudGraph,
    exporter: Exporter,
    settings: Mapping[str, Any],
    code: Mapping[str, bytes],
    *,
    image: Image = _DEFAULT_IMAGE,
) -> Bundle:
    """The bundle of a plan for one target: the same bytes every time.

    Besides the exporter's own files it holds `plan.json`, `manifest.json`, the pipeline's modules under `code/`, a `Dockerfile`
    unless the target needs no image of its own, and `bundle.json`, the index of all of them.

    Args:
        plan: What to render.
        exporter: Renders the platform's own files.
        settings: `[tool.xcs.targets.<name>]` as read.
        code: The pipeline's modules and data files, by path.
        image: What the user decides about the image.

    Raises:
        UnsupportedError: The platform cannot do what the plan asks for.
        ExportError: A setting is not valid.
    """
    files: dict[str, bytes | str] = {f"code/{path}": content for path, content in code.items()}
    files["plan.json"] = plan.to_json()
    files["manifest.json"] = plan.manifest.to_json()
    extras = exporter.image_extras
    if extras is not None:
        files["Dockerfile"] = dockerfile(image, version=tool_version(), extras=extras, has_code=bool(code))
        if image.requirements is not None:
            files["requirements.txt"] = image.requirements
    bundle = exporter.emit(plan, settings).with_files(files)
    return bundle.with_files({INDEX: bundle.index(_facts(plan, exporter.name))})


def tool_version() -> str:
    """The installed release of this package; a checkout that is not installed has none."""
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "0+checkout"


def _facts(plan: CloudGraph, target: str) -> dict[str, object]:
    return {
        "target": target,
        "pipeline": plan.name,
        "graph_digest": plan.graph_digest,
        "tool": {"name": _PACKAGE, "version": tool_version()},
        "prices": plan.prices.model_dump(mode="json"),
    }
