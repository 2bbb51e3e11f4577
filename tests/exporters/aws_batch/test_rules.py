import json
from pathlib import Path

import pytest

from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.plan import CloudExporter
from xcs_exporters.aws_batch import AwsBatchExporter
from xcs_exporters.aws_batch.polling import Patience, polling
from xcs_exporters.aws_batch.rules import RULES

from .conftest import batched_graph

EXPORTER = AwsBatchExporter()
MACHINE, SCHEDULE, TEMPLATE = "state-machine.asl.json", "schedule.json", "template.json"


def with_changed(bundle, path, change):
    document = json.loads(bundle.files[path])
    change(document)
    return bundle.with_files({path: json.dumps(document)})


def broken(bundle):
    """The ids of all broken rules."""
    return {finding.message.split(":")[0] for finding in EXPORTER.check(bundle)}


@pytest.fixture
def definition(bundle):
    """The path of the job definition with secrets."""
    return next(path for path in bundle.files if path.startswith("job-definitions/") and '"secrets"' in bundle.text(path))


@pytest.fixture
def broken_definition(bundle, definition):
    """The broken rules, but that file and template differ, after a change of a job definition."""
    return lambda change: broken(with_changed(bundle, definition, change)) - {"AB41"}


@pytest.fixture
def broken_machine(bundle):
    """The broken rules, but that file and template differ, after a change of the state machine."""
    return lambda change: broken(with_changed(bundle, MACHINE, change)) - {"AB41"}


def container(document):
    return document["containerProperties"]


def strategy(document):
    return document["retryStrategy"]


def test_a_generated_bundle_breaks_no_rule(bundle):
    assert EXPORTER.check(bundle) == ()


def test_ids_of_rules_are_unique_and_sorted():
    ids = [rule.id for rule in RULES]
    assert ids == sorted(set(ids))


def test_a_finding_names_rule_file_reason_and_source(bundle, definition):
    (finding, *_) = EXPORTER.check(with_changed(bundle, definition, lambda one: one.update(timeout={"attemptDurationSeconds": 5})))
    assert (finding.code, finding.message, finding.place) == ("XCS506", "AB11: an attempt ends after 5 seconds", definition)
    assert finding.hint.startswith("an attempt may take 60 seconds or more; see https://docs.aws.amazon.com/")


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        (MACHINE, "{", "Expecting property name"),
        (MACHINE, "[]", "the document: Input should be"),
        (MACHINE, '{"StartAt": "a"}', "States: Field required"),
        (TEMPLATE, '{"Resources": {}, "Resources": {}}', "stands twice"),
        (SCHEDULE, '{"Name": 1}', "Name: Input should be a valid string"),
        ("job-definitions/x.json", '{"jobDefinitionName": "x"}', "containerProperties: Field required"),
    ],
)
def test_what_cannot_be_read_is_told_and_nothing_else(bundle, path, content, reason):
    findings = EXPORTER.check(bundle.with_files({path: content}))
    assert {finding.message.split(":")[0] for finding in findings} == {"AB01"}
    assert {finding.place for finding in findings} == {path}
    assert any(reason in finding.message for finding in findings)


