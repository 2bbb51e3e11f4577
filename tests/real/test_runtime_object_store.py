"""The runtime with its store and its cache in a bucket: obstore against moto's S3 server."""

import json
import time
import urllib.request

import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from xcs_airflow.cli.main import xcs
from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.ir import CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import RuntimeSettings, main, read_output, run_task, run_usage
from xcs_airflow.runtime.models import ModelAnswer, use_provider
from xcs_airflow.runtime.object_store import ObjectStore
from xcs_airflow.runtime.store import StoreUnavailableError
from xcs_airflow.values import Hole, Message, Prompt

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint, monkeypatch, request):
    """An empty bucket."""
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    name = f"bucket-{abs(hash(request.node.name))}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=20).close()
    return f"s3://{name}"


@pytest.fixture
def store(bucket):
    return ObjectStore.at(f"{bucket}/folder/")


def test_what_was_put_is_there_and_what_was_not_is_not(store):
    store.put("a/b.json", b"1")
    store.put("a/b.json", b"2")
    assert store.get("a/b.json") == b"2"
    assert store.get("a/c.json") is None
    with pytest.raises(FileNotFoundError):
        list(store.chunks("a/c.json"))
    with pytest.raises(ValueError, match="not a name in a store"):
        store.put("../b.json", b"")


def test_only_the_first_creates(store):
    assert store.create("x/lock", b"first")
    assert not store.create("x/lock", b"second")
    assert store.get("x/lock") == b"first"


def test_of_two_who_replace_the_same_state_one_wins(store):
    assert store.load("x/state") is None
    store.create("x/state", b"0")
    _, seen = store.load("x/state")
    assert store.replace("x/state", b"1", seen)
    assert not store.replace("x/state", b"2", seen)
    assert store.load("x/state")[0] == b"1"


def test_names_are_listed_sorted_and_below_the_folder_only(store):
    for name in ("a/2", "a/1", "a/deep/3", "ab/4"):
        store.put(name, b"")
    assert list(store.list("a")) == ["a/1", "a/2", "a/deep/3"]
    assert list(store.list("nothing")) == []


def test_entries_say_when_they_changed(store):
    begun = time.time()
    store.put("a/1", b"")
    (entry,) = store.entries("a")
    assert entry.name == "a/1"
    assert begun - 2 <= entry.changed <= time.time() + 2


def test_large_files_arrive_in_pieces(store, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"0123456789\n" * 1_200_000)
    store.put_file("large", path)
    assert not path.exists()
    chunks = [len(chunk) for chunk in store.chunks("large")]
    assert sum(chunks) == 13_200_000
    assert len(chunks) > 1


def test_lines_are_kept_by_the_flush(store):
    appender = store.appender("log/a.jsonl")
    appender.write(b"one")
    assert list(store.list("log")) == []
    appender.flush()
    appender.write(b"two")
    appender.close()
    appender.close()
    assert [store.get(name) for name in store.list("log")] == [b"one\n", b"two\n"]


def test_a_bucket_that_does_not_exist_is_final(bucket):
    with pytest.raises(RuntimeTaskError, match="XCS608") as caught:
        ObjectStore.at("s3://another-bucket").put("x", b"")
    assert not getattr(caught.value, "retryable", False)


def test_a_store_that_does_not_answer_is_worth_another_try(monkeypatch, bucket):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailableError) as caught:
        ObjectStore.at(bucket).put("x", b"")
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
        metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0),
        cache=CachePolicy(),
        shards=2,
        batch={"group": "g", "in_flight": 8},
    )
    report = Operation(id="report", func="shop:report", inputs={"answers": Ref(operation="ask")})
    return Graph([Operation(id="load", func="shop:load"), ask, report], name="shop", output=Ref(operation="report"))


def test_a_pipeline_leaves_everything_in_the_bucket(bucket, tmp_path, monkeypatch):
    """Results, cache and books; a second run is free, and the manifest may lie there, too."""
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
