"""The jobs of a bundle, started through Google's own client and protocol, run the pipeline with the real runtime."""

import json
from contextlib import contextmanager

import pytest

from xcs_airflow.exporting.assemble import assemble
from xcs_airflow.ir import Graph, Operation, Parameter, ParameterSpec, Ref, Retry
from xcs_airflow.plan import CloudExporter
from xcs_airflow.runtime import RuntimeSettings, read_output
from xcs_exporters.cloud_run import CloudRunExporter
from xcs_exporters.cloud_run.jobs import job_names
from xcs_exporters.cloud_run.polling import STEPS_PER_POLL

from .cloud_run_fake import deploy, run_workflow, serving
from .probed import GONE, OUTPUT, SHARDS, forget_one, probed_plan, results
from .slow_batches import batched, slow_batches
from .workflows_language import WorkflowError

pytestmark = pytest.mark.real

CODE = b"""
import os
from pathlib import Path

NOTES = Path(os.environ.get("NOTES", "."))


def words():
    return [f"word {number}" for number in range(9)]


def say(answers):
    return " ".join(answers)


def load(count):
    with (NOTES / "loads").open("a") as file:
        file.write("x")
    return list(range(count))


def square(number):
    if os.environ["CLOUD_RUN_TASK_ATTEMPT"] == "0":
        raise RuntimeError("the first attempt never works")
    return {"square": number * number, "task": os.environ["CLOUD_RUN_TASK_INDEX"]}


def cube(number):
    if (NOTES / "broken").exists():
        raise RuntimeError("broken")
    return number**3


def report(squares, cubes, title):
    return {
        "squares": [entry["square"] for entry in squares],
        "tasks": sorted({entry["task"] for entry in squares}),
        "cubes": sum(cubes),
        "title": title,
        "greeting": os.environ["GREETING"],
        "secret": os.environ["OPENAI_API_KEY"],
    }
"""


@pytest.fixture
def graph(hostile_texts):
    """load -> 2 shards of square, one cube -> report."""
    one = Retry(attempts=1)
    return Graph(
        [
            Operation(id="load", func="pipeline:load", inputs={"count": Parameter(parameter="count")}, retry=one),
            Operation(id="square", func="pipeline:square", inputs={"number": Ref(operation="load")}, map_over=("number",), shards=2),
            Operation(id="cube", func="pipeline:cube", inputs={"number": Ref(operation="load")}, map_over=("number",), retry=one),
            Operation(
                id="report",
                func="pipeline:report",
                inputs={"squares": Ref(operation="square"), "cubes": Ref(operation="cube"), "title": Parameter(parameter="title")},
                env={"GREETING": "\n".join(hostile_texts).replace("\0", "")},
                secrets={"OPENAI_API_KEY": "openai-key"},
                retry=one,
            ),
        ],
        name="numbers",
        parameters=[
            ParameterSpec(name="count", has_default=True, default=20),
            ParameterSpec(name="title", has_default=True, default="Daily"),
        ],
        output=Ref(operation="report"),
    )


@pytest.fixture
def cloud(graph, tmp_path):
    """A Cloud Run with the pipeline deployed: its bundle's plan and workflow, the fake, and Google's clients."""
    with deployed(CloudExporter().export(graph), tmp_path, NOTES=str(tmp_path)) as cloud:
        yield cloud


@contextmanager
def deployed(plan, tmp_path, **env):
    settings = {"env": {"XCS_STORE": str(tmp_path / "store"), **env}}
    bundle = assemble(plan, CloudRunExporter(), settings, {"pipeline.py": CODE})
    for path, content in bundle.files.items():
        (tmp_path / "image" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "image" / path).write_bytes(content)
    with serving({"/opt/xcs": str(tmp_path / "image")}, {"openai-key": "sesame"}) as (fake, google):
        deploy(google, bundle)
        yield plan, json.loads(bundle.files["workflow.json"]), fake, google


def test_a_run_gives_the_result_of_the_pipeline(cloud, tmp_path, hostile_texts):
    plan, workflow, fake, google = cloud
    title = "a \"b\" $(c) ${d} {{ e }}\n'f'"
    _, run = run_workflow(google, workflow, "execution-1", {"parameters": {"count": 30, "title": title}})
    assert read_output(plan.manifest, run_id=run, settings=RuntimeSettings(store=str(tmp_path / "store"))) == {
        "squares": [number * number for number in range(30)],
        "tasks": ["0", "1"],
        "cubes": sum(number**3 for number in range(30)),
        "title": title,
        "greeting": "\n".join(hostile_texts).replace("\0", ""),
        "secret": "sesame",
    }
    assert [entry for entry in fake.log if entry[0] == "numbers--square"] == [
        ("numbers--square", index, code) for index in range(2) for code in (1, 0)
    ]


def test_a_failed_task_fails_the_run_and_a_resumed_run_does_the_rest(cloud, tmp_path):
    plan, workflow, fake, google = cloud
    (tmp_path / "broken").touch()
    with pytest.raises(WorkflowError):
        run_workflow(google, workflow, "execution-1")
    assert "numbers--report" not in {job for job, _, _ in fake.log}
    (tmp_path / "broken").unlink()
    _, run = run_workflow(google, workflow, "execution-2", {"run": "execution-1"})
    output = read_output(plan.manifest, run_id=run, settings=RuntimeSettings(store=str(tmp_path / "store")))
    assert output["cubes"] == sum(number**3 for number in range(20))
    assert (tmp_path / "loads").read_text() == "x"


