"""The runtime with its store and its cache in a bucket: obstore against moto's S3 server and an emulator of Cloud Storage."""

import json
from decimal import Decimal

import pytest
from click.testing import CliRunner

from xcs_airflow.cli.main import xcs
from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.ir import CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, PipelinePolicy, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import RuntimeSettings, main, read_output, run_task, run_usage
from xcs_airflow.runtime.models import ModelAnswer, use_provider
from xcs_airflow.runtime.object_store import ObjectStore
from xcs_airflow.runtime.store import StoreUnavailableError
from xcs_airflow.values import Hole, Message, Prompt

pytestmark = pytest.mark.real


@pytest.fixture(params=["s3", "gcs"])
def bucket(request, monkeypatch):
    """An empty folder of a bucket."""
    environment, make = request.getfixturevalue(request.param)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return make()


def test_a_bucket_that_does_not_exist_is_final(bucket):
    with pytest.raises(RuntimeTaskError, match="XCS608") as caught:
        ObjectStore.at(f"{bucket.partition(':')[0]}://another-bucket").put("x", b"")
    assert not getattr(caught.value, "retryable", False)


def test_a_store_that_does_not_answer_is_worth_another_try(monkeypatch, s3):
    environment, make = s3
    for name, value in {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreUnavailableError) as caught:
        ObjectStore.at(make()).put("x", b"")
    assert caught.value.retryable
    assert "\n" not in caught.value.findings[0].message


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(RuntimeTaskError, match=r"pip install 'xcs-airflow\[gcp\]'"):
        ObjectStore.at("gs://bucket")


def shop():
    ask = LLMOperation(
        id="ask",
        prompt=Prompt(messages=(Message(parts=("About ", Hole(input="ticket"))),)),
        inputs={"ticket": Ref(operation="load")},
        map_over=("ticket",),
        metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0, max_tokens=8),
        cache=CachePolicy(),
        shards=2,
        batch={"group": "g", "in_flight": 8},
    )
    report = Operation(id="report", func="shop:report", inputs={"answers": Ref(operation="ask")})
    operations = [Operation(id="load", func="shop:load"), ask, report]
    policy = PipelinePolicy(budget_usd=Decimal("0.1"))
    return Graph(operations, name="shop", output=Ref(operation="report"), policy=policy)


def test_a_pipeline_leaves_everything_in_the_bucket(bucket, tmp_path, monkeypatch):
    """Results, cache, books and budget; a second run is free, and the manifest may lie there, too."""
    (tmp_path / "shop.py").write_text(
        "def load():\n    return [f'ticket {i}' for i in range(50)]\n\ndef report(answers):\n    return answers\n"
    )
    asked = []

    class Model:
        def complete(self, request):
            asked.append(request)
            return ModelAnswer(request.messages[0]["content"].upper(), 10, 2)

    settings = RuntimeSettings(store=f"{bucket}/xcs", code=tmp_path)
    manifest = lower(shop())
    ObjectStore.at(f"{bucket}/bundles").put("manifest.json", json.dumps(manifest.to_dict()).encode())
    with use_provider(Model()):
        for run in ("1", "2"):
            for task in manifest.tasks:
                for shard in range(task.shards):
                    run_task(manifest, task.id, run_id=run, shard=shard, settings=settings)
        assert len(asked) == 50
        options = ["--run", "1", "--task", "report", "--store", f"{bucket}/xcs", "--code", str(tmp_path)]
        assert main(["--manifest", f"{bucket}/bundles/manifest.json", *options]) == 0
    assert read_output(manifest, run_id="2", settings=settings) == [f"ABOUT TICKET {i}" for i in range(50)]
    used = [run_usage(settings, "shop", run).total for run in ("1", "2")]
    assert [(usage.calls, usage.hits, usage.possibly_billed) for usage in used] == [(50, 0, 0), (0, 50, 0)]
    segments = list(ObjectStore.at(f"{bucket}/xcs").list("runs/shop/1/ledger"))
    assert len(segments) <= 6
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(xcs, ["runs", "--store", f"{bucket}/xcs", "--format", "json"], catch_exceptions=False)
    listed = {run["run_id"]: run for run in json.loads(shown.stdout)["runs"]}
    assert {name: (run["finished_steps"], run["total"]["calls"]) for name, run in listed.items()} == {"1": (3, 50), "2": (3, 0)}
