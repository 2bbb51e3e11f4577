"""Whatever becomes of requests and of calls: every request is accounted for, every prompt answered once, and none paid for again."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from xcs_airflow.errors import ModelError, ModelUnavailableError
from xcs_airflow.ir.llm_ops import PrefixPolicy

from .fates import BILLED, FATES, prompt_of
from .lab import LONG_AGO_S, Lab
from .server import serving

GOOD = {"succeeded", "twice"}
CLASS = {
    **dict.fromkeys(GOOD, "succeeded"),
    **dict.fromkeys(("unfit", "refused"), "rejected"),
    **dict.fromkeys(("errored", "busy"), "errored"),
    **{name: name for name in ("expired", "cancelled", "missing")},
}
ITEMS = 5

FATES_OF_ITEMS = st.lists(st.lists(st.sampled_from(FATES), max_size=3), min_size=ITEMS, max_size=ITEMS)
FAULTS = st.fixed_dictionaries(
    {
        "create": st.lists(st.sampled_from([None, 429, 500, 503, "torn", "lost", "unheard"]), max_size=3),
        "status": st.lists(st.sampled_from([429, 500, 503, "torn", "unheard"]), max_size=2),
        "results": st.lists(st.sampled_from([429, 500, 503, "torn", "short", "unheard"]), max_size=2),
    }
)
TERMS = st.fixed_dictionaries({"rounds": st.integers(1, 3), "max_requests": st.integers(1, ITEMS)})


PREFIXES = st.sampled_from([None, PrefixPolicy(ttl_s=3600, prime=True)])


@given(st.sampled_from(["openai", "anthropic"]), PREFIXES, TERMS, FATES_OF_ITEMS, FAULTS)
@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example is a whole run, so a simpler one takes long to find
)
def test_every_request_is_accounted_for_and_no_answer_paid_twice(monkeypatch, provider, prefix, terms, fates, faults):
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        lab = Lab(server, provider, Path(folder), monkeypatch, ITEMS)
        lab.manifest = lab.lowered(schema={"type": "integer"}, on_orphan="resubmit", prefix=prefix, **terms)
        server.answer = lambda prompt: prompt[-1]
        plan = dict(zip(lab.prompts, fates, strict=True))
        server.fate = lambda prompt, before: plan[prompt][before] if before < len(plan[prompt]) else "succeeded"
        server.faults |= faults
        assert until_it_is_done(lab) == list(range(ITEMS))
        assert_accounted_for(lab)


def until_it_is_done(lab):
    """Start over until everything is answered, as somebody would who wants it."""
    for _ in range(10):
        try:
            lab.submit()
            lab.wait(step_s=LONG_AGO_S)
            return lab.collect()
        except ModelUnavailableError:
            lab.later_s += LONG_AGO_S
        except ModelError as error:
            if error.code not in ("XCS708", "XCS720"):
                raise
    return None


def assert_accounted_for(lab):
    ids = {document["batch_id"]: name for name, document in lab.documents("receipt").items() if document["batch_id"]}
    # Anthropic names a request nowhere but in its result: a batch without results cannot be found again, and costs nothing.
    silent = {batch.id for batch in lab.server.batches.values() if lab.provider == "anthropic" and {*batch.fates.values()} == {"missing"}}
    assert set(lab.server.batches) - silent <= set(ids) <= set(lab.server.batches)
    told, outcomes = lab.documents("intent"), lab.documents("outcome")
    good, billed = Counter(), Counter()
    for batch in (lab.server.batches[name] for name in ids):
        # What OpenAI says nothing of has become of what its batch has.
        unsaid = "expired" if lab.provider == "openai" and "expired" in batch.fates.values() else "missing"
        counts = Counter(unsaid if fate == "missing" else CLASS[fate] for fate in batch.fates.values())
        outcome = outcomes[ids[batch.id]]["counts"]
        assert +Counter(outcome) == counts
        assert sum(outcome.values()) == len(told[ids[batch.id]]["keys"]) == len(batch.requests)
        for request in batch.requests:
            fate = batch.fates[request["custom_id"]]
            good[prompt_of(request)] += fate in GOOD
            billed[prompt_of(request)] += fate in BILLED
    assert good == lab.once
    assert billed == lab.server.billed
    usage = lab.usage()
    assert usage.calls == ITEMS
    assert usage.discarded + usage.possibly_billed >= sum(billed.values()) - ITEMS
