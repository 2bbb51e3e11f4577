"""The bundle's README: what the files are, and the commands that deploy, run and remove them.

It knows Markdown and shell; it does not know how the files were made. Text of the pipeline's author is shown as text only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xcs_airflow.errors import Finding
from xcs_airflow.exporting.plain_text import markdown
from xcs_airflow.plan import CloudGraph
from xcs_airflow.plan.text import cost_sentence, duration_range
from xcs_exporters.cloud_run.account import MEANINGS, variable_name
from xcs_exporters.cloud_run.capabilities import adjustments
from xcs_exporters.cloud_run.settings import CloudRunSettings

_PLACE = '--project "$XCS_PROJECT" --location "$XCS_REGION"'


def write_readme(plan: CloudGraph, workflow: str, settings: CloudRunSettings, findings: Sequence[Finding]) -> str:
    """The README of a bundle.

    Args:
        plan: What the bundle runs.
        workflow: Name of the workflow, and of the schedule if there is one.
        settings: What is known of the account.
        findings: What the platform cannot do and was left out.
    """
    sections = [
        _introduction(plan),
        _account(plan, settings),
        _deployment(workflow, has_schedule=plan.policy.schedule is not None),
        _running(plan, workflow),
        _cost(plan),
        _differences(findings, adjustments(plan)),
        _removal(workflow, has_schedule=plan.policy.schedule is not None),
    ]
    return "\n".join(sections)


def _introduction(plan: CloudGraph) -> str:
    described = f"\n{markdown(plan.policy.description)}\n" if plan.policy.description else ""
    schedule = "| `scheduler.json` | the schedule, a Cloud Scheduler job that starts the workflow |\n" if plan.policy.schedule else ""
    return f"""# {markdown(plan.name)} on Google Cloud Run
{described}
| file | what it is |
|---|---|
| `jobs/*.json` | {plan.totals.tasks} Cloud Run jobs, one per task: bodies of the REST API v2 (`gcloud run jobs replace` takes v1 only) |
| `workflow.json` | source of the workflow that runs the jobs in order |
{schedule}| `variables.json` | what the files leave open, with its meaning |
| `Dockerfile`, `manifest.json`, `code/` | what goes into the image |
| `plan.json` | the plan all of this was written from |
"""


def _account(plan: CloudGraph, settings: CloudRunSettings) -> str:
    known = {name: getattr(settings, name) for name in MEANINGS}
    exports = "\n".join(f"export {variable_name(name)}={value or 'FILL-IN'}  # {MEANINGS[name]}" for name, value in known.items())
    references = sorted({reference for task in plan.tasks for reference in task.secrets.values()})
    roles = ["run.developer", "workflows.invoker", "storage.objectUser", "logging.logWriter"]
    roles += ["secretmanager.secretAccessor"] if references else []
    secrets = f"# the pipeline reads these secrets: {', '.join(references)}\n" if references else ""
    return f"""## Your account

```sh
{exports}
fill() {{ perl -pe 's/\\$\\{{(XCS_[A-Z_]+)\\}}/$ENV{{$1}} \\/\\/ die "$1 is not set\\n"/ge' "$1"; }}
api() {{ curl --fail-with-body --silent --show-error --header "Authorization: Bearer $(gcloud auth print-access-token)" \\
  --header "Content-Type: application/json" "$@"; }}
```

`fill` replaces `${{XCS_...}}` in a file by the variable of that name. Your own texts are safe from it: the files write each dollar sign
of theirs as `\\u0024`. What you set under `[tool.xcs.targets.cloud-run]` in `pyproject.toml` is filled in when exporting.

Once per project, the services, a bucket, and a service account that may use them:

