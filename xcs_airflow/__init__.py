"""xcs-airflow: Python functions that call language models, compiled into priced, cached, batched jobs.

Importing it loads almost nothing; each name below brings what it needs when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Not lazy like the rest: once the package of the same name was imported, a lazy name would mean the package.
from xcs_airflow.jit import jit

if TYPE_CHECKING:
    from xcs_airflow.authoring import LLM, Op, Pipeline, each, llm, load_pipeline, op, pipeline, whole
    from xcs_airflow.errors import (
        ConfigError,
        ExportError,
        Finding,
        GraphError,
        ModelError,
        ModelUnavailableError,
        PassError,
        PlanError,
        RuntimeTaskError,
        TraceError,
        UnsupportedError,
        XcsError,
    )
    from xcs_airflow.ir import CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, Resources, Retry
    from xcs_airflow.passes import CacheInsertionPass, LLMGraphEnhancer, PromptBatchingPass
    from xcs_airflow.plan import CloudExporter, CloudGraph

__version__ = "0.1.0"

__all__ = [
    "LLM",
    "CacheInsertionPass",
    "CachePolicy",
    "CloudExporter",
    "CloudGraph",
    "ConfigError",
    "ExportError",
    "Finding",
    "Graph",
    "GraphError",
    "LLMGraphEnhancer",
    "LLMMetadata",
    "LLMOperation",
    "ModelError",
    "ModelUnavailableError",
    "Op",
    "Operation",
    "PassError",
    "Pipeline",
    "PlanError",
    "PromptBatchingPass",
    "Resources",
    "Retry",
    "RuntimeTaskError",
    "TraceError",
    "UnsupportedError",
    "XcsError",
    "__version__",
    "each",
    "jit",
    "llm",
    "load_pipeline",
    "op",
    "pipeline",
    "whole",
]

_HOMES = {
    "authoring": ("LLM", "Op", "Pipeline", "each", "llm", "load_pipeline", "op", "pipeline", "whole"),
    "ir": ("CachePolicy", "Graph", "LLMMetadata", "LLMOperation", "Operation", "Resources", "Retry"),
    "passes": ("CacheInsertionPass", "LLMGraphEnhancer", "PromptBatchingPass"),
    "plan": ("CloudExporter", "CloudGraph"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # what is not needed is not loaded

    # All names without a home of their own are errors.
    value = getattr(import_module(f"{__name__}.{_HOME_OF.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
