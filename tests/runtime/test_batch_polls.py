"""One poll asks for all shards of the task that submits: until all their batches have ended it is not ready, and nothing is paid twice."""

import pytest

from xcs_airflow.errors import ModelError, NotReadyError
from xcs_airflow.ir import BatchPolicy, Graph, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import read_output, run_task
from xcs_airflow.runtime.settings import ModelRoute, RuntimeSettings

from ..real.slow_batches import slow_batches  # noqa: TID252  # what takes its time for platforms does so here
from .running import asking

SHARDS = 3


@pytest.fixture
def provider():
    with slow_batches(looks=2) as server:
        yield server


@pytest.fixture
def start(tmp_path, provider):
    """Starts a shard of a task of: load -> 3 shards of calls that go through a batch API."""
    (tmp_path / "pipeline.py").write_text("def load():\n    return [f'ticket {index}' for index in range(20)]\n")
    batch = BatchPolicy(group="ask", mechanism="provider_batch")
    ask = asking("ask", Ref(operation="load"), shards=SHARDS, batch=batch)
    manifest = lower(Graph([Operation(id="load", func="pipeline:load"), ask], name="p", output=Ref(operation="ask")))
    route = ModelRoute(endpoint=provider.url)
    settings = RuntimeSettings(store=str(tmp_path / "store"), cache="off", code=tmp_path, models={"openai": route})

    def start_shard(task, shard=0):
        return run_task(manifest, task, run_id="run", shard=shard, settings=settings)

    start_shard.output = lambda: read_output(manifest, run_id="run", settings=settings)
    start_shard("load")
    for shard in range(SHARDS):
        start_shard("ask.submit", shard)
    return start_shard


def test_a_poll_waits_for_the_batches_of_all_shards(start, provider):
    with pytest.raises(NotReadyError) as waiting:
        start("ask.poll")
    assert len(waiting.value.findings) == SHARDS
    assert start("ask.poll").ran == ("ask",)
    for shard in range(SHARDS):
        start("ask", shard)
    assert start.output() == [f"ABOUT TICKET {index}" for index in range(20)]
    assert sorted(provider.prompts) == sorted(f"about ticket {index}" for index in range(20))


def test_a_shard_that_is_done_is_not_asked_about_again(start, provider):
    first, *others = provider.batches
    provider.asked[first] = provider.looks
    for _ in range(2):
        provider.asked.update(dict.fromkeys(others, -1))
        with pytest.raises(NotReadyError):
            start("ask.poll")
    assert provider.asked[first] == provider.looks + 1


def test_a_shard_that_fails_fails_the_poll_and_the_others_are_taken_in(start, provider):
    first, *others = provider.batches
    provider.asked.update(dict.fromkeys(others, provider.looks))
    del provider.batches[first]
    with pytest.raises(ModelError, match="XCS723"):
        start("ask.poll")
    assert all(provider.batches[name]["status"] == "completed" for name in others)


def test_a_poll_that_is_done_asks_nobody(start, provider):
    provider.looks = 1
    start("ask.poll")
    provider.is_down = True
    start("ask.poll")
