"""One request goes before the others of a batch, so that they find in the provider's prompt cache what it wrote."""

from collections import Counter

import pytest

from xcs_airflow.errors import NotReadyError
from xcs_airflow.ir.llm_ops import PrefixPolicy
from xcs_airflow.runtime.batches import documents

from .dialects import PREFIX_TOKENS
from .fates import mark_of
from .test_together import meeting, side_by_side  # noqa: F401  # a fixture

FIRST = PrefixPolicy(ttl_s=3600, prime=True, prime_from=3)
HALF_OF_ITS_TIME_S = 1800


@pytest.fixture
def lab(lab):
    lab.manifest = lab.lowered(prefix=FIRST)
    return lab


@pytest.fixture
def anthropic(anthropic):
    anthropic.manifest = anthropic.lowered(prefix=FIRST)
    return anthropic


def sizes(lab):
    return [len(batch.requests) for batch in lab.server.batches.values()]


def are_marked(lab):
    """For every batch, whether its requests ask the provider to keep what they share."""
    return [all(mark_of(request) for request in batch.requests) for batch in lab.server.batches.values()]


def test_the_others_are_submitted_when_the_first_has_ended(lab):
    lab.server.looks = 2
    lab.submit()
    assert not lab.poll()
    assert sizes(lab) == [1]
    assert not lab.poll()
    assert "the others were submitted after the first" in lab.reason
    assert sizes(lab) == [1, 5]
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert [document["goes_first"] for document in lab.documents("intent").values()] == [True, False]


def test_the_others_read_what_the_first_wrote_for_an_hour(anthropic):
    assert anthropic.run() == anthropic.answers
    for batch in anthropic.server.batches.values():
        assert [mark_of(request) for request in batch.requests] == [("about ", {"type": "ephemeral", "ttl": "1h"})] * len(batch.requests)
    assert anthropic.server.looked_up == {"written": 1, "read": 5}
    usage = anthropic.usage()
    assert (usage.written_tokens, usage.cached_tokens) == (PREFIX_TOKENS, 5 * PREFIX_TOKENS)


def test_without_a_first_one_a_marked_batch_writes_again_and_again(anthropic):
    anthropic.manifest = anthropic.lowered(prefix=PrefixPolicy())
    cold = anthropic.run() and anthropic.usage().billed_cost_usd
    assert anthropic.server.looked_up == {"written": 6}
    anthropic.server.kept.clear()
    anthropic.manifest = anthropic.lowered(prefix=FIRST, cache=None)  # of another run, which remembers nothing of this one
    anthropic.submit(run_id="first")
    anthropic.wait(run_id="first")
    anthropic.collect("first")
    assert anthropic.usage("first").billed_cost_usd < cold


def test_every_task_may_be_started_again_while_the_first_is_out(lab):
    lab.server.looks = 3
    for _ in range(2):
        lab.submit()
    assert not lab.poll()
    lab.submit()
    assert sizes(lab) == [1]
    lab.wait()
    lab.submit()
    assert lab.collect() == lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert sizes(lab) == [1, 5]


def test_too_few_requests_go_at_once_and_without_a_mark(anthropic):
    anthropic.manifest = anthropic.lowered(prefix=FIRST.model_copy(update={"prime_from": 7}))
    assert anthropic.run() == anthropic.answers
    assert sizes(anthropic) == [6]
    assert are_marked(anthropic) == [False]


def test_what_the_cache_has_already_does_not_count(anthropic):
    anthropic.run()
    anthropic.items = 8
    anthropic.manifest = anthropic.lowered(prefix=FIRST)
    anthropic.submit(run_id="next")
    anthropic.wait(run_id="next")
    assert sizes(anthropic) == [1, 5, 2]
    assert are_marked(anthropic) == [True, True, False]


