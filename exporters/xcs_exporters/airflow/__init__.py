"""The Airflow target: one DAG file that Airflow 3.3 parses without this package, whose tasks run through the runtime."""

from xcs_exporters.airflow.exporter import AirflowExporter

__all__ = ["AirflowExporter"]
