"""A workflow for jobs that are probed: it runs the job of the probe, and the job itself only if the other did not end well.

A probe that finds something missing ends with exit code 75. Whatever else keeps it from ending well is caught as well: then the job itself
says what is wrong, if anything is. So a probe never fails a run, and no exit code needs to be asked for. It knows the language of
Workflows; it does not know plans.

Source: https://cloud.google.com/workflows/docs/reference/syntax/catching-errors
"""

from __future__ import annotations

from typing import Any

PROBE_JOB = "probe_job"


def workflow(run_job: str) -> dict[str, Any]:
    """The workflow: it takes a job, which may have a probe among `probes`.

    Args:
        run_job: The name of the workflow that runs a job to its end, and fails when it does.
    """
    told = {"run": "${run}", "parameters": "${parameters}"}
    look = {"steps": [{"look": {"call": run_job, "args": {"job": "${probe}", **told}}}]}
    missing = {"as": "reason", "steps": [{"missing": {"assign": [{"is_known": False}]}}]}
    return {
        "params": ["job", "run", "parameters", "probes"],
        "steps": [
            {"begin": {"assign": [{"probe": "${map.get(probes, job)}"}, {"is_known": True}]}},
            {"whether": {"switch": [{"condition": "${probe == null}", "next": "start"}]}},
            {"probe_it": {"try": look, "except": missing}},
            {"judge": {"switch": [{"condition": "${is_known}", "next": "done"}]}},
            {"start": {"call": run_job, "args": {"job": "${job}", **told}}},
            {"done": {"return": "${job}"}},
        ],
    }
