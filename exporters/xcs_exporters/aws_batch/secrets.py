"""References to secrets: what stands in a job definition, and what the execution role must be allowed to read.

It knows ARNs and names of Secrets Manager and Parameter Store; no value of a secret ever comes near it.
"""

from __future__ import annotations

import hashlib
import re

_ARN = re.compile(r"arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:|ssm:[a-z0-9-]+:[0-9]{12}:parameter/)[A-Za-z0-9/_+=.@:-]+")
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,500}")
_SECRET_ARN_PARTS = 7


def is_reference(reference: str) -> bool:
    """Whether it is an ARN of either store, or a name in Secrets Manager."""
    return bool(_ARN.fullmatch(reference) or _NAME.fullmatch(reference))


def is_arn(reference: str) -> bool:
    """Whether it says itself where the secret is."""
    return reference.startswith("arn:")


def name_variable(reference: str) -> str:
    """The template parameter that holds a secret's name; different names get different parameters."""
    words = re.findall(r"[A-Za-z0-9]+", reference)
    stem = "".join(word[0].upper() + word[1:] for word in words)[:40]
    return f"Secret{stem}{hashlib.sha256(reference.encode()).hexdigest()[:6]}"


def value_from(reference: str) -> str:
    """What a container's secret is read from: the ARN as given, or the ARN of the secret with that name in the stack's region."""
    if is_arn(reference):
        return reference
    return f"{_arn_begin()}${{{name_variable(reference)}}}"


def readable_arns(reference: str) -> tuple[str, ...]:
    """The resources of the permission to read a secret; ARNs of Secrets Manager end in six characters that a name leaves out."""
    if not is_arn(reference):
        begin = value_from(reference)
        return begin, f"{begin}-??????"
    if ":secretsmanager:" in reference:
        return (":".join(reference.split(":")[:_SECRET_ARN_PARTS]),)
    return (reference,)


def read_action(reference: str) -> str:
    """The permission to read a secret."""
    return "ssm:GetParameters" if ":ssm:" in reference else "secretsmanager:GetSecretValue"


def _arn_begin() -> str:
    return "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:"