@pytest.fixture
def provider():
    with slow_batches(looks=3) as server:
        yield server


@pytest.fixture
def batching_cloud(provider, tmp_path):
    """A Cloud Run with a pipeline whose calls go through the provider's batches, which end when they have been asked about three times."""
    plan = CloudExporter().export(batched())
    with deployed(plan, tmp_path, XCS_MODELS=json.dumps({"openai": {"endpoint": provider.url}})) as cloud:
        yield cloud


def exit_codes(fake, task):
    return [code for job, _, code in fake.log if job.endswith(task)]


def test_a_run_waits_for_the_batches_of_a_provider(batching_cloud, tmp_path, provider):
    plan, workflow, fake, google = batching_cloud
    walked, run = run_workflow(google, workflow, "execution-1")
    output = read_output(plan.manifest, run_id=run, settings=RuntimeSettings(store=str(tmp_path / "store")))
    assert output == " ".join(f"ABOUT WORD {number}" for number in range(9))
    (poll,) = workflow["main"]["steps"][0]["begin"]["assign"][-1]["waits"]
    assert exit_codes(fake, poll) == [75, 75, 0]
    assert len(provider.prompts) == len(set(provider.prompts)) == 9
    # Looks at executions take 20, 40 or 60 seconds.
    assert [slept for slept in walked.slept if slept % 20] == [61, 121]
    assert walked.steps < STEPS_PER_POLL * 3 + 40


def test_a_poll_that_fails_fails_the_run_and_is_not_asked_again(batching_cloud, provider):
    _, workflow, fake, google = batching_cloud
    provider.batches_are_gone = True
    with pytest.raises(WorkflowError, match="ended with 1: it failed, or its provider took too long"):
        run_workflow(google, workflow, "execution-1")
    (poll,) = workflow["main"]["steps"][0]["begin"]["assign"][-1]["waits"]
    assert exit_codes(fake, poll) == [1]
    assert exit_codes(fake, "say") == []


def test_a_provider_that_takes_too_long_fails_the_run(batching_cloud, provider):
    _, workflow, fake, google = batching_cloud
    provider.looks = 100
    ((poll, wait),) = workflow["main"]["steps"][0]["begin"]["assign"][-1]["waits"].items()
    wait["at_most_s"] = 200
    with pytest.raises(WorkflowError, match="ended with 75"):
        run_workflow(google, workflow, "execution-1")
    codes = exit_codes(fake, poll)
    assert set(codes) == {75}
    assert len(codes) >= 2


@pytest.fixture
def probing_cloud(counting, tmp_path):
    """A Cloud Run with a pipeline whose calls are placed on a GPU and probed; the GPU is a field of the job."""
    counting.reset()
    with deployed(probed_plan("cloud-run"), tmp_path, XCS_MODELS=json.dumps({"openai": {"endpoint": f"{counting.url}/v1"}})) as cloud:
        yield cloud


def test_a_job_is_not_run_when_its_probe_finds_all_answers_and_asks_only_for_the_one_that_is_gone(probing_cloud, tmp_path, counting):
    plan, workflow, fake, google = probing_cloud
    task_of = {job: task for task, job in job_names(plan).items()}
    started, asked = [], []
    for run in ("run-1", "run-2", "run-3"):
        if run == "run-3":
            forget_one(f"sqlite:///{tmp_path / 'cache.sqlite'}")
        fake.log.clear()
        before = counting.counts().answered
        run_workflow(google, workflow, run)
        started.append([(task_of[job], index, code) for job, index, code in fake.log])
        asked.append(dict(counting.counts().answered - before))
    ask = [("ask", shard, 0) for shard in range(SHARDS)]
    words, say, title = (("words", 0, 0), ("say", 0, 0), ("title", 0, 0))
    assert started[0] == [words, ("ask.probe", 0, 75), *ask, say, ("title.probe", 0, 75), title]
    assert started[1] == [words, ("ask.probe", 0, 0), say, ("title.probe", 0, 0)]
    assert started[2] == [words, ("ask.probe", 0, 75), *ask, say, ("title.probe", 0, 0)]
    assert [len(asked[0]), asked[1], asked[2]] == [10, {}, {GONE: 1}]
    store = tmp_path / "store"
    assert results(store, "run-1") == results(store, "run-2") == results(store, "run-3")
    outputs = [read_output(plan.manifest, run_id=f"run-{n}", settings=RuntimeSettings(store=str(store))) for n in (1, 2, 3)]
    assert outputs == [OUTPUT] * 3


def test_a_probe_that_breaks_fails_no_run(probing_cloud, tmp_path):
    """Its job is run, and says what is wrong if anything is."""
    plan, workflow, fake, google = probing_cloud
    manifest = plan.manifest.to_dict()
    manifest["tasks"] = [task for task in manifest["tasks"] if task.get("kind") != "probe"]
    (tmp_path / "image" / "manifest.json").write_text(json.dumps(manifest))
    run_workflow(google, workflow, "run-1")
    assert [code for _, _, code in fake.log] == [0, 2, *[0] * SHARDS, 0, 2, 0]
