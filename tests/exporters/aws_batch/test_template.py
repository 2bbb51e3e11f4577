import json

import pytest

from xcs_airflow.errors import ExportError, UnsupportedError
from xcs_airflow.ir import Graph, Operation, Resources

ACCOUNT = {"Ref": "AWS::AccountId"}
STORE_OF = "arn:${AWS::Partition}:s3:::"


@pytest.fixture
def resources(emit, graph, document):
    return document(emit(graph), "template.json")["Resources"]


def statements(role):
    return [statement for policy in role["Properties"]["Policies"] for statement in policy["PolicyDocument"]["Statement"]]


def actions(role):
    return sorted(action for statement in statements(role) for action in statement["Action"])


def work(**fields):
    return Graph([Operation(id="a", func="pipeline:work", **fields)], name="p")


def test_everything_a_pipeline_needs_is_in_it(resources):
    kinds = sorted(resource["Type"].removeprefix("AWS::") for resource in resources.values())
    assert kinds == [
        "Batch::ComputeEnvironment",
        *["Batch::JobDefinition"] * 3,
        "Batch::JobQueue",
        *["IAM::Role"] * 4,
        "Logs::LogGroup",
        "Scheduler::Schedule",
        "StepFunctions::StateMachine",
    ]


def test_no_resource_has_a_fixed_name(resources):
    for resource in resources.values():
        names = {"JobDefinitionName", "JobQueueName", "ComputeEnvironmentName", "StateMachineName", "Name", "RoleName", "LogGroupName"}
        assert names.isdisjoint(resource["Properties"])


def test_job_definitions_stay_for_runs_in_flight(resources):
    for resource in resources.values():
        if resource["Type"] == "AWS::Batch::JobDefinition":
            assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
            assert resource["Properties"]["ResourceRetentionPolicy"] == {"SkipDeregisterOnUpdate": True}


def test_the_state_machine_is_that_of_the_file(emit, graph, document):
    bundle = emit(graph)
    held = document(bundle, "template.json")["Resources"]["StateMachine"]["Properties"]
    assert json.loads(held["DefinitionString"]) == document(bundle, "state-machine.asl.json")
    submit = held["DefinitionSubstitutions"].pop("SubmitJob")
    assert submit == {"Fn::Sub": "arn:${AWS::Partition}:states:::batch:submitJob.sync"}
    assert all(value == {"Ref": name} for name, value in held["DefinitionSubstitutions"].items())


def test_the_execution_role_reads_exactly_the_secrets_of_the_pipeline(resources):
    (secret,) = [one for one in statements(resources["ExecutionRole"]) if one["Action"] == ["secretsmanager:GetSecretValue"]]
    begin = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${SecretOpenaiKey97aba2}"
    assert secret["Resource"] == [{"Fn::Sub": begin}, {"Fn::Sub": f"{begin}-??????"}]


def test_a_pipeline_without_secrets_may_read_none(emit, document):
    role = document(emit(work()), "template.json")["Resources"]["ExecutionRole"]
    assert not any(action.startswith(("secretsmanager:", "ssm:")) for action in actions(role))


def test_the_job_role_reaches_the_store_alone(resources):
    assert actions(resources["JobRole"]) == ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"]
    objects, bucket = (statement["Resource"]["Fn::Sub"] for statement in statements(resources["JobRole"]))
    assert objects == [f"{STORE_OF}${{Path}}/*", {"Path": {"Fn::Select": [1, {"Fn::Split": ["s3://", {"Ref": "StoreUri"}]}]}}]
    assert bucket == [f"{STORE_OF}${{Bucket}}", {"Bucket": {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "StoreUri"}]}]}}]


def test_the_state_machine_may_submit_wait_and_terminate(resources):
    assert actions(resources["StateMachineRole"]) == [
        "batch:DescribeJobs",
        "batch:SubmitJob",
        "batch:TagResource",
        "batch:TerminateJob",
        "events:DescribeRule",
        "events:PutRule",
        "events:PutTargets",
    ]