def test_a_bundle_without_files_breaks_the_first_rule():
    assert [finding.place for finding in EXPORTER.check(Bundle())] == [MACHINE, TEMPLATE]


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("AB02", lambda one: one.update(jobDefinitionName="bad name!")),
        ("AB02", lambda one: one.update(jobDefinitionName="x" * 129)),
        ("AB03", lambda one: container(one)["environment"].append({"name": "A", "value": "x" * 25_000})),
        (
            "AB04",
            lambda one: container(one).update(resourceRequirements=[{"type": "VCPU", "value": "0.3"}, {"type": "MEMORY", "value": "999"}]),
        ),
        ("AB04", lambda one: container(one).update(resourceRequirements=[])),
        ("AB05", lambda one: container(one)["resourceRequirements"].append({"type": "GPU", "value": "1"})),
        ("AB06", lambda one: container(one).pop("executionRoleArn")),
        ("AB07", lambda one: container(one)["logConfiguration"].update(logDriver="json-file")),
        ("AB08", lambda one: strategy(one).update(attempts=99)),
        ("AB08", lambda one: strategy(one)["evaluateOnExit"].insert(1, {"onExitCode": "1", "action": "EXIT"})),
        ("AB09", lambda one: strategy(one)["evaluateOnExit"].pop()),
        ("AB09", lambda one: strategy(one)["evaluateOnExit"].pop(0)),
        ("AB09", lambda one: strategy(one).pop("evaluateOnExit")),
        ("AB10", lambda one: strategy(one)["evaluateOnExit"][1].update(onStatusReason="*spot*")),
        ("AB10", lambda one: strategy(one)["evaluateOnExit"][1].update(onExitCode="7x")),
        ("AB11", lambda one: one.update(timeout={"attemptDurationSeconds": 59})),
        ("AB12", lambda one: container(one)["environment"].append({"name": "AWS_BATCH_X", "value": ""})),
        ("AB12", lambda one: container(one)["environment"].append({"name": "OPENAI_API_KEY2=", "value": ""})),
        ("AB12", lambda one: container(one)["environment"].append({"name": "XCS_STORE", "value": "twice"})),
        ("AB12", lambda one: container(one)["environment"].append({"name": "A", "value": "{{resolve:ssm-secure:x:1}}"})),
        ("AB13", lambda one: container(one)["environment"].append({"name": "MY_TOKEN", "value": "text"})),
        ("AB14", lambda one: one.update(tags={str(i): "" for i in range(51)})),
        ("AB14", lambda one: one.update(tags={"a": "<b>"})),
        ("AB15", lambda one: container(one).update(command=["sh", "-c", "python Ref::task"])),
        ("AB27", lambda one: container(one)["command"].append("x" * 5000)),
        ("AB42", lambda one: container(one).update(image="${Nowhere}")),
    ],
)
def test_rules_of_job_definitions(broken_definition, rule, change):
    assert broken_definition(change) == {rule}


def test_a_wrong_size_says_which_is_the_next(bundle, definition):
    wrong = [{"type": "VCPU", "value": "0.3"}, {"type": "MEMORY", "value": "999"}]
    findings = EXPORTER.check(with_changed(bundle, definition, lambda one: container(one).update(resourceRequirements=wrong)))
    assert findings[0].message == "AB04: 0.3 vCPU with 999 MiB is not a size of Fargate; the next is 0.5 vCPU with 1024 MiB"


def rename(machine, old, new):
    machine["States"][new] = machine["States"].pop(old)
    for state in machine["States"].values():
        if state.get("Next") == old:
            state["Next"] = new


def in_a_branch(machine):
    """The last state moves into a branch that has the name of the first."""
    last = machine["States"].pop("report")
    machine["States"]["report"] = {
        "Type": "Parallel",
        "ResultPath": None,
        "End": True,
        "Branches": [{"StartAt": "tickets", "States": {"tickets": last}}],
    }


def run_first(machine):
    """The report no longer waits for anything."""
    machine["StartAt"] = "report"
    machine["States"]["report"].pop("End")
    machine["States"]["report"]["Next"] = "tickets"
    machine["States"]["classify_summarise"].pop("Next")
    machine["States"]["classify_summarise"]["End"] = True


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("AB20", lambda one: one.update(Comment="x" * 1_100_000)),
        ("AB21", lambda one: rename(one, "report", "x" * 81)),
        ("AB21", in_a_branch),
        ("AB24", lambda one: one["States"]["report"].pop("ResultPath")),
        ("AB25", lambda one: one["States"]["report"]["Parameters"].update(JobName="a b")),
        ("AB27", lambda one: one["States"]["report"]["Parameters"]["Parameters"].update(params="x" * 31_000)),
        ("AB27", lambda one: one["States"]["report"]["Parameters"]["Tags"].update({"xcs:task": "<"})),
        ("AB29", run_first),
        ("AB42", lambda one: one["States"]["report"]["Parameters"].update(JobQueue="${OtherQueue}")),
    ],
)
def test_rules_of_state_machines(broken_machine, rule, change):
    assert broken_machine(change) == {rule}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("AB22", lambda one: one.update(StartAt="nowhere")),
        ("AB22", lambda one: one["States"]["tickets"].update(Next="nowhere")),
        ("AB22", lambda one: one["States"]["report"].update(Next="tickets")),
        ("AB22", lambda one: one["States"]["report"].pop("End")),
        ("AB22", lambda one: one["States"]["tickets"].update(Next="report")),
        ("AB23", lambda one: one["States"]["report"].update(Resource="arn:aws:states:::batch:submitJob")),
        ("AB23", lambda one: one["States"].update(report={"Type": "Pass", "End": True, "ResultPath": None})),
        ("AB23", lambda one: one["States"]["report"].update(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "report"}])),
        ("AB26", lambda one: one["States"]["report"]["Parameters"].update(ArrayProperties={"Size": 1})),
        ("AB26", lambda one: one["States"]["report"]["Parameters"].update(ArrayProperties={"Size": 10_001})),
        ("AB28", lambda one: one["States"]["report"]["Parameters"].update(JobDefinition="${Other}")),
        ("AB29", lambda one: one["States"]["report"]["Parameters"].update(ArrayProperties={"Size": 2})),
        ("AB29", lambda one: one["States"]["report"]["Parameters"]["Parameters"].update(task="tickets")),
    ],
)
def test_rules_that_break_with_others(broken_machine, rule, change):
    assert rule in broken_machine(change)


