"""What the platform would refuse about a bundle, as a table of rules with their sources.

It knows the rules' names and how to ask them all; each family of rules lives in a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.errors import CODES, Finding
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.ir.cron import CronError, parse_cron
from xcs_airflow.manifest import Outline, TaskOutline
from xcs_exporters.cloud_run import job_rules, workflow_rules
from xcs_exporters.cloud_run.account import used_variables
from xcs_exporters.cloud_run.limits import limit

Document = dict[str, Any]
Broken = Iterator[tuple[str, str]]
"""The path of a file and what is wrong with it."""

_SINGLE_FILES = ("workflow.json", "scheduler.json", "variables.json")


@dataclass(frozen=True)
class Files:
    """The platform's files of a bundle, read.

    Attributes:
        jobs: By path.
        workflow: The workflow's source.
        schedule: The Scheduler job; empty when there is none.
        variables: What `variables.json` explains.
        bundle: The files as they are.
    """

    jobs: dict[str, Document]
    workflow: Document
    schedule: Document
    variables: Document
    bundle: Bundle

    @cached_property
    def tasks(self) -> tuple[TaskOutline, ...] | None:
        """The tasks of the manifest; None in a bundle that has none yet.

        Raises:
            ValidationError: It is no manifest.
        """
        content = self.bundle.files.get("manifest.json")
        return None if content is None else Outline.model_validate_json(content).tasks


@dataclass(frozen=True)
class Rule:
    """One thing the platform insists on.

    Attributes:
        id: Stable name, shown in findings.
        states: What must hold, in one sentence.
        source: Where the platform says so; empty when it is a promise of this exporter.
        test: Finds what breaks it.
    """

    id: str
    states: str
    source: str
    test: Callable[[Files], Broken]

    @property
    def hint(self) -> str:
        """What to do about it."""
        return f"{self.states}; see {self.source}" if self.source else self.states


def broken_rules(bundle: Bundle) -> tuple[Finding, ...]:
    """A finding for everything that breaks a rule, in the order of `RULES`."""
    paths = [path for path in sorted(bundle.files) if path.startswith("jobs/") or path in _SINGLE_FILES]
    documents: dict[str, Document] = {}
    unreadable: dict[str, str] = {}
    for path in paths:
        try:
            documents[path] = load_json(bundle.files[path])
        except DocumentError as error:
            unreadable[path] = CODES[error.code].message.format_map(error.facts)
        else:
            unreadable |= {} if isinstance(documents[path], dict) else {path: "it is not an object"}
    if unreadable:
        return tuple(_finding("CR00", reason, "every file is one JSON object", path) for path, reason in unreadable.items())
    workflow, schedule, variables = (documents.pop(path, {}) for path in _SINGLE_FILES)
    files = Files(documents, workflow, schedule, variables, bundle)
    return tuple(_finding(rule.id, reason, rule.hint, path) for rule in RULES for path, reason in _broken(rule, files))


def _broken(rule: Rule, files: Files) -> list[tuple[str, str]]:
    """What breaks a rule; files in which its question has no meaning break it too."""
    try:
        return list(rule.test(files))
    except (AttributeError, KeyError, TypeError, ValidationError) as error:
        return [("", f"the files are not of the form that this rule is about ({type(error).__name__}: {error})")]


def _finding(rule: str, reason: str, hint: str, path: str) -> Finding:
    return Finding.of("XCS506", rule=rule, reason=reason, instead=hint, place=path or None)


def _each_job(test: Callable[[str, Document], Iterator[str]]) -> Callable[[Files], Broken]:
    def all_jobs(files: Files) -> Broken:
        for path, job in files.jobs.items():
            for reason in test(path, job):
                yield path, reason

    return all_jobs


def _of_workflow(test: Callable[[Document], Iterator[str]]) -> Callable[[Files], Broken]:
    return lambda files: (("workflow.json", reason) for reason in test(files.workflow))


def _number_of_jobs(files: Files) -> Broken:
    if len(files.jobs) > limit("jobs_per_region"):
        yield "jobs", f"there are {len(files.jobs)} jobs"


def _every_job_runs_once(files: Files) -> Broken:
    started = workflow_rules.started_jobs(files.workflow)
    names = {job_rules.name_of(path) for path in files.jobs}
    for name in sorted(names | set(started)):
        if name not in names:
            yield "workflow.json", f"it runs {name}, which no file describes"
        elif started.count(name) != 1:
            yield "workflow.json", f"it runs {name} {started.count(name)} times"


def _polls(files: Files) -> Broken:
    told = workflow_rules.waits(files.workflow)
    by_name = {job_rules.name_of(path): path for path in files.jobs}
    for name in sorted(told.keys() & by_name.keys()):
        if not job_rules.is_tried_once(files.jobs[by_name[name]]):
            yield by_name[name], "it is polled, and has more than one task or is tried again"
    if files.tasks is not None:
        windows = {task.id: task.provider_batch.window_s for task in files.tasks if task.provider_batch is not None}
        wanted = {task.id: windows.get(task.part_of or "", 0) for task in files.tasks if task.kind == "poll"}
        for name, path in sorted(by_name.items()):
            window_s = wanted.get(job_rules.task_of(files.jobs[path]), 0)
            if bool(window_s) != (name in told):
                yield path, "it polls, and the workflow runs it once" if window_s else "the workflow polls it, and it does not poll"
            elif window_s > told.get(name, {}).get("at_most_s", window_s):
                yield path, f"it is waited for {told[name]['at_most_s']} seconds, its provider may take {window_s}"


def _probes(files: Files) -> Broken:
    yield from (("workflow.json", reason) for reason in workflow_rules.probed(files.workflow))
    told = workflow_rules.probes(files.workflow)
    by_name = {job_rules.name_of(path): path for path in files.jobs}
    for name in sorted(set(map(str, told.values())) & by_name.keys()):
        if not job_rules.is_tried_once(files.jobs[by_name[name]]):
            yield by_name[name], "it is a probe, and has more than one task or is tried again"
    if files.tasks is not None:
        task_of = {name: job_rules.task_of(files.jobs[path]) for name, path in by_name.items()}
        ours = {(task_of.get(job), task_of.get(str(probe))) for job, probe in told.items()}
        theirs = {(task.part_of, task.id) for task in files.tasks if task.kind == "probe"}
        for task, probe in sorted(ours ^ theirs, key=str):
            is_ours = (task, probe) in ours
            yield (
                "workflow.json",
                f"{task} {'is' if is_ours else 'is not'} spared by {probe}, which {'is no' if is_ours else 'is its'} probe",
            )


def _workflow_size(files: Files) -> Broken:
    size = len(files.bundle.files.get("workflow.json", b""))
    if size > limit("workflow_bytes"):
        yield "workflow.json", f"it has {size} bytes"


def _schedule(files: Files) -> Broken:
    if not files.schedule:
        return
    try:
        parse_cron(str(files.schedule.get("schedule", "")))
    except CronError as error:
        yield "scheduler.json", str(error)
    if len(files.schedule.get("description", "")) > limit("schedule_description"):
        yield "scheduler.json", "its description is too long"
    if not str(files.schedule.get("httpTarget", {}).get("uri", "")).startswith("https://"):
        yield "scheduler.json", "its target is not called over https"


def _variables_explained(files: Files) -> Broken:
    texts = {path: files.bundle.text(path) for path in [*files.jobs, "scheduler.json"] if path in files.bundle.files}
    for path, text in texts.items():
        for name in used_variables([text]):
            if name not in files.variables:
                yield path, f"it holds ${{{name}}}, which variables.json does not explain"
        if text.count("$") != sum(text.count(f"${{{name}}}") for name in used_variables([text])):
            yield path, "it holds a dollar sign that begins no variable"


_RUN = "https://cloud.google.com/run"
_REST = f"{_RUN}/docs/reference/rest/v2/projects.locations.jobs"
_FLOW = "https://cloud.google.com/workflows"

RULES: tuple[Rule, ...] = (
    Rule("CR01", "a job's name has 1 to 63 of a-z, 0-9 and -, begins with a letter and ends with no -", _REST, _each_job(job_rules.name)),
    Rule("CR02", "a job has one container with an image and a command as a list", _REST, _each_job(job_rules.container)),
    Rule("CR03", "an execution has 1 to 10,000 tasks", f"{_RUN}/quotas", _each_job(job_rules.tasks)),
    Rule("CR04", "maxRetries is written and 0 to 10", f"{_RUN}/docs/configuring/max-retries", _each_job(job_rules.retries)),
    Rule("CR05", "timeout is written in seconds, at most 168 hours", f"{_RUN}/docs/configuring/task-timeout", _each_job(job_rules.timeout)),
    Rule("CR06", "CPU and memory are a pair of the table", f"{_RUN}/docs/configuring/jobs/cpu", _each_job(job_rules.size)),
    Rule(
        "CR07",
        "a GPU is one of a known type with the CPU and memory it needs",
        f"{_RUN}/docs/configuring/jobs/gpu",
        _each_job(job_rules.gpu),
    ),
    Rule(
        "CR08",
        "variables are unique, legal and short enough",
        f"{_RUN}/docs/configuring/jobs/environment-variables",
        _each_job(job_rules.environment),
    ),
    Rule("CR09", "no value looks like a key", f"{_RUN}/docs/configuring/jobs/secrets", _each_job(job_rules.keys)),
    Rule("CR10", "labels are at most 64, of a-z, 0-9, _ and -", f"{_RUN}/docs/configuring/jobs/labels", _each_job(job_rules.labels)),
    Rule("CR11", "annotations stay out of the platform's name spaces", _REST, _each_job(job_rules.annotation_keys)),
    Rule("CR12", "a region holds at most 1,000 jobs", f"{_RUN}/quotas", _number_of_jobs),
    Rule("CR21", "the source has at most 128 KiB", f"{_FLOW}/quotas", _workflow_size),
    Rule("CR22", "steps are maps of one known form", f"{_FLOW}/docs/reference/syntax", _of_workflow(workflow_rules.forms)),
    Rule(
        "CR23", "names of steps are unique in a workflow", f"{_FLOW}/docs/reference/syntax/steps", _of_workflow(workflow_rules.unique_steps)
    ),
    Rule("CR24", "jumps lead to steps of the same workflow", f"{_FLOW}/docs/reference/syntax/jumps", _of_workflow(workflow_rules.jumps)),
    Rule(
        "CR25",
        "calls lead to connectors, the library, or workflows of this source with these parameters",
        f"{_FLOW}/docs/reference/syntax/subworkflows",
        _of_workflow(workflow_rules.calls),
    ),
    Rule("CR26", "expressions have at most 400 characters", f"{_FLOW}/quotas", _of_workflow(workflow_rules.expressions)),
    Rule(
        "CR27",
        "parallel steps have at most 10 branches, 20 at a time, in 2 levels",
        f"{_FLOW}/quotas",
        _of_workflow(workflow_rules.parallels),
    ),
    Rule("CR28", "the workflow runs every job once, or polls it", "", _every_job_runs_once),
    Rule("CR29", "a workflow that polls has steps for that, at most 100,000", f"{_FLOW}/quotas", _of_workflow(workflow_rules.polls)),
    Rule("CR30", "jobs that poll, and no others, are polled, have one task and no retries, and all the time of their provider", "", _polls),
    Rule(
        "CR31",
        "a schedule is cron of Unix, called over https, with a short description",
        "https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules",
        _schedule,
    ),
    Rule("CR32", "every variable is explained, and nothing else holds a dollar sign", "", _variables_explained),
    Rule("CR33", "only a job that is probed is spared, by a probe of its own, which has one task and no retries", "", _probes),
)
"""Every rule, by what it looks at: jobs (CR0x, CR1x), the workflow (CR2x), the rest (CR3x)."""