@pytest.mark.parametrize("fate", ["busy", "errored", "expired"])
def test_when_the_first_brings_no_answer_the_others_go_without_a_mark(anthropic, fate):
    anthropic.server.fate = lambda prompt, before: fate if prompt.endswith("0") and not before else "succeeded"
    anthropic.submit()
    anthropic.wait()
    is_tried_again = fate != "errored"
    assert sizes(anthropic) == [1, 5 + is_tried_again]
    assert are_marked(anthropic) == [True, False]
    assert anthropic.server.billed == anthropic.once - Counter([] if is_tried_again else ["about ticket 0"])


def test_when_the_first_is_taken_in_late_the_others_go_without_a_mark(anthropic):
    anthropic.submit()
    anthropic.later_s = HALF_OF_ITS_TIME_S + 60
    anthropic.wait()
    assert are_marked(anthropic) == [True, False]
    assert anthropic.collect() == anthropic.answers
    assert anthropic.server.billed == anthropic.once


def test_a_provider_that_does_not_say_when_a_batch_ended_is_taken_to_have_ended_it_at_once(anthropic, monkeypatch):
    monkeypatch.setattr("xcs_airflow.runtime.models.anthropic_batches._time_in", lambda batch, name: None)
    anthropic.submit()
    anthropic.poll()
    assert are_marked(anthropic) == [True, True]
    assert [document["ended_at"] for document in anthropic.documents("outcome").values()] == [
        document["created_at"] for document in list(anthropic.documents("intent").values())[:1]
    ]


def test_what_is_submitted_again_finds_what_the_others_found(anthropic):
    anthropic.server.fate = lambda prompt, before: "busy" if prompt.endswith("4") and not before else "succeeded"
    anthropic.submit()
    anthropic.wait()
    assert anthropic.collect() == anthropic.answers
    assert sizes(anthropic) == [1, 5, 1]
    assert are_marked(anthropic) == [True, True, True]
    assert anthropic.server.looked_up == {"written": 1, "read": 5}


def test_one_that_never_arrived_goes_first_again(lab):
    lab.server.faults["create"] = ["unheard"]
    lab.submit()
    assert sizes(lab) == []
    lab.wait(step_s=10_000)
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert [document["goes_first"] for document in lab.documents("intent").values()] == [True, True, False]


def test_one_goes_first_in_every_shard(anthropic):
    anthropic.manifest = anthropic.lowered(prefix=FIRST.model_copy(update={"prime_from": 2}), shards=2)
    for shard in range(2):
        anthropic.submit(shard=shard)
    assert sizes(anthropic) == [1, 1]
    anthropic.wait()
    assert anthropic.collect() == anthropic.answers
    assert anthropic.server.billed == anthropic.once
    assert sorted(sizes(anthropic)[:2]) == [1, 1]


def with_a_step_that_asks_the_same(manifest):
    tasks = []
    for task in manifest.tasks:
        again = [step.model_copy(update={"id": "again"}) for step in task.steps if step.id == "ask"]
        tasks.append(task.model_copy(update={"steps": (*task.steps, *again)}))
    return manifest.model_copy(update={"tasks": tuple(tasks)})


def test_two_steps_that_ask_the_same_pay_it_once(lab):
    """What the one lets wait is not in any batch of the other, and what the other has in a batch, the one does not hand over."""
    lab.server.looks = 2
    lab.manifest = with_a_step_that_asks_the_same(lab.lowered(prefix=FIRST))
    lab.submit()
    assert sizes(lab) == [1, 1]
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_several_that_submit_at_the_same_moment_let_one_go_first(lab, meeting):  # noqa: F811
    lab.task("load")
    meeting(documents.Dossier, "begin", 3)
    assert side_by_side(*[lab.submit] * 3) == [None] * 3
    assert sizes(lab) == [1]


def test_several_that_find_that_the_first_has_ended_submit_the_others_once(lab, meeting):  # noqa: F811
    lab.submit()
    meeting(documents.Dossier, "begin", 3)
    errors = side_by_side(*[lambda: lab.task("ask.poll")] * 3)
    assert {type(error) for error in errors} == {NotReadyError}
    assert sizes(lab) == [1, 5]
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