@pytest.fixture
def batched_bundle():
    """A bundle with a task that polls."""
    plan = CloudExporter().export(batched_graph())
    return EXPORTER.emit(plan, {}).with_files({"manifest.json": json.dumps(plan.manifest.to_dict())})


def loop_of(machine):
    """The states of the loop, by the ends of their names."""
    states = machine["States"]["Poll 1"]["Branches"][0]["States"]
    return {name.removeprefix("Poll 1: "): state for name, state in states.items()}


def asked_once(machine):
    machine["States"]["Poll 1"] = {**loop_of(machine)["last"], "Next": machine["States"]["Poll 1"]["Next"]}
    machine["States"]["Poll 1"].pop("End")


def asked_again(machine):
    """The last task becomes a loop, too."""
    state = machine["States"].pop("report")
    state.pop("End")
    machine["States"]["report"] = {**polling("Poll 2", "again", state, Patience(60, 900, 5)), "End": True}


def test_a_bundle_with_a_loop_breaks_no_rule(batched_bundle):
    assert EXPORTER.check(batched_bundle) == ()


@pytest.mark.parametrize(
    ("rules", "change"),
    [
        ({"AB22"}, lambda one: loop_of(one)["wait"].update(Next="nowhere")),
        ({"AB23"}, lambda one: loop_of(one)["again"]["Choices"][0]["And"].pop(1)),
        ({"AB23"}, lambda one: loop_of(one)["again"].update(Default="Poll 1: wait long")),
        ({"AB23"}, lambda one: loop_of(one)["wait long"].update(Seconds=0)),
        ({"AB23"}, lambda one: loop_of(one)["ask.poll"]["Catch"][0].update(ErrorEquals=["States.ALL"])),
        ({"AB23"}, lambda one: loop_of(one)["last"].update(ResultPath="$.last")),
        ({"AB32"}, lambda one: loop_of(one)["begin"]["Result"].update(left=2000)),
        ({"AB33"}, lambda one: loop_of(one)["begin"]["Result"].update(left=50)),
        ({"AB33", "AB09"}, asked_once),
        ({"AB33", "AB09"}, asked_again),
    ],
)
def test_rules_of_loops(batched_bundle, rules, change):
    assert rules <= broken(with_changed(batched_bundle, MACHINE, change)) - {"AB41"} <= rules | {"AB22", "AB23", "AB33"}


def test_what_the_state_machine_asks_again_batch_does_not(batched_bundle):
    machine = json.loads(batched_bundle.files[MACHINE])
    mark = loop_of(machine)["last"]["Parameters"]["JobDefinition"].removeprefix("${JobDefinition").removesuffix("}")
    path = next(path for path in batched_bundle.files if path.endswith(f"{mark}.json"))
    for code in ("75", "7*", "*"):
        retry = {"onExitCode": code, "action": "RETRY"}
        changed = with_changed(batched_bundle, path, lambda one, retry=retry: strategy(one)["evaluateOnExit"].insert(0, retry))
        assert broken(changed) - {"AB41"} == {"AB09"}


@pytest.fixture
def probed_bundle(graphs):
    """A bundle with tasks that are probed."""
    plan = CloudExporter().export(graphs["probed"]())
    return EXPORTER.emit(plan, {}).with_files({"manifest.json": json.dumps(plan.manifest.to_dict())})


def choice_of(machine, number=2):
    """The states of the choice between a probe and its task, which is one of two chained beside other work."""
    return machine["States"]["Side by side 1"]["Branches"][0]["States"][f"Probe {number}"]["Branches"][0]["States"]


def always_started(machine):
    """The task follows its probe, however that ends."""
    del choice_of(machine)["answer.probe"]["Catch"], choice_of(machine)["answer.probe"]["End"]
    choice_of(machine)["answer.probe"]["Next"] = "answer"


def spared_by_another(machine):
    """Each task is spared when the probe of the other ends well."""
    first, second = choice_of(machine, 1), choice_of(machine, 2)
    first["answer"], second["classify"] = second.pop("answer"), first.pop("classify")
    first["classify.probe"]["Catch"][0]["Next"], second["answer.probe"]["Catch"][0]["Next"] = "answer", "classify"


