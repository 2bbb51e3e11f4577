import pytest

from xcs_airflow.errors import UnsupportedError
from xcs_airflow.ir import Graph, Operation, Resources, Retry
from xcs_airflow.plan import CloudExporter
from xcs_exporters.aws_batch.job_definitions import adjustments

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:openai-AbCdEf"


def graph_of(*operations):
    return Graph(operations, name="p")


def work(name="a", **fields):
    return Operation(id=name, func="pipeline:work", source="pipeline.py:7", **fields)


def amounts(definition):
    return {entry["type"]: entry["value"] for entry in definition["containerProperties"]["resourceRequirements"]}


def test_tasks_with_the_same_needs_share_a_definition(emit, definitions):
    found = definitions(emit(graph_of(work("a"), work("b"), work("c", env={"A": "1"}))))
    assert found["a"] == found["b"]
    assert found["a"]["jobDefinitionName"] != found["c"]["jobDefinitionName"]


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "other:1"},
        {"resources": Resources(cpu=4, memory_mib=8192)},
        {"resources": Resources(gpu=1)},
        {"secrets": {"TOKEN": "token"}},
        {"env": {"A": "1"}},
        {"timeout_s": 600},
        {"retry": Retry(attempts=1)},
    ],
)
def test_every_need_makes_a_definition_of_its_own(emit, definitions, fields):
    found = definitions(emit(graph_of(work("a"), work("b", **fields))))
    assert found["a"]["jobDefinitionName"] != found["b"]["jobDefinitionName"]


def test_a_definition_is_named_after_its_content_alone(emit, definitions):
    alone = definitions(emit(graph_of(work("a"))))["a"]
    other = definitions(emit(graph_of(work("b"), work("c", env={"A": "1"}))))["b"]
    assert alone == other


def test_the_command_is_the_runtime_and_the_task_is_a_parameter(emit, definitions, graph):
    runtime = ["python", "-m", "xcs_airflow.runtime", "--manifest", "/opt/xcs/manifest.json"]
    found = definitions(emit(graph))["report"]
    expected = [*runtime, "--task", "Ref::task", "--run", "Ref::run", "--params", "Ref::params"]
    assert found["containerProperties"]["command"] == expected
    assert found["parameters"] == {"params": "{}"}


def test_a_pipeline_without_parameters_hands_none_over(emit, definitions):
    found = definitions(emit(graph_of(work())))["a"]
    assert found["containerProperties"]["command"][-2:] == ["--run", "Ref::run"]
    assert "parameters" not in found


