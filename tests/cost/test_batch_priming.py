"""When a batch of one request goes before a provider's batch, rule by rule, with published figures."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.cost.measured import asked, profile, run
from xcs_airflow.cost.assumptions import rows
from xcs_airflow.cost.batch_priming import POLL_PAUSE_S, why_forgotten
from xcs_airflow.cost.estimate import estimate
from xcs_airflow.cost.prompt_cache import prompt_cache_of
from xcs_airflow.ir import BatchPolicy, Graph, LLMMetadata, LLMOperation, Message, Operation, PipelinePolicy, Prompt, Ref
from xcs_airflow.ir.llm_ops import PrefixPolicy
from xcs_airflow.passes import LLMGraphEnhancer, MarkPrefixes, PassContext, run_passes
from xcs_airflow.plan.cloud_export import CloudExporter
from xcs_airflow.values import Hole

HOUR_S = 3600
CLAUDE = prompt_cache_of("anthropic/claude-sonnet-4-5")
RULES = "a team is named by one word, in small letters, as in the list below. " * 300
LOAD = Operation(id="load", func="a:b", items=20_000)
FIRST = PrefixPolicy(ttl_s=3600, prime=True, prime_from=3)


def ask(name="ask", of="load", *, text=RULES, group=None, prefix=None):
    prompt = Prompt(messages=(Message(parts=(text, Hole(input="x"))),))
    data = LLMMetadata(model="anthropic/claude-sonnet-4-5", temperature=0, max_tokens=8)
    batch = BatchPolicy(group=group or name, mechanism="provider_batch")
    return LLMOperation(id=name, prompt=prompt, inputs={"x": Ref(operation=of)}, map_over=("x",), metadata=data, batch=batch, prefix=prefix)


def marked(*calls, hours=None, measured=None, **policy):
    graph = Graph([LOAD, *calls], name="p", policy=PipelinePolicy(deadline_s=None if hours is None else hours * HOUR_S, **policy))
    return run_passes(graph, [MarkPrefixes()], PassContext(profile=measured))


def primed(graph):
    return {operation.id for operation in graph if isinstance(operation, LLMOperation) and operation.prefix is not None}


def test_five_minutes_are_over_before_a_poll_finds_that_the_first_batch_has_ended():
    """The longest pause between two polls is 15 minutes; what is written for 5 is forgotten then, whatever a batch takes."""
    assert CLAUDE.ttl_s < POLL_PAUSE_S
    assert why_forgotten(CLAUDE.model_copy(update={"longest_ttl_s": CLAUDE.ttl_s}), rows()["provider_batch_s"].low) is not None


def test_an_hour_lasts_until_the_requests_of_a_batch_begin_that_takes_as_long_as_most():
    """900 s until the poll, and half of the hour in which most batches end (docs.anthropic.com, batch processing): 2,700 of 3,600 s."""
    assert POLL_PAUSE_S + rows()["provider_batch_s"].expected / 2 == 2700 < CLAUDE.longest_ttl_s
    assert why_forgotten(CLAUDE, rows()["provider_batch_s"].expected) is None


def test_batches_that_were_measured_to_take_longer_are_not_primed():
    """900 s and half of two hours are more than the hour for which a prefix is kept."""
    into, out = [4000] * 4, [4] * 4
    quick, slow = (profile(run(ask=asked(ask(), into, out, batch_ms=minutes * 60_000))) for minutes in (30, 120))
    assert primed(marked(ask(), hours=50, measured=quick)) == {"ask"}
    late = marked(ask(), hours=50, measured=slow)
    assert primed(late) == set()
    assert "forgotten 1 h later, and a batch that takes 2 h would come too late" in late.decisions[-1].reason


@pytest.mark.parametrize(("hours", "found"), [(None, set()), (26, set()), (47, set()), (49, {"ask"})])
def test_the_window_of_a_primed_batch_counts_twice_against_the_deadline(hours, found):
    """Facts on batching, section 1.5: the sum of windows along the path against the deadline. 24 h for each of the two."""
    assert primed(marked(ask(), hours=hours)) == found


@pytest.mark.parametrize(("hours", "found"), [(71, set()), (73, {"a"}), (97, {"a", "b"})])
def test_the_windows_of_a_chain_add_up(hours, found):
    assert primed(marked(ask("a"), ask("b", "a"), hours=hours)) == found


def test_what_shares_the_task_waits_with_it():
    """The poll of a task waits for all its batches: with another one after them, there is no room for a third window."""
    short = ask("short", text="Team? ", group="ask")
    assert primed(marked(ask(), short, ask("after", "short", text="Then: "), hours=60)) == set()
    assert primed(marked(ask(), short, ask("after", "short", text="Then: "), hours=74)) == {"ask"}


def test_what_shares_the_task_of_a_batch_that_is_primed_by_hand_takes_two_windows():
    """72 h for the three windows of both tasks; a fourth for the second one has no room in 80."""
    beside = ask("beside", text="Team? ", group="ask")
    found = marked(ask(prefix=FIRST), beside, ask("after", "beside"), hours=80)
    assert primed(found) == {"ask"}
    assert "the run may take 96 h, and the deadline is 80 h" in found.decisions[-1].reason


def test_an_hour_that_is_worth_more_than_the_reads_is_not_waited_for():
    assert primed(marked(ask(), hours=50, optimize="balanced", hour_usd=Decimal(1))) == {"ask"}
    assert primed(marked(ask(), hours=50, optimize="balanced", hour_usd=Decimal(1000))) == set()
    assert primed(marked(ask(), hours=50, optimize="latency")) == set()


def test_it_is_written_for_an_hour_and_only_for_enough_requests():
    """Twice the price of input for the first, a tenth for each other: 2 + 0.1 is more than 2, and 2 + 0.2 less than 3."""
    assert marked(ask(), hours=50)["ask"].prefix == FIRST


def test_a_task_takes_twice_as_long_when_one_of_its_batches_is_primed():
    beside = ask("beside", group="ask")
    plain = estimate(Graph([LOAD, ask(), beside]))
    twice = estimate(Graph([LOAD, ask(prefix=FIRST), beside]))
    assert (plain.of("ask").duration_s.expected, twice.of("ask").duration_s.expected) == (1800, 3600)
    assert (plain.duration_s.expected, twice.duration_s.expected) == (1 + 3600, 1 + 2 * 3600)
    assert twice.duration_s.high == pytest.approx(plain.duration_s.high + 86_400)


def test_a_primed_batch_costs_what_its_reads_and_its_one_write_cost():
    """5,177 tokens of 20,000 requests at 1.5 USD a million in a batch: one written at twice that, 95 of 100 others read at a tenth."""
    graph, first = Graph([LOAD, ask()]), Graph([LOAD, ask(prefix=FIRST)])
    plain, found = (estimate(each).of("ask") for each in (graph, first))
    shared = Decimal(round(plain.shared_tokens.expected)) * Decimal("1.5") / 1_000_000
    reads = 19_999 * Decimal("0.95")
    expected = plain.cost_usd.expected - shared * 20_000 + shared * (reads * Decimal("0.1") + (20_000 - reads) * 2)
    assert float(found.cost_usd.expected) == pytest.approx(float(expected), rel=1e-6)


def test_a_platform_waits_for_one_window_more():
    waits = [
        next(task.wait.at_most_s for task in CloudExporter().export(Graph([LOAD, call], name="p")).tasks if task.wait is not None)
        for call in (ask(), ask(prefix=FIRST))
    ]
    assert waits[1] - waits[0] == 86_400 + 3600


def test_a_pipeline_with_room_for_two_windows_gets_a_primed_batch_by_itself():
    load = LOAD.model_copy(update={"items": 50_000})
    call = ask().model_copy(update={"batch": None})
    optimised = LLMGraphEnhancer().enhance(Graph([load, call], name="p", policy=PipelinePolicy(deadline_s=50 * HOUR_S)))
    assert optimised["ask"].batch.mechanism == "provider_batch"
    assert optimised["ask"].prefix == FIRST
