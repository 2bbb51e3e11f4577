import pytest

from xcs_airflow.errors import ExportError, UnsupportedError
from xcs_airflow.ir import Resources, Retry
from xcs_exporters.cloud_run import CloudRunExporter
from xcs_exporters.cloud_run.capabilities import adjustments


def messages(plan):
    with pytest.raises(UnsupportedError) as caught:
        CloudRunExporter().emit(plan, {})
    return [finding.message for finding in caught.value.findings if finding.severity == "error"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resources": Resources(cpu=9)}, "cloud-run cannot do 9 CPU and 512 MiB: the largest size is 8 CPU and 32768 MiB"),
        ({"resources": Resources(memory_mib=40_000)}, "cloud-run cannot do 1 CPU and 40000 MiB: the largest size is 8 CPU and 32768 MiB"),
        ({"resources": Resources(gpu=2)}, "cloud-run cannot do 2 GPUs: a task has at most one"),
        ({"resources": Resources(gpu=1, gpu_type="a100")}, "cloud-run cannot do the GPU 'a100': jobs have: nvidia-l4"),
        (
            {"resources": Resources(gpu=1, gpu_type="a100"), "timeout_s": 60},
            "cloud-run cannot do the GPU 'a100': jobs have: nvidia-l4",
        ),
        ({"resources": Resources(gpu=1), "timeout_s": 7200}, "cloud-run cannot do a timeout of 7200 s: the limit is 3600 s"),
        ({"timeout_s": 700_000}, "cloud-run cannot do a timeout of 700000 s: the limit is 604800 s"),
        ({"shards": 10_001}, "cloud-run cannot do 10001 shards of one task: the limit is 10000"),
        ({"env": {"CLOUD_RUN_JOB": "x"}}, "cloud-run cannot do the variable 'CLOUD_RUN_JOB': the platform keeps this name for itself"),
        ({"env": {"A": "x\0"}}, "cloud-run cannot do the variable 'A': a value cannot hold NUL or half a surrogate pair"),
        ({"env": {"A": "\udc24{XCS_BUCKET}"}}, "cloud-run cannot do the variable 'A': a value cannot hold NUL or half a surrogate pair"),
        ({"image": "${XCS_IMAGE}"}, "cloud-run cannot do the image '${XCS_IMAGE}': it is not the address of an image"),
        ({"image": "\udc24{XCS_IMAGE}"}, "cloud-run cannot do the image '\\udc24{XCS_IMAGE}': it is not the address of an image"),
        ({"env": {"A": "ä" * 20_000}}, "cloud-run cannot do the variable 'A': a value has at most 32768 bytes"),
        ({"secrets": {"A B": "key"}}, "cloud-run cannot do the variable 'A B': a name has letters, digits and _ only"),
        (
            {"secrets": {"KEY": "arn:aws:secretsmanager:x"}},
            "cloud-run cannot do the secret 'arn:aws:secretsmanager:x' for KEY: it is no reference to Secret Manager",
        ),
    ],
)
def test_what_the_platform_cannot_do_is_refused(make_plan, operation, fields, message):
    assert messages(make_plan(operation(**fields))) == [message]


def test_everything_that_is_wrong_is_told_at_once_with_its_place(make_plan, operation):
    plan = make_plan(operation("a", shards=20_000), operation("b", resources=Resources(gpu=3), timeout_s=10**7))
    with pytest.raises(UnsupportedError) as caught:
        CloudRunExporter().emit(plan, {})
    errors = [finding for finding in caught.value.findings if finding.severity == "error"]
    assert [(finding.code, finding.operation, finding.place) for finding in errors] == [
        ("XCS502", "%a", "pipeline.py:4"),
        ("XCS502", "%b", "pipeline.py:4"),
        ("XCS502", "%b", "pipeline.py:4"),
    ]


@pytest.mark.parametrize("schedule", ["0 6 * * *", "*/15 0-6,12 1 JAN-MAR mon", "0 0 1,15 * *"])
def test_cron_is_taken_as_it_is(emit, make_plan, operation, schedule):
    assert emit(make_plan(operation(), schedule=schedule))["scheduler.json"]["schedule"] == schedule


def test_more_tasks_than_a_region_holds_are_refused(make_plan, operation):
    plan = make_plan(*(operation(f"op{number}") for number in range(1001)))
    assert messages(plan) == ["cloud-run cannot do 1001 tasks: a region holds at most 1000 jobs"]


def test_a_name_made_to_collide_is_refused_not_lost(make_plan, operation):
    exporter = CloudRunExporter()
    (taken,) = [path for path in exporter.emit(make_plan(operation("A")), {}).files if path.startswith("jobs/")]
    twin = taken.removeprefix("jobs/pipe--").removesuffix(".json")
    with pytest.raises(ExportError, match="XCS508"):
        exporter.emit(make_plan(operation("A"), operation(twin)), {})


def test_adjustments_are_told(make_plan, operation):
    plan = make_plan(operation(resources=Resources(cpu=0.25, memory_mib=256), retry=Retry(attempts=20)), operation("fine"))
    told = ["`load` gets 1 CPU and 512 MiB, the next size above 0.25 CPU and 256 MiB", "`load` is tried 11 times, not 20"]
    assert list(adjustments(plan)) == told
    readme = CloudRunExporter().emit(plan, {}).text("README.md")
    assert all(sentence in readme for sentence in told)


def test_left_out_features_are_told_in_the_readme(bundle):
    assert "- cloud-run cannot do rate_limit_pools: jobs share no pools" in bundle.text("README.md")
