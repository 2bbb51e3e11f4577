"""What all items share, from the graph to the wire: marked for the provider's prompt cache, and answered once before the others begin."""

import asyncio
import json
import time

import pytest

from xcs_airflow.ir import Constant, Graph
from xcs_airflow.ir.llm_ops import BatchPolicy, LLMMetadata, LLMOperation, PrefixPolicy
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import run_task, run_usage
from xcs_airflow.runtime.budget import worst_case
from xcs_airflow.runtime.models import AttemptError, ModelAnswer, use_provider
from xcs_airflow.runtime.models.provider import ModelRequest, Prefix
from xcs_airflow.runtime.models.routes import target_of
from xcs_airflow.runtime.pricing import price_of
from xcs_airflow.runtime.settings import ModelRoute
from xcs_airflow.values import Hole, Message, Prompt

from .models_server import server  # noqa: F401  # a fixture

CLAUDE = "anthropic/claude-haiku-4-5"


def asking(prefix, *, model=CLAUDE, items=("a", "b", "c", "d", "e"), in_flight=8, **fields):
    messages = (
        Message(role="system", parts=("You know the teams.",)),
        Message(parts=("Teams: ", Hole(input="teams"), ". Ticket: ", Hole(input="ticket"))),
    )
    return lower(
        Graph(
            [
                LLMOperation(
                    id="ask",
                    prompt=Prompt(messages=messages),
                    inputs={"ticket": Constant(constant=list(items)), "teams": Constant(constant="x, y")},
                    map_over=("ticket",),
                    metadata=LLMMetadata(model=model, temperature=0, max_tokens=8),
                    batch=BatchPolicy(group="ask", in_flight=in_flight),
                    prefix=prefix,
                    **fields,
                )
            ],
            name="p",
        )
    )


class Watched:
    """A model that takes a while, and notes how many calls were out when each began."""

    def __init__(self, fails=0):
        self.out = 0
        self.began = []
        self.requests = []
        self.fails = fails

    async def complete(self, request):
        self.requests.append(request)
        self.began.append(self.out)
        self.out += 1
        await asyncio.sleep(0.02)
        self.out -= 1
        if self.fails:
            self.fails -= 1
            raise AttemptError("no", blame="row")
        return ModelAnswer("x", 10, 1)