def test_services_act_for_this_account_only(resources):
    for name in ("StateMachineRole", "SchedulerRole"):
        (trust,) = resources[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_permissions_on_everything_are_those_that_cannot_be_narrowed(resources):
    wide = [
        statement["Action"]
        for resource in resources.values()
        if resource["Type"] == "AWS::IAM::Role"
        for statement in statements(resource)
        if statement["Resource"] == "*"
    ]
    assert sorted(wide) == [["batch:DescribeJobs"], ["ecr:GetAuthorizationToken"]]


def test_what_differs_by_account_is_a_parameter_with_a_description(emit, graph, document):
    parameters = document(emit(graph), "template.json")["Parameters"]
    assert sorted(parameters) == [
        "AssignPublicIp",
        "ImageUri",
        "MaxVcpus",
        "SecretOpenaiKey97aba2",
        "SecurityGroupIds",
        "StoreUri",
        "SubnetIds",
    ]
    assert all(parameter["Description"] for parameter in parameters.values())
    assert {name for name, parameter in parameters.items() if "Default" in parameter} == {
        "AssignPublicIp",
        "MaxVcpus",
        "SecretOpenaiKey97aba2",
    }


def test_settings_are_defaults_of_parameters(emit, graph, document):
    chosen = {
        "image": "registry/image:1",
        "store": "s3://bucket/runs",
        "subnets": ["subnet-0a1b2c3d", "subnet-1a1b2c3d"],
        "security_groups": ["sg-0a1b2c3d"],
        "assign_public_ip": False,
        "max_vcpus": 8,
        "log_retention_days": 7,
    }
    template = document(emit(graph, **chosen), "template.json")
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    assert defaults == {
        "AssignPublicIp": "DISABLED",
        "ImageUri": "registry/image:1",
        "MaxVcpus": 8,
        "SecretOpenaiKey97aba2": "openai-key",
        "SecurityGroupIds": "sg-0a1b2c3d",
        "StoreUri": "s3://bucket/runs",
        "SubnetIds": "subnet-0a1b2c3d,subnet-1a1b2c3d",
    }
    assert template["Resources"]["LogGroup"]["Properties"] == {"RetentionInDays": 7}


def test_an_existing_queue_is_used_instead_of_a_new_one(emit, graph, document):
    queue = "arn:aws:batch:eu-central-1:123456789012:job-queue/shared"
    template = document(emit(graph, queue=queue), "template.json")
    assert template["Parameters"]["JobQueue"]["Default"] == queue
    assert {"SubnetIds", "SecurityGroupIds", "MaxVcpus"}.isdisjoint(template["Parameters"])
    assert {"JobQueue", "ComputeEnvironment"}.isdisjoint(template["Resources"])


def test_spare_capacity_on_request(emit, document):
    graph = Graph([Operation(id="a", func="p:f"), Operation(id="g", func="p:f", resources=Resources(gpu=1))], name="p")
    found = document(emit(graph, spot=True), "template.json")["Resources"]
    assert found["ComputeEnvironment"]["Properties"]["ComputeResources"]["Type"] == "FARGATE_SPOT"
    assert found["G6ComputeEnvironment"]["Properties"]["ComputeResources"]["Type"] == "SPOT"


def test_gpus_have_machines_and_a_queue_of_their_own(emit, document):
    graph = Graph(
        [Operation(id="a", func="p:f"), Operation(id="g", func="p:f", resources=Resources(gpu=1, gpu_type="nvidia-t4"))], name="p"
    )
    bundle = emit(graph)
    found = document(bundle, "template.json")["Resources"]
    compute = found["G4dnComputeEnvironment"]["Properties"]["ComputeResources"]
    assert (compute["Type"], compute["InstanceTypes"], compute["MinvCpus"]) == ("EC2", ["g4dn"], 0)
    assert {"InstanceRole", "InstanceProfile", "ComputeEnvironment", "G4dnJobQueue", "JobQueue"} <= found.keys()
    branches = document(bundle, "state-machine.asl.json")["States"]["Side by side 1"]["Branches"]
    queues = {name: state["Parameters"]["JobQueue"] for branch in branches for name, state in branch["States"].items()}
    assert queues == {"a": "${JobQueue}", "g": "${G4dnJobQueue}"}


def test_a_pipeline_of_gpus_alone_has_no_fargate(emit, document):
    template = document(emit(work(resources=Resources(gpu=1))), "template.json")
    assert "ComputeEnvironment" not in template["Resources"]
    assert "AssignPublicIp" not in template["Parameters"]


def test_jobs_that_can_never_start_are_cancelled(resources):
    limits = resources["JobQueue"]["Properties"]["JobStateTimeLimitActions"]
    assert {limit["Reason"].partition(":")[0] for limit in limits} == {"MISCONFIGURATION"}


def test_a_limit_that_no_task_fits_into_is_refused(emit):
    with pytest.raises(ExportError) as caught:
        emit(work(resources=Resources(cpu=4, memory_mib=8192)), max_vcpus=2)
    assert str(caught.value.findings[0]).startswith(
        "error[XCS503]: the setting 'max_vcpus' of aws-batch is not valid: a task needs 4 vCPUs"
    )


def test_a_template_that_is_too_large_is_refused(emit):
    graph = Graph([Operation(id=f"task{i}", func="p:f") for i in range(2000)], name="p", source="pipeline.py:1")
    with pytest.raises(UnsupportedError) as caught:
        emit(graph)
    assert "cannot do 2000 tasks" in caught.value.findings[0].message
