"""What is emitted for AWS before the vendors' own models and linters, and our tables before their documentation."""

import json
import re

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator
from cfnlint.api import lint
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st
from statelint.config import Config
from statelint.linter import Linter

from xcs_airflow.ir import Graph, Operation, PipelinePolicy, Resources, Retry
from xcs_airflow.plan import CloudExporter
from xcs_exporters.aws_batch import AwsBatchExporter
from xcs_exporters.aws_batch.cron import CronError, scheduler_expression
from xcs_exporters.aws_batch.sizes import fargate_sizes

pytestmark = pytest.mark.real

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:openai-AbCdEf:key::"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/team/key"
QUEUE = "arn:aws:batch:eu-central-1:123456789012:job-queue/shared"


def everything():
    """One pipeline that uses all of the platform."""
    return Graph(
        [
            Operation(id="plain", func="p:f"),
            Operation(id="sized", func="p:f", resources=Resources(cpu=3, memory_mib=9000), timeout_s=5, retry=Retry(attempts=50)),
            Operation(id="gpu", func="p:f", resources=Resources(cpu=7.5, memory_mib=30_000, gpu=1, gpu_type="nvidia-a10g")),
            Operation(id="any-gpu", func="p:f", resources=Resources(gpu=2), image="registry/cuda:12"),
            Operation(id="secret", func="p:f", secrets={"A_KEY": SECRET, "B_KEY": PARAMETER, "C_KEY": "team/key"}, env={"A": "${x} ${!y}"}),
        ],
        name="Every thing / 1",
        policy=PipelinePolicy(schedule="*/10 8-18 * * MON-FRI", timezone="America/Argentina/ComodRivadavia", deadline_s=7200.5),
    )


SETTINGS = {
    "none": {},
    "spot": {"spot": True, "store": "s3://bucket", "subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"], "image": "a/b:1"},
    "queue": {"queue": QUEUE, "store": "s3://bucket/a/b", "log_retention_days": 365},
}


def emit(graph, **settings):
    return AwsBatchExporter().emit(CloudExporter().export(graph), settings)


@pytest.fixture(params=["small", "sharded", "wide", "hostile", "batched", "everything"])
def each_graph(request, graphs):
    return everything() if request.param == "everything" else graphs[request.param]()


def report_of(service, operation, request):
    """What botocore's model of an operation says against a request."""
    shape = get_session().get_service_model(service).operation_model(operation).input_shape
    return ParamValidator().validate(request, shape).generate_report()


def as_deployed(bundle):
    """The definition of the state machine with its variables filled in."""
    text = bundle.text("state-machine.asl.json").replace("${SubmitJob}", "arn:aws:states:::batch:submitJob.sync")
    return re.sub(r"\$\{(\w+)\}", r"arn:aws:batch:us-east-1:123456789012:job/\1", text)


def submissions(machine):
    for state in machine["States"].values():
        if state["Type"] == "Task":
            yield state["Parameters"]
        for branch in state.get("Branches", ()):
            yield from submissions(branch)


def as_request(submission):
    """What Step Functions sends for the parameters of a state: values of paths filled in, fields in the API's spelling."""
    parameters = {name.removesuffix(".$"): value for name, value in submission["Parameters"].items()}
    request = {name[0].lower() + name[1:]: value for name, value in submission.items()} | {"parameters": parameters}
    if "arrayProperties" in request:
        request["arrayProperties"] = {"size": request["arrayProperties"]["Size"]}
    return request


def test_botocore_accepts_every_request(each_graph):
    bundle = emit(each_graph)
    for path in bundle.files:
        if path.startswith("job-definitions/"):
            assert report_of("batch", "RegisterJobDefinition", json.loads(bundle.files[path])) == ""
    for submission in submissions(json.loads(bundle.files["state-machine.asl.json"])):
        assert report_of("batch", "SubmitJob", as_request(submission)) == ""
    if "schedule.json" in bundle.files:
        assert report_of("scheduler", "CreateSchedule", json.loads(bundle.files["schedule.json"])) == ""


def test_botocore_would_find_a_mistake():
    assert "Unknown parameter" in report_of("batch", "SubmitJob", {"jobName": "a", "jobQueue": "q", "jobDefinition": "d", "jobname": "b"})


