"""Google Cloud Run jobs, run in order by Workflows and on time by Cloud Scheduler."""

from xcs_exporters.cloud_run.exporter import CloudRunExporter

__all__ = ["CloudRunExporter"]