def test_exit_code_75_and_lost_machines_are_tried_again_and_nothing_else(emit, definitions, graph):
    strategy = definitions(emit(graph))["report"]["retryStrategy"]
    assert strategy["attempts"] == 2
    assert strategy["evaluateOnExit"] == [
        {"onExitCode": "75", "action": "RETRY"},
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onStatusReason": "Your Spot Task was interrupted*", "action": "RETRY"},
        {"onStatusReason": "Task failed to start*", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ]


def test_values_are_in_the_store_of_the_template(emit, definitions):
    environment = definitions(emit(graph_of(work())))["a"]["containerProperties"]["environment"]
    assert environment == [{"name": "XCS_CACHE", "value": "${StoreUri}/cache"}, {"name": "XCS_STORE", "value": "${StoreUri}"}]


def test_what_an_operation_sets_goes_before_the_settings(emit, definitions):
    graph = graph_of(work(env={"B": "operation", "XCS_CACHE": "off"}))
    found = definitions(emit(graph, env={"A": "settings", "B": "settings"}))["a"]
    values = {entry["name"]: entry["value"] for entry in found["containerProperties"]["environment"]}
    assert values == {"A": "settings", "B": "operation", "XCS_CACHE": "off", "XCS_STORE": "${StoreUri}"}


def test_user_text_is_never_a_variable(emit, definitions):
    graph = graph_of(work(env={"A": "${StoreUri} ${!x} ${"}))
    container = definitions(emit(graph))["a"]["containerProperties"]
    assert container["environment"][0] == {"name": "A", "value": "${!StoreUri} ${!!x} ${"}


def test_secrets_are_references(emit, definitions):
    graph = graph_of(work(secrets={"B_KEY": SECRET, "A_KEY": "team/key"}))
    container = definitions(emit(graph))["a"]["containerProperties"]
    begin = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:"
    by_name, by_arn = container["secrets"]
    assert by_name["name"] == "A_KEY"
    assert by_name["valueFrom"].startswith(f"{begin}${{SecretTeamKey")
    assert by_arn == {"name": "B_KEY", "valueFrom": SECRET}


def test_a_secret_goes_before_a_value_of_its_name(emit, definitions):
    graph = graph_of(work(secrets={"A": "team/key"}, env={"A": "1"}))
    container = definitions(emit(graph))["a"]["containerProperties"]
    assert "A" not in {entry["name"] for entry in container["environment"]}


def test_sizes_are_rounded_up_to_what_fargate_offers(emit, definitions):
    graph = graph_of(work(resources=Resources(cpu=0.3, memory_mib=3000)))
    found = definitions(emit(graph))["a"]
    assert amounts(found) == {"VCPU": "0.5", "MEMORY": "3072"}
    assert found["platformCapabilities"] == ["FARGATE"]


def test_gpus_run_on_ec2(emit, definitions):
    graph = graph_of(work(resources=Resources(cpu=3.5, memory_mib=15000, gpu=1, gpu_type="nvidia-t4")))
    found = definitions(emit(graph))["a"]
    assert amounts(found) == {"VCPU": "4", "MEMORY": "15000", "GPU": "1"}
    assert found["platformCapabilities"] == ["EC2"]
    assert {"networkConfiguration", "runtimePlatform"}.isdisjoint(found["containerProperties"])


def test_limits_of_the_platform_are_kept_and_told(emit, definitions):
    graph = graph_of(work(timeout_s=5, retry=Retry(attempts=40), resources=Resources(cpu=1, memory_mib=2048)))
    found = definitions(emit(graph))["a"]
    assert found["timeout"] == {"attemptDurationSeconds": 60}
    assert found["retryStrategy"]["attempts"] == 10
    told = [sentence for _, sentence in adjustments(CloudExporter().export(graph))]
    assert told == ["an attempt may take 60 seconds, not 5", "10 attempts, not 40"]


def test_no_timeout_is_the_platform_s_default(emit, definitions):
    assert "timeout" not in definitions(emit(graph_of(work())))["a"]


@pytest.mark.parametrize(
    ("fields", "feature"),
    [
        ({"resources": Resources(cpu=64)}, "64 vCPU with 512 MiB"),
        ({"resources": Resources(memory_mib=500_000)}, "1 vCPU with 500000 MiB"),
        ({"resources": Resources(gpu=1, gpu_type="tpu-v5")}, "the GPU 'tpu-v5'"),
        ({"resources": Resources(gpu=9, gpu_type="nvidia-l4")}, "9 GPUs"),
        ({"env": {"AWS_BATCH_JOB_ID": "1"}}, "the environment variable 'AWS_BATCH_JOB_ID'"),
        ({"image": "registry/${ImageUri}"}, "the image 'registry/${ImageUri}'"),
        ({"env": {"A=B": "1"}}, "the environment variable 'A=B'"),
        ({"env": {"A": "\0"}}, "the environment variable 'A'"),
        ({"env": {"A": "a{{resolve:secretsmanager:x}}"}}, "the environment variable 'A'"),
        ({"secrets": {"a b": "key"}}, "the environment variable 'a b'"),
        ({"secrets": {"KEY": "two words"}}, "the secret reference 'two words'"),
    ],
)
def test_what_cannot_run_is_refused_with_its_place(emit, fields, feature):
    with pytest.raises(UnsupportedError) as caught:
        emit(graph_of(work(**fields)))
    (finding,) = caught.value.findings
    assert (finding.code, finding.operation, finding.place) == ("XCS502", "%a", "pipeline.py:7")
    assert f"cannot do {feature}: " in finding.message


def test_all_findings_are_told_at_once(emit):
    with pytest.raises(UnsupportedError) as caught:
        emit(graph_of(work("a", resources=Resources(cpu=64)), work("b", env={"A=B": "1"}), work("c", shards=10_001)))
    assert [finding.operation for finding in caught.value.findings] == ["%c", "%a", "%b"]