@pytest.mark.parametrize("settings", SETTINGS)
def test_cfn_lint_has_nothing_to_say(each_graph, settings):
    template = emit(each_graph, **SETTINGS[settings]).text("template.json")
    matches = lint(template, regions=["us-east-1", "eu-central-1"], config={"include_checks": ["I"]})
    assert [f"{match.rule.id} {match.message}" for match in matches] == []


def test_cfn_lint_would_find_a_mistake(graphs):
    template = json.loads(emit(graphs["small"]()).text("template.json"))
    template["Resources"]["JobQueue"]["Properties"]["Priority"] = "high"
    assert lint(json.dumps(template))


def test_statelint_has_nothing_to_say(each_graph):
    assert Linter.validate(as_deployed(emit(each_graph)), Config()) == []


def test_statelint_would_find_a_mistake(graphs):
    machine = json.loads(as_deployed(emit(graphs["small"]())))
    machine["States"]["report"]["Next"] = "nowhere"
    assert Linter.validate(json.dumps(machine), Config())


def test_our_rules_have_nothing_to_say(each_graph):
    for settings in SETTINGS.values():
        plan = CloudExporter().export(each_graph)
        bundle = AwsBatchExporter().emit(plan, settings).with_files({"manifest.json": json.dumps(plan.manifest.to_dict())})
        assert AwsBatchExporter().check(bundle) == ()


def test_the_sizes_are_those_of_the_api_s_own_documentation():
    shape = get_session().get_service_model("batch").shape_for("ResourceRequirement")
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shape.members["value"].documentation))
    text = words[words.index("The supported values are 0.25") :]
    documented = {
        vcpu: tuple(int(size) for size in re.findall(r"\d+", sizes))
        for vcpu, sizes in re.findall(r"value = ([\d.]+) MEMORY = ([\d, or]+)", text)
    }
    assert fargate_sizes() == documented


def numbers(low, high):
    """One field of a cron expression, without what croniter reads in a way of its own: ranges of one number, and lists with `*`."""
    number = st.integers(low, high)
    ends = st.tuples(number, number).filter(lambda pair: pair[0] < pair[1])
    step = st.integers(1, 7)
    part = number.map(str) | ends.map("{0[0]}-{0[1]}".format) | st.builds("{0[0]}-{0[1]}/{1}".format, ends, step)
    return st.just("*") | step.map("*/{}".format) | st.lists(part, min_size=1, max_size=3).map(",".join)


def expanded(text, low, high, names=()):
    """The numbers that a field of EventBridge Scheduler stands for."""
    numbered = {name: number for number, name in enumerate(names)}
    found = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span in ("*", "?"):
            begin, end = low, high
        else:
            begin = numbered.get(first) if names else int(first)
            end = (numbered.get(last) if names else int(last)) if last else (high if step else begin)
        found |= set(range(begin, end + 1, int(step or 1)))
    return sorted(found)


def as_set(values, low, high):
    return list(range(low, high + 1)) if values == ["*"] else sorted(int(value) for value in values)


@given(numbers(0, 59), numbers(0, 23), numbers(1, 31), numbers(1, 12), numbers(0, 7), st.booleans())
def test_converted_schedules_fire_when_croniter_says(minute, hour, day, month, weekday, keeps_days):
    cron = f"{minute} {hour} {day if keeps_days else '*'} {month} {'*' if keeps_days else weekday}"
    minutes, hours, days, months, weekdays, year = scheduler_expression(cron).removeprefix("cron(").removesuffix(")").split()
    wanted = croniter.expand(cron)[0]
    assert expanded(minutes, 0, 59) == as_set(wanted[0], 0, 59)
    assert expanded(hours, 0, 23) == as_set(wanted[1], 0, 23)
    assert expanded(days, 1, 31) == as_set(wanted[2], 1, 31)
    assert expanded(months, 1, 12) == as_set(wanted[3], 1, 12)
    assert expanded(weekdays, 0, 6, DAYS) == as_set(wanted[4], 0, 6)
    assert (days == "?") != (weekdays == "?")
    assert year == "*"


@given(st.text())
def test_no_text_is_converted_that_croniter_refuses(text):
    try:
        scheduler_expression(text)
    except CronError:
        return
    croniter.expand(" ".join(text.split()))
