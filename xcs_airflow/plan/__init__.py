"""From an optimised graph to the one durable document every target is rendered from."""

from xcs_airflow.plan.cloud_export import CloudExporter
from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedOperation, PlannedTask, json_schema

__all__ = ["CloudExporter", "CloudGraph", "PlannedOperation", "PlannedTask", "json_schema"]
