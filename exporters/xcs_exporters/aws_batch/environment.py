"""Which environment variables a container on AWS Batch can have.

It knows names and values; it does not know who sets them.
"""

from __future__ import annotations

import re

from xcs_airflow.ir.check import SECRET_NAME

RESERVED = "AWS_BATCH"
"""Source: https://docs.aws.amazon.com/batch/latest/APIReference/API_ContainerProperties.html (environment)."""

DYNAMIC_REFERENCE = "{{resolve:"
"""What follows is replaced when a template is deployed, after every intrinsic function, and no notation prevents it.
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html"""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def why_not_variable(name: str, value: str = "") -> str:
    """Why a container cannot have a variable; empty when it can."""
    if not _NAME.fullmatch(name):
        return "names are letters, digits and '_', and do not begin with a digit"
    if name.upper().startswith(RESERVED):
        return f"names that begin with {RESERVED} belong to Batch"
    if "\0" in value:
        return "its value holds a NUL, which ends a value"
    if DYNAMIC_REFERENCE in value:
        return f"CloudFormation would replace what its value says after {DYNAMIC_REFERENCE!r}"
    return ""


def looks_secret(name: str) -> bool:
    """Whether a name says that its value should not be written out."""
    return SECRET_NAME.search(name) is not None
