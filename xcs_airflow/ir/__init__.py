"""What a workflow is: graphs, operations, their rules, their printed and JSON forms, and their meaning."""

from xcs_airflow.ir.check import check, verify
from xcs_airflow.ir.executor import evaluate
from xcs_airflow.ir.graph import Decision, Graph, PipelinePolicy, dependencies, toposort
from xcs_airflow.ir.llm_ops import BatchPolicy, CachePolicy, LLMMetadata, LLMOperation
from xcs_airflow.ir.operation import Operation, Resources, Retry, address_of
from xcs_airflow.ir.serde import dumps, json_schema, loads
from xcs_airflow.ir.text import print_graph, print_operation
from xcs_airflow.manifest import ParameterSpec
from xcs_airflow.values import Constant, Hole, ListOf, Message, Parameter, Prompt, RecordOf, Ref

__all__ = [
    "BatchPolicy",
    "CachePolicy",
    "Constant",
    "Decision",
    "Graph",
    "Hole",
    "LLMMetadata",
    "LLMOperation",
    "ListOf",
    "Message",
    "Operation",
    "Parameter",
    "ParameterSpec",
    "PipelinePolicy",
    "Prompt",
    "RecordOf",
    "Ref",
    "Resources",
    "Retry",
    "address_of",
    "check",
    "dependencies",
    "dumps",
    "evaluate",
    "json_schema",
    "loads",
    "print_graph",
    "print_operation",
    "toposort",
    "verify",
]