```sh
gcloud services enable --project "$XCS_PROJECT" run.googleapis.com workflows.googleapis.com workflowexecutions.googleapis.com \\
  cloudscheduler.googleapis.com cloudbuild.googleapis.com artifactregistry.googleapis.com secretmanager.googleapis.com
gcloud storage buckets create "gs://$XCS_BUCKET" --project "$XCS_PROJECT" --location "$XCS_REGION"
gcloud iam service-accounts create "${{XCS_SERVICE_ACCOUNT%%@*}}" --project "$XCS_PROJECT"
for role in {" ".join(roles)}; do
  gcloud projects add-iam-policy-binding "$XCS_PROJECT" --member "serviceAccount:$XCS_SERVICE_ACCOUNT" --role "roles/$role"
done
{secrets}```
"""


def _deployment(workflow: str, *, has_schedule: bool) -> str:
    schedule = f"""
# the schedule; where there is one already: -X PATCH and .../jobs/{workflow}
fill scheduler.json | api -X POST --data-binary @- \\
  "https://cloudscheduler.googleapis.com/v1/projects/$XCS_PROJECT/locations/$XCS_REGION/jobs"
"""
    return f"""## Deploy

The same commands bring a later version.

```sh
# the image
gcloud builds submit --project "$XCS_PROJECT" --tag "$XCS_IMAGE" .

# the jobs
for file in jobs/*.json; do
  fill "$file" | api -X PATCH --data-binary @- \\
    "https://run.googleapis.com/v2/projects/$XCS_PROJECT/locations/$XCS_REGION/jobs/$(basename "$file" .json)?allowMissing=true"
done

# the workflow
gcloud workflows deploy {workflow} {_PLACE} --source workflow.json --service-account "$XCS_SERVICE_ACCOUNT"
{schedule if has_schedule else ""}```
"""


def _running(plan: CloudGraph, workflow: str) -> str:
    rows = "\n".join(f"- {markdown(spec.name)}{'' if spec.has_default else ' (has no default)'}" for spec in plan.parameters)
    known = f"\n`PARAMETER` is one of:\n\n{rows}\n" if rows else ""
    return f"""## Run

```sh
gcloud workflows run {workflow} {_PLACE} --data '{{"parameters": {{}}}}'
```

Parameters are JSON: `--data '{{"parameters": {{"PARAMETER": "value"}}}}'`.
{known}
A run is named after the workflow's execution. Where one failed, `--data '{{"run": "ID-OF-THE-EXECUTION"}}'`, with the same parameters,
runs it again and does only what is not done yet. One task alone: `gcloud run jobs execute JOB --args="--run,ID-OF-THE-EXECUTION"`.
"""


def _cost(plan: CloudGraph) -> str:
    totals = plan.totals
    tokens = f"{totals.input_tokens.expected:,.0f} tokens in and {totals.output_tokens.expected:,.0f} out"
    starts = "One container starts," if totals.starts == 1 else f"{totals.starts:,} containers start, each"
    return f"""## What to expect of a run

- Model calls: {totals.calls:,} with an empty cache ({totals.calls_before:,} before optimisation), {tokens}.
- Money for them: {markdown(cost_sentence(totals.cost_usd))}; prices as of {markdown(plan.prices.as_of)}.
- Time: {duration_range(totals.duration_s)}, without the start of containers.
- Not in these figures: Cloud Run, Workflows, Scheduler and Storage. {starts} billed for a minute or more.
"""


def _differences(findings: Iterable[Finding], adjusted: Iterable[str]) -> str:
    words = list(dict.fromkeys([*(finding.message for finding in findings), *adjusted]))
    if not words:
        return ""
    rows = "\n".join(f"- {word}" for word in words)
    return f"""## What differs from the plan

None of this changes a result:

{rows}
"""


def _removal(workflow: str, *, has_schedule: bool) -> str:
    schedule = f"gcloud scheduler jobs delete {workflow} {_PLACE} --quiet\n" if has_schedule else ""
    return f"""## Remove

```sh
{schedule}gcloud workflows delete {workflow} {_PLACE} --quiet
for file in jobs/*.json; do
  gcloud run jobs delete "$(basename "$file" .json)" --project "$XCS_PROJECT" --region "$XCS_REGION" --quiet
done
```
"""
