r"""What only the owner of the account knows, and the variables that stand in files until it is known.

It knows names, meanings and how they are written; it does not know what the files are for.

A variable is written `${XCS_BUCKET}`. In every file that holds one, this is the only use of a dollar sign: text of the pipeline's
author has each of its dollar signs written as the JSON escape `\u0024`. JSON readers see the author's text as it was; tools that
replace text see variables only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from xcs_airflow.canonical import pretty_json
from xcs_exporters.cloud_run.settings import CloudRunSettings

# Stands for the dollar of a variable until the text is made. Half a surrogate pair: text that holds one is refused or cleaned before.
_DOLLAR = "\udc24"
_WRITTEN_DOLLAR = re.compile(r"(?<!\\)((?:\\\\)*)\\udc24")
_VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")

MEANINGS = {
    "project": "Id of the Google Cloud project, as in my-project",
    "region": "Where jobs, workflow and schedule live, as in europe-west1",
    "image": "Address of the container image made from the Dockerfile, as in europe-west1-docker.pkg.dev/my-project/xcs/triage:1",
    "service_account": "E-mail address of the service account that runs jobs and workflow, as in xcs@my-project.iam.gserviceaccount.com",
    "bucket": "Name of the Cloud Storage bucket for results, without gs://, as in my-project-xcs",
}
"""Setting to what it means."""


@dataclass(frozen=True)
class Account:
    """The values of an account: as given in the settings, or the variables that stand for them."""

    project: str
    region: str
    image: str
    service_account: str
    bucket: str

    @classmethod
    def of(cls, settings: CloudRunSettings) -> Account:
        """The account as far as the settings tell."""
        return cls(**{name: getattr(settings, name) or f"{_DOLLAR}{{{variable_name(name)}}}" for name in MEANINGS})


def variable_name(setting: str) -> str:
    """The variable that stands for a setting."""
    return f"XCS_{setting.upper()}"


def to_text(document: object) -> str:
    """A document as JSON in which only variables hold a dollar sign."""
    text = pretty_json(document).replace("$", "\\u0024")
    return _WRITTEN_DOLLAR.sub(r"\1$", text)


def used_variables(texts: Iterable[str]) -> list[str]:
    """The names of the variables in these texts, sorted."""
    return sorted({name for text in texts for name in _VARIABLE.findall(text)})


def describe(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """`variables.json`: each variable with its meaning and the setting that makes it needless."""
    settings = {variable_name(setting): setting for setting in MEANINGS}
    return {name: {"meaning": MEANINGS[settings[name]], "setting": settings[name]} for name in names}
