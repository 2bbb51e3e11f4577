import re
from itertools import pairwise

import pytest

from xcs_airflow.ir import Resources, Retry
from xcs_exporters.cloud_run.jobs import NAMES, job_names


def container(job):
    return job["template"]["template"]["containers"][0]


def test_a_job_is_started_with_everything_but_the_run(job_of, operation):
    command = ["python", "-m", "xcs_airflow.runtime", "--manifest", "/opt/xcs/manifest.json", "--task", "load"]
    job = container(job_of(operation()))
    assert job["command"] == command
    assert "args" not in job


def test_every_shard_is_a_task_of_the_execution(job_of, operation):
    assert job_of(operation(shards=7))["template"]["taskCount"] == 7


@pytest.mark.parametrize(("attempts", "retries"), [(1, 0), (3, 2), (11, 10), (50, 10)])
def test_retries_are_written_even_when_there_are_none(job_of, operation, attempts, retries):
    assert job_of(operation(retry=Retry(attempts=attempts)))["template"]["template"]["maxRetries"] == retries


def test_the_time_limit_is_the_tasks_own(job_of, operation):
    assert job_of(operation(timeout_s=90))["template"]["template"]["timeout"] == "90s"


def test_without_a_limit_of_its_own_a_task_gets_that_of_the_settings(job_of, operation):
    assert job_of(operation())["template"]["template"]["timeout"] == "3600s"
    assert job_of(operation(), timeout_s=7200)["template"]["template"]["timeout"] == "7200s"


def test_a_task_that_the_plan_expects_to_take_long_is_not_ended_early(plan, emit):
    slow = plan.tasks[1].duration_s.times(1000)
    tasks = [task.model_copy(update={"duration_s": slow, "timeout_s": None}) for task in plan.tasks]
    files = emit(plan.model_copy(update={"tasks": tasks}))
    timeouts = [int(job["template"]["template"]["timeout"][:-1]) for path, job in files.items() if path.startswith("jobs/")]
    assert all(timeout >= slow.high for timeout in timeouts)


@pytest.mark.parametrize(
    ("cpu", "memory_mib", "limits"),
    [
        (0.5, 100, {"cpu": "1", "memory": "512Mi"}),
        (1, 4096, {"cpu": "1", "memory": "4096Mi"}),
        (1, 4097, {"cpu": "2", "memory": "4097Mi"}),
        (2.5, 512, {"cpu": "4", "memory": "2048Mi"}),
        (8, 32768, {"cpu": "8", "memory": "32768Mi"}),
    ],
)
def test_sizes_are_rounded_up(job_of, operation, cpu, memory_mib, limits):
    job = job_of(operation(resources=Resources(cpu=cpu, memory_mib=memory_mib)))
    assert container(job)["resources"] == {"limits": limits}


def test_a_gpu_brings_the_cpu_and_memory_it_needs(job_of, operation):
    job = job_of(operation(resources=Resources(gpu=1)))
    template = job["template"]["template"]
    assert container(job)["resources"]["limits"] == {"cpu": "4", "memory": "16384Mi", "nvidia.com/gpu": "1"}
    assert template["nodeSelector"] == {"accelerator": "nvidia-l4"}
    assert template["gpuZonalRedundancyDisabled"] is True


def test_the_time_limit_of_a_gpu_task_is_the_platforms(job_of, operation):
    assert job_of(operation(resources=Resources(gpu=1)), timeout_s=86_400)["template"]["template"]["timeout"] == "3600s"


@pytest.mark.parametrize(
    ("reference", "secret", "version"),
    [
        ("openai-key", "openai-key", "latest"),
        ("openai-key:3", "openai-key", "3"),
        ("projects/other/secrets/openai-key", "projects/other/secrets/openai-key", "latest"),
        ("projects/other/secrets/openai-key/versions/7", "projects/other/secrets/openai-key", "7"),
    ],
)
def test_secrets_are_references_to_the_secret_manager(job_of, operation, reference, secret, version):
    env = container(job_of(operation(secrets={"OPENAI_API_KEY": reference})))["env"]
    assert env[0] == {"name": "OPENAI_API_KEY", "valueSource": {"secretKeyRef": {"secret": secret, "version": version}}}


def test_variables_are_sorted_and_the_tasks_own_win(job_of, operation):
    job = job_of(operation(env={"ZONE": "a", "XCS_CACHE": "off"}), env={"XCS_CACHE": "gs://b/cache", "AREA": "b"}, bucket="bucket-1")
    assert container(job)["env"] == [
        {"name": "AREA", "value": "b"},
        {"name": "XCS_CACHE", "value": "off"},
        {"name": "XCS_STORE", "value": "gs://bucket-1/xcs"},
        {"name": "ZONE", "value": "a"},
    ]


def test_the_folder_of_the_store_can_be_set(job_of, operation):
    assert container(job_of(operation(), bucket="bucket-1", prefix="a/b"))["env"][0]["value"] == "gs://bucket-1/a/b"


def test_a_task_may_have_an_image_of_its_own(job_of, operation, account):
    assert container(job_of(operation(image="ghcr.io/acme/own:2"), **account))["image"] == "ghcr.io/acme/own:2"
    assert container(job_of(operation(), **account))["image"] == account["image"]


def test_names_are_legal_distinct_and_those_of_the_pipeline(make_plan, operation):
    ids = ["load", "Load", "l.oad", "l_oad", "x" * 250, "x" * 249, "-", "9"]
    names = job_names(make_plan(*(operation(name) for name in ids), name="My pipeline"))
    assert len(set(names.values())) == len(ids)
    assert all(re.fullmatch("my-pipeline-[a-z0-9-]{0,50}[a-z0-9]", name) for name in names.values())


def test_pipelines_in_one_region_do_not_share_jobs(make_plan, operation):
    names = [job_names(make_plan(operation("b-c"), name="a")), job_names(make_plan(operation("c"), name="a-b"))]
    assert names == [{"b-c": "a--b-c"}, {"c": "a-b--c"}]


def test_the_hash_tells_every_change_of_a_job(job_of, operation):
    variants = [{}, {"timeout_s": 60}, {"env": {"A": "1"}}, {"env": {"A": "2"}}, {"shards": 2}, {"retry": Retry(attempts=1)}]
    hashes = [job_of(operation(**fields))["annotations"]["xcs/spec-hash"] for fields in variants]
    assert len(set(hashes)) == len(variants)
    assert all(hash_.startswith("sha256:") and len(hash_) == 71 for hash_ in hashes)


def test_the_same_job_has_the_same_hash(job_of, operation):
    first, second = (job_of(operation())["annotations"]["xcs/spec-hash"] for _ in range(2))
    assert first == second


def test_labels_and_annotations_tell_pipeline_and_task(emit, make_plan, operation):
    (job,) = [job for path, job in emit(make_plan(operation("L.oad"), name="Näme")).items() if path.startswith("jobs/")]
    assert job["annotations"]["xcs/pipeline"] == "Näme"
    assert job["annotations"]["xcs/task"] == "L.oad"
    assert job["labels"]["xcs-task"].startswith("l-oad-")


def test_no_two_names_of_long_tasks_collide():
    names = [NAMES.mangle(f"{'x' * 100}{number}") for number in range(1000)]
    assert all(one != other for one, other in pairwise(sorted(names)))
