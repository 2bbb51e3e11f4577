"""What an exporter is: a name, what it can and cannot do, and two pure functions over a plan and a bundle.

It knows the promise; it does not know any platform. docs/writing-an-exporter.md walks through one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from pydantic import BaseModel

from xcs_airflow.errors import Finding
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.plan.cloud_graph import CloudGraph

Feature = Literal[
    "schedule",
    "timezone",
    "parameters",
    "edges",
    "shards",
    "retries",
    "retry_by_exit_code",
    "retry_delay",
    "timeout",
    "cpu_and_memory",
    "gpu",
    "secrets",
    "environment",
    "image_per_task",
    "conditions",
    "priority",
    "rate_limit_pools",
    "provider_batch",
    "probe",
]
"""What a plan may ask of a platform. Every exporter says of each whether it can do it; a new one breaks their tests until they do."""

FEATURES: tuple[Feature, ...] = get_args(Feature)


@dataclass(frozen=True)
class Capabilities:
    """What a target can do, and why it cannot do the rest.

    Attributes:
        supported: Feature to how the target does it, in one sentence.
        unsupported: Feature to why it cannot, in one sentence. A plan that needs one of these is refused, or the feature is
            left out where that cannot change the result (`advisory`).
        advisory: Unsupported features that only make a run quicker or cheaper, so leaving them out is no error.
        max_shards: The most starts of one task; None means no limit.
    """

    supported: Mapping[Feature, str]
    unsupported: Mapping[Feature, str]
    advisory: frozenset[Feature] = frozenset()
    max_shards: int | None = None


class Exporter(Protocol):
    """Renders plans as files for one platform.

    An exporter has no state, asks no clock, no network and no SDK, and writes nothing: it returns a bundle.

    Attributes:
        name: As given to `--target`.
        capabilities: What it can do.
        image_extras: Extras of this package that the bundle's image installs; None when the platform starts no containers.
        settings_model: What `[tool.xcs.targets.<name>]` may set; unknown keys are refused.
    """

    name: str
    capabilities: Capabilities
    image_extras: tuple[str, ...] | None
    settings_model: type[BaseModel]

    def emit(self, plan: CloudGraph, settings: Mapping[str, Any]) -> Bundle:
        """The platform's files for a plan.

        Args:
            plan: What to render.
            settings: `[tool.xcs.targets.<name>]` as read; the exporter checks it.

        Raises:
            UnsupportedError: The plan needs what the platform cannot do; carries every finding.
            ExportError: A setting is not valid.
        """
        ...

    def check(self, bundle: Bundle) -> tuple[Finding, ...]:
        """What the platform would refuse about a bundle, as far as rules in this repository can tell."""
        ...
