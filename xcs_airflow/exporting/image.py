"""The container image of a bundle: where its files lie, how every container starts, and the Dockerfile that builds it.

It knows paths and the Dockerfile; it does not build anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

IMAGE_FOLDER: Final = "/opt/xcs"
"""The folder that holds the manifest and `code/`."""

MANIFEST_PATH: Final = f"{IMAGE_FOLDER}/manifest.json"
"""The manifest; the runtime finds `code/` beside it."""

CODE_PATH: Final = f"{IMAGE_FOLDER}/code"
"""The pipeline's own modules and data files; containers start in it."""

RUNTIME_COMMAND: Final = ("python", "-m", "xcs_airflow.runtime", "--manifest", MANIFEST_PATH)
"""How every container starts; a platform appends `--task`, `--run` and what else it knows."""

BASE_IMAGE: Final = "python:3.12-slim"
"""What the image starts from, unless a setting says otherwise."""


@dataclass(frozen=True, slots=True)
class Image:
    """What the user decides about the image.

    Attributes:
        base: The image to start from; it has Python 3.11 or newer, and pip.
        requirements: Content of a requirements file with what the pipeline's own code imports; None installs nothing more.
    """

    base: str = BASE_IMAGE
    requirements: bytes | None = None


def dockerfile(image: Image, *, version: str, extras: Sequence[str], has_code: bool) -> str:
    """The Dockerfile of a bundle.

    Args:
        image: What the user decides.
        version: The release of this package to install.
        extras: The extras of this package that its containers need.
        has_code: Whether the bundle has a `code/` folder.
    """
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # 50 ms that only bundles with an image pay

    from xcs_airflow.template_files import template_folder  # noqa: PLC0415

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701  # not HTML
    extra = f"[{','.join(extras)}]" if extras else ""
    template = (template_folder("docker") / "Dockerfile.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        base=image.base,
        package=f"xcs-airflow{extra}=={version}",
        has_requirements=image.requirements is not None,
        has_code=has_code,
        folder=IMAGE_FOLDER,
        manifest=MANIFEST_PATH,
        code=CODE_PATH,
    )
