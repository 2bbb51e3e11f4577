"""What people write: steps, questions to models, and pipelines of them.

It knows Python functions and the graph they describe; it does not know what becomes of the graph.
"""

from xcs_airflow.authoring.llms import LLM, LLMSettings, llm
from xcs_airflow.authoring.load import load_pipeline
from xcs_airflow.authoring.ops import Op, OpSettings, op
from xcs_airflow.authoring.pipelines import Pipeline, PipelineSettings, pipeline
from xcs_airflow.authoring.symbolic import each, whole

__all__ = [
    "LLM",
    "LLMSettings",
    "Op",
    "OpSettings",
    "Pipeline",
    "PipelineSettings",
    "each",
    "llm",
    "load_pipeline",
    "op",
    "pipeline",
    "whole",
]
