"""The runtime: it obeys a manifest, one task at a time, and running a task again is free.

It knows what the manifest says; it does not know graphs, passes, plans or platforms.
"""

from xcs_airflow.runtime.books import Usage
from xcs_airflow.runtime.command import load_manifest, main
from xcs_airflow.runtime.settings import ModelRoute, RuntimeSettings
from xcs_airflow.runtime.task import TaskReport, read_output, run_task
from xcs_airflow.runtime.usage import RunUsage, run_usage

__all__ = [
    "ModelRoute",
    "RunUsage",
    "RuntimeSettings",
    "TaskReport",
    "Usage",
    "load_manifest",
    "main",
    "read_output",
    "run_task",
    "run_usage",
]