def test_a_bundle_with_probes_breaks_no_rule(probed_bundle):
    assert EXPORTER.check(probed_bundle) == ()


@pytest.mark.parametrize(
    ("rules", "change"),
    [
        ({"AB22"}, lambda one: choice_of(one)["answer.probe"]["Catch"][0].update(Next="nowhere")),
        ({"AB23"}, lambda one: choice_of(one)["answer.probe"]["Catch"][0].update(ErrorEquals=["States.TaskFailed"])),
        ({"AB23"}, lambda one: choice_of(one)["answer.probe"]["Catch"][0].update(ResultPath="$.why")),
        ({"AB23"}, lambda one: choice_of(one)["answer.probe"]["Catch"].append({"ErrorEquals": ["States.Timeout"], "Next": "answer"})),
        ({"AB34", "AB09"}, always_started),
        ({"AB34"}, spared_by_another),
    ],
)
def test_rules_of_probes(probed_bundle, rules, change):
    assert rules <= broken(with_changed(probed_bundle, MACHINE, change)) - {"AB41"} <= rules | {"AB22", "AB23", "AB29", "AB34"}


def test_by_the_exit_code_of_a_probe_the_state_machine_goes_and_batch_does_not(probed_bundle):
    machine = json.loads(probed_bundle.files[MACHINE])
    mark = choice_of(machine)["answer.probe"]["Parameters"]["JobDefinition"].removeprefix("${JobDefinition").removesuffix("}")
    path = next(path for path in probed_bundle.files if path.endswith(f"{mark}.json"))
    assert strategy(json.loads(probed_bundle.files[path]))["evaluateOnExit"][0] == {"onStatusReason": "Host EC2*", "action": "RETRY"}
    retry = {"onExitCode": "75", "action": "RETRY"}
    changed = with_changed(probed_bundle, path, lambda one: strategy(one)["evaluateOnExit"].insert(0, retry))
    assert broken(changed) - {"AB41"} == {"AB09"}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("AB30", lambda one: one.update(ScheduleExpression="0 6 * * *")),
        ("AB30", lambda one: one.update(ScheduleExpression="cron(0 6 * * * *)")),
        ("AB30", lambda one: one.update(ScheduleExpression="cron(0 6 ? * ? *)")),
        ("AB30", lambda one: one.update(ScheduleExpression="cron(? 6 * * ? *)")),
        ("AB31", lambda one: one.update(Name="a b")),
        ("AB31", lambda one: one.update(ScheduleExpressionTimezone="x" * 51)),
    ],
)
def test_rules_of_schedules(bundle, rule, change):
    assert broken(with_changed(bundle, SCHEDULE, change)) - {"AB41"} == {rule}


def without(kind):
    def change(template):
        name = next(name for name, resource in template["Resources"].items() if resource["Type"] == kind)
        template["Resources"].pop(name)

    return change


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("AB28", without("AWS::Batch::JobDefinition")),
        ("AB40", lambda one: one.update(Description="x" * 1_000_000)),
        ("AB40", lambda one: one["Resources"].update({f"Role{i}": {"Type": "AWS::IAM::Role"} for i in range(501)})),
        ("AB40", lambda one: one["Parameters"].update({f"P{i}": {"Type": "String"} for i in range(201)})),
        ("AB41", lambda one: one["Resources"]["StateMachine"]["Properties"].update(DefinitionString="{}")),
        ("AB41", without("AWS::Scheduler::Schedule")),
        ("AB41", without("AWS::Batch::JobDefinition")),
        ("AB42", lambda one: one["Parameters"].pop("ImageUri")),
        ("AB42", lambda one: one["Resources"]["StateMachine"]["Properties"].pop("DefinitionSubstitutions")),
    ],
)
def test_rules_of_templates(bundle, rule, change):
    assert rule in broken(with_changed(bundle, TEMPLATE, change))


@pytest.mark.parametrize("prefix", ["job-definitions/", SCHEDULE])
def test_a_file_that_only_the_template_knows_is_told(bundle, prefix):
    path = next(path for path in bundle.files if path.startswith(prefix))
    left = Bundle({name: content for name, content in bundle.files.items() if name != path})
    assert broken(left) == {"AB41"}


def test_every_rule_has_a_test_that_breaks_it():
    text = Path(__file__).read_text(encoding="utf-8")
    assert [rule.id for rule in RULES if f'"{rule.id}"' not in text] == []
