"""What AWS would refuse about a bundle, or accept and regret, as a table of rules with their sources.

It knows the rules' names and how to ask them all; what a rule looks for stands in `job_rules` and `flow_rules`. The rules are
needed because botocore, cfn-lint and moto all accept a bad Fargate pair, 99 attempts, or two states of one name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from xcs_airflow.errors import Finding
from xcs_airflow.exporting.bundle import Bundle
from xcs_exporters.aws_batch import flow_rules, job_rules
from xcs_exporters.aws_batch.documents import JobDefinition
from xcs_exporters.aws_batch.files import Broken, Files, read_files

_BATCH = "https://docs.aws.amazon.com/batch/latest"
_API = f"{_BATCH}/APIReference"
_LIMITS = f"{_BATCH}/userguide/service_limits.html"
_STATES = "https://docs.aws.amazon.com/step-functions/latest/dg"
_SCHEDULER = "https://docs.aws.amazon.com/scheduler/latest"
_STACKS = "https://docs.aws.amazon.com/AWSCloudFormation/latest"


@dataclass(frozen=True)
class Rule:
    """One thing that must hold.

    Attributes:
        id: Stable name, shown in findings.
        states: What must hold, in one sentence.
        source: Where the platform says so, or why it is wanted.
        test: Finds what breaks it.
    """

    id: str
    states: str
    source: str
    test: Callable[[Files], Iterator[Broken]]


def broken_rules(bundle: Bundle) -> tuple[Finding, ...]:
    """A finding for everything that breaks a rule, in the order of `RULES`; what cannot be read breaks `AB01` alone."""
    files, unreadable = read_files(bundle)
    if unreadable or files is None:
        return tuple(_finding("AB01", _SHAPE, broken) for broken in unreadable)
    return tuple(_finding(rule.id, f"{rule.states}; see {rule.source}", broken) for rule in RULES for broken in rule.test(files))


def _finding(rule: str, instead: str, broken: Broken) -> Finding:
    return Finding.of("XCS506", rule=rule, reason=broken.reason, instead=instead, place=broken.path)


def _each(test: Callable[[JobDefinition], Iterator[str]]) -> Callable[[Files], Iterator[Broken]]:
    def all_definitions(files: Files) -> Iterator[Broken]:
        for path, definition in files.job_definitions.items():
            yield from (Broken(path, reason) for reason in test(definition))

    return all_definitions


_SHAPE: Final = "every file is there and a JSON document of its own kind"

RULES: Final = (
    # job definitions
    Rule("AB02", "names are 1 to 128 letters, digits, '-' and '_'", f"{_API}/API_RegisterJobDefinition.html", _each(job_rules.name)),
    Rule("AB03", "a job definition has at most 24 KiB", _LIMITS, job_rules.size),
    Rule("AB04", "vCPU and memory are a pair that Fargate offers", f"{_API}/API_ResourceRequirement.html", _each(job_rules.fargate_pair)),
    Rule("AB05", "GPUs are on EC2 only", f"{_API}/API_ResourceRequirement.html", _each(job_rules.gpu)),
    Rule(
        "AB06",
        "jobs on Fargate, and jobs with secrets, have an execution role",
        f"{_BATCH}/userguide/execution-IAM-role.html",
        _each(job_rules.execution_role),
    ),
    Rule("AB07", "jobs on Fargate log to awslogs or splunk", f"{_API}/API_LogConfiguration.html", _each(job_rules.log_driver)),
    Rule("AB08", "there are 1 to 10 attempts and at most 5 conditions", f"{_BATCH}/userguide/job_retries.html", _each(job_rules.attempts)),
    Rule(
        "AB09",
        "the first condition tries 75 again, unless the state machine goes by it; the last ends everything else",
        f"{_BATCH}/userguide/job_retries.html",
        job_rules.conditions,
    ),
    Rule(
        "AB10",
        "patterns of conditions are plain words, or digits, and may end in '*'",
        f"{_API}/API_EvaluateOnExit.html",
        _each(job_rules.patterns),
    ),
    Rule("AB11", "an attempt may take 60 seconds or more", f"{_API}/API_JobTimeout.html", _each(job_rules.timeout)),
    Rule("AB12", "variables have legal names, each once", f"{_API}/API_ContainerProperties.html", _each(job_rules.variables)),
    Rule("AB13", "secrets are references", f"{_BATCH}/userguide/specifying-sensitive-data.html", _each(job_rules.secrets)),
    Rule("AB14", "there are at most 50 tags of legal length and letters", f"{_API}/API_TagResource.html", _each(job_rules.tags)),
    Rule(
        "AB15",
        "the command is the runtime's, with no shell between",
        "https://cwe.mitre.org/data/definitions/78.html",
        _each(job_rules.command),
    ),
    # the state machine
    Rule("AB20", "a definition has at most 1 MiB", f"{_STATES}/service-quotas.html", flow_rules.definition_size),
    Rule(
        "AB21",
        "names of states have at most 80 characters and occur once",
        f"{_STATES}/statemachine-structure.html",
        flow_rules.state_names,
    ),
    Rule("AB22", "every state is reached, and every chain ends", f"{_STATES}/statemachine-structure.html", flow_rules.reachable),
    Rule(
        "AB23",
        "states submit a job and wait for it, or run branches, or are the loop that asks again after exit code 75, or a probe and its task",
        f"{_STATES}/connect-to-resource.html#connect-sync",
        flow_rules.kinds,
    ),
    Rule(
        "AB24",
        "states hand their input on as it is, but for those of a loop",
        f"{_STATES}/service-quotas.html (256 KiB of data)",
        flow_rules.data,
    ),
    Rule("AB25", "names of jobs are 1 to 128 letters, digits, '-' and '_'", f"{_API}/API_SubmitJob.html", flow_rules.job_names),
    Rule("AB26", "an array has 2 to 10,000 jobs", f"{_BATCH}/userguide/array_jobs.html", flow_rules.arrays),
    Rule("AB27", "a submission has at most 30 KiB, and leaves room in the 8,192 characters of a command", _LIMITS, flow_rules.submissions),
    Rule(
        "AB28", "every job definition is submitted, and every one submitted is here", f"{_API}/API_SubmitJob.html", flow_rules.definitions
    ),
    Rule("AB29", "every task of the manifest runs once, in its shards, after all it needs", "manifest.json", flow_rules.manifest),
    # schedule
    Rule(
        "AB30",
        "a schedule is cron(...) with six fields, one of them '?'",
        f"{_SCHEDULER}/UserGuide/schedule-types.html",
        flow_rules.schedule,
    ),
    Rule(
        "AB31",
        "a schedule's name has 1 to 64 letters, digits, '-', '_' and '.', its time zone at most 50",
        f"{_SCHEDULER}/APIReference/API_CreateSchedule.html",
        flow_rules.schedule_names,
    ),
    # loops
    Rule("AB32", "an execution has at most 25,000 events", f"{_STATES}/service-quotas.html", flow_rules.history),
    Rule(
        "AB33", "tasks that poll, and no others, are asked again, for as long as their provider may take", "manifest.json", flow_rules.polls
    ),
    Rule("AB34", "only a task that is probed is spared, and only when its own probe ends well", "manifest.json", flow_rules.probes),
    # template
    Rule(
        "AB40",
        "a template has at most 1 MB, 500 resources and 200 parameters",
        f"{_STACKS}/UserGuide/cloudformation-limits.html",
        flow_rules.template_size,
    ),
    Rule("AB41", "the template holds what the files say", "the files are what people review", flow_rules.template_content),
    Rule(
        "AB42",
        "every variable is a parameter or a resource of the template",
        f"{_STACKS}/TemplateReference/intrinsic-function-reference-sub.html",
        flow_rules.variables_known,
    ),
)
"""What must hold, in the order of the findings."""
