"""AWS Batch jobs, run in order by Step Functions and on time by EventBridge Scheduler."""

from xcs_exporters.aws_batch.exporter import AwsBatchExporter

__all__ = ["AwsBatchExporter"]