def test_what_all_items_share_is_marked_on_the_wire_with_inputs_that_do_not_change(server, settings, monkeypatch):  # noqa: F811
    monkeypatch.setenv("KEY", "k")
    routes = {"anthropic": ModelRoute(endpoint=server.url, protocol="anthropic", key_env="KEY")}
    settings = settings.model_copy(update={"models": routes})
    usage = {"input_tokens": 10, "output_tokens": 1}
    reply = {"model": "m", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    server.replies = [
        (200, {}, {**reply, "usage": {**usage, "cache_creation_input_tokens": 1000}}),
        (200, {}, {**reply, "usage": {**usage, "cache_read_input_tokens": 1000}}),
    ]
    manifest = asking(PrefixPolicy(prime=True), items=("a", "b"))
    run_task(manifest, "ask", run_id="run", settings=settings)
    blocks = [body["messages"][0]["content"] for _, _, body in server.requests]
    shared = {"type": "text", "text": "Teams: x, y. Ticket: ", "cache_control": {"type": "ephemeral"}}
    assert blocks == [[shared, {"type": "text", "text": ticket}] for ticket in "ab"]
    used = run_usage(settings, "p", "run").total
    assert (used.input_tokens, used.written_tokens, used.cached_tokens) == (2020, 1000, 1000)
    price = price_of(None)
    assert used.billed_cost_usd == price(CLAUDE, 1010, 1, 0, written_tokens=1000) + price(CLAUDE, 1010, 1, 1000)
    assert price(CLAUDE, 1010, 1, 0, written_tokens=1000) > price(CLAUDE, 1010, 1, 0)


def test_servers_that_find_prefixes_by_themselves_get_no_mark(server, settings):  # noqa: F811
    settings = settings.model_copy(update={"models": {"openai": ModelRoute(endpoint=server.url)}})
    server.replies = [(200, {}, {"choices": [{"message": {"content": "x"}}]})]
    run_task(asking(PrefixPolicy(), model="openai/gpt-5-mini", items=("a",)), "ask", run_id="run", settings=settings)
    body = server.requests[0][2]
    assert "cache_control" not in json.dumps(body)
    assert body["messages"][-1] == {"role": "user", "content": "Teams: x, y. Ticket: a"}


def test_exactly_one_call_goes_before_the_others(settings):
    """Calls that are made side by side do not see what others write into the prompt cache (Bike4Mind/bike4mind#2741)."""
    with use_provider(Watched()) as model:
        run_task(asking(PrefixPolicy(prime=True)), "ask", run_id="run", settings=settings)
    assert model.began[:2] == [0, 0]
    assert sorted(model.began[1:]) == [0, 1, 2, 3]


def test_without_priming_all_calls_begin_together(settings):
    with use_provider(Watched()) as model:
        run_task(asking(PrefixPolicy()), "ask", run_id="run", settings=settings)
    assert sorted(model.began) == [0, 1, 2, 3, 4]


def test_where_the_first_call_fails_the_next_one_goes_before_the_others(settings):
    with use_provider(Watched(fails=1)) as model, pytest.raises(Exception, match="XCS708"):
        run_task(asking(PrefixPolicy(prime=True)), "ask", run_id="run", settings=settings)
    assert model.began[:3] == [0, 0, 0]
    assert sorted(model.began[2:]) == [0, 1, 2]


def test_each_prefix_has_a_first_call_of_its_own(settings, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "pipeline.py").write_text(
        "def write(ticket):\n    return [{'role': 'system', 'content': ticket[0]}, {'role': 'user', 'content': ticket}]\n"
    )
    ask = LLMOperation(
        id="ask",
        prompt_func="pipeline:write",
        inputs={"ticket": Constant(constant=["a1", "a2", "a3", "b1", "b2"])},
        map_over=("ticket",),
        metadata=LLMMetadata(model=CLAUDE, temperature=0),
        batch=BatchPolicy(group="ask", in_flight=8),
        prefix=PrefixPolicy(prime=True),
    )
    with use_provider(Watched()) as model:
        run_task(lower(Graph([ask], name="p")), "ask", run_id="run", settings=settings)
    first = [request.messages[-1]["content"][0] for request in model.requests[:2]]
    assert sorted(first) == ["a", "b"]
    assert model.began[:2] == [0, 1]


def test_a_prefix_changes_neither_keys_nor_fingerprints(settings):
    with use_provider(Watched()) as model:
        run_task(asking(None), "ask", run_id="run", settings=settings)
        run_task(asking(PrefixPolicy(ttl_s=3600, prime=True)), "ask", run_id="next", settings=settings)
        run_task(asking(PrefixPolicy()), "ask", run_id="run", settings=settings)
    prints = {asking(prefix).task_by_id["ask"].steps[0].fingerprint for prefix in (None, PrefixPolicy(ttl_s=3600))}
    assert len(prints) == 1
    assert run_usage(settings, "p", "next").total.rows == 5
    assert len(model.requests) == 10  # not declared cacheable: each run asks for itself


def test_the_worst_case_of_a_marked_request_is_that_all_of_it_is_written(settings):
    target, messages = target_of(CLAUDE, settings), [{"role": "user", "content": "x" * 10_000}]
    plain, short, hour = (
        worst_case(target, ModelRequest(CLAUDE, messages, max_tokens=1, prefix=prefix), price_of(None))
        for prefix in (None, Prefix(1, 0, 300), Prefix(1, 0, 3600))
    )
    assert plain < short < hour


def test_a_first_call_that_is_slow_holds_nobody_else_up(settings):
    """Other questions go on: who waits for a prefix keeps no place of the task."""
    began = []

    class Slow:
        async def complete(self, request):
            began.append((request.model, time.monotonic()))
            await asyncio.sleep(0.3 if request.model == CLAUDE else 0)
            return ModelAnswer("x", 1, 1)

    first = asking(PrefixPolicy(prime=True), in_flight=2).tasks[0]
    other = asking(None, model="openai/gpt-5-mini", in_flight=2).tasks[0].steps[0].model_copy(update={"id": "other"})
    manifest = asking(None).model_copy(update={"tasks": (first.model_copy(update={"steps": (*first.steps, other)}),)})
    with use_provider(Slow()):
        run_task(manifest, "ask", run_id="run", settings=settings)
    quick = [at for model, at in began if model != CLAUDE]
    slow = [at for model, at in began if model == CLAUDE]
    assert len(quick) == 5
    assert max(quick) < slow[1]
