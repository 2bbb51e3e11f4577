"""A process that is killed at any point, and another that goes on: nothing is paid twice, nothing is lost, the books agree."""

import os
import tempfile
from collections import Counter
from decimal import Decimal

import pytest

from xcs_airflow.errors import ModelUnavailableError, XcsError
from xcs_airflow.ir.llm_ops import PrefixPolicy
from xcs_airflow.runtime.batches import asked, bookkeeping, collecting, documents, submitting, taking
from xcs_airflow.runtime.models import anthropic_batches, openai_batches
from xcs_airflow.runtime.purse import RunPurse

from .lab import LONG_AGO_S

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def _dying_processes_leave_their_files_to_the_test(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


API = "the provider's"
BUDGET_USD = Decimal("0.10")
REACHED = 9

# Where a process dies: what it has just done, or (before) was about to do, and for the how manieth time.
SUBMITTING = {
    "after the file was uploaded": (API, "upload", "after", 1),
    "after the intent": (documents.Dossier, "begin", "after", 1),
    "after money was set aside": (RunPurse, "hold", "after", 1),
    "after the books announced it": (submitting, "announced", "after", 1),
    "after it was created": (API, "create", "after", 1),
    "after the receipt": (documents.Dossier, "receive", "after", 1),
    "between two batches": (API, "upload", "after", 2),
    "after the second was created": (API, "create", "after", 2),
}
POLLING = {
    "in the middle of the results": (taking._Taking, "take", "after", 3),
    "before answers are remembered": (asked.Asked, "remember", "before", 1),
    "after answers are remembered": (asked.Asked, "remember", "after", 1),
    "before the books are closed": (bookkeeping.WholeSegment, "close", "before", 1),
    "before money is given back": (RunPurse, "release", "before", 1),
    "after money was given back": (RunPurse, "release", "after", 1),
    "before the outcome": (documents.Dossier, "end", "before", 1),
    "after the outcome": (documents.Dossier, "end", "after", 1),
    "after the rest was uploaded": (API, "upload", "after", 1),
    "after the rest was created": (API, "create", "after", 1),
}
COLLECTING = {
    "while answers are dealt out": (collecting.Collected, "takes", "after", 3),
}


def dying(original, moment, times):
    """A function that ends its process when it is called for the so manieth time."""
    left = [times]

    def die_when_it_is_time():
        left[0] -= 1
        if not left[0]:
            os._exit(REACHED)

    def plain(*args, **kwargs):
        if moment == "before":
            die_when_it_is_time()
        done = original(*args, **kwargs)
        if moment == "after":
            die_when_it_is_time()
        return done

    async def coroutine(*args, **kwargs):
        if moment == "before":
            die_when_it_is_time()
        done = await original(*args, **kwargs)
        if moment == "after":
            die_when_it_is_time()
        return done

    return coroutine if original.__code__.co_flags & 0x80 else plain


def killed(lab, point, work):
    """Let a process of its own do some work until it reaches a point, where it is gone without a word."""
    place, name, moment, times = point
    if place is API:
        place = openai_batches.OpenAIBatches if lab.provider == "openai" else anthropic_batches.AnthropicBatches
    child = os.fork()
    if not child:
        try:
            setattr(place, name, dying(getattr(place, name), moment, times))
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == REACHED


@pytest.fixture
def lab(lab):
    """With a budget, and one request that is answered at the second attempt only."""
    lab.manifest = lab.lowered(budget_usd=BUDGET_USD, max_requests=4)
    lab.server.fate = lambda prompt, before: "busy" if prompt.endswith("1") and not before else "succeeded"
    return lab


def assert_all_is_well(lab):
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    usage = lab.usage()
    assert (usage.calls, usage.possibly_billed, usage.refused) == (6, 0, 1)
    assert lab.budget() == (usage.billed_cost_usd, {})
    assert usage.billed_cost_usd > 0
    for document in lab.documents("outcome").values():
        assert set(document["counts"]) == set(documents.CLASSES)
    assert sum(outcome["succeeded"] for outcome in lab.outcomes) == 6


@pytest.mark.parametrize("point", SUBMITTING.values(), ids=SUBMITTING)
def test_killed_while_it_submits(lab, point):
    killed(lab, point, lab.submit)
    lab.submit()
    lab.wait(step_s=LONG_AGO_S)
    assert_all_is_well(lab)


@pytest.mark.parametrize("point", POLLING.values(), ids=POLLING)
def test_killed_while_it_polls(lab, point):
    lab.submit()
    killed(lab, point, lab.wait)
    lab.wait(step_s=LONG_AGO_S)
    assert_all_is_well(lab)


@pytest.mark.parametrize("point", COLLECTING.values(), ids=COLLECTING)
def test_killed_while_it_collects(lab, point):
    lab.submit()
    lab.wait()
    killed(lab, point, lab.collect)
    assert_all_is_well(lab)


@pytest.mark.parametrize("point", (SUBMITTING | POLLING).values(), ids=SUBMITTING | POLLING)
def test_killed_while_one_request_goes_first(lab, point):
    """Whichever of the two waits is interrupted, and however late another goes on."""
    lab.manifest = lab.lowered(budget_usd=BUDGET_USD, max_requests=4, prefix=PrefixPolicy(ttl_s=3600, prime=True, prime_from=3))
    lab.server.looks = 2
    killed(lab, point, lambda: (lab.submit(), lab.wait()))
    lab.submit()
    lab.wait(step_s=LONG_AGO_S)
    assert_all_is_well(lab)
    first, *_ = lab.server.batches.values()
    assert len(first.requests) == 1


def test_killed_again_and_again(lab):
    """Each start dies at the next point, and a poll finds out what became of it."""
    deaths = list(SUBMITTING.values())[1:6]
    for point in deaths:
        killed(lab, point, lambda: (lab.submit(), lab.poll()))
        lab.later_s += LONG_AGO_S
    lab.submit()
    lab.wait(step_s=LONG_AGO_S)
    assert_all_is_well(lab)


def test_killed_after_it_wrote_down_that_a_batch_was_turned_away(lab):
    lab.server.faults["create"] = [429] * 5
    killed(lab, (documents.Dossier, "receive", "after", 1), lab.submit)
    _, held = lab.budget()
    assert len(held) == 1
    lab.submit()
    lab.wait()
    assert_all_is_well(lab)


def test_a_batch_that_was_turned_away_gives_its_money_back(lab):
    lab.server.faults["create"] = [429] * 5
    with pytest.raises(ModelUnavailableError):
        lab.submit()
    assert lab.budget() == (0, {})


def test_a_batch_that_may_be_billed_keeps_its_money(lab):
    lab.server.faults["create"] = ["lost"]
    lab.submit()
    _, held = lab.budget()
    assert len(held) == 2
    lab.server.finish(next(iter(lab.server.batches.values())))
    lab.manifest = lab.lowered(budget_usd=BUDGET_USD, max_requests=4, on_orphan="resubmit")
    lab.server.faults["list"] = [404] * 100
    lab.later_s = LONG_AGO_S
    lab.wait()
    spent, held = lab.budget()
    assert held == {}
    assert spent > lab.usage().billed_cost_usd
    assert Counter(lab.server.billed.values()) == {2: 3, 1: 3}  # one of the four was not answered at first


def test_a_budget_that_is_too_small_submits_nothing(lab):
    lab.manifest = lab.lowered(budget_usd=Decimal("0.00000001"))
    with pytest.raises(XcsError, match="XCS730"):
        lab.submit()
    assert lab.server.asked["create"] == 0
