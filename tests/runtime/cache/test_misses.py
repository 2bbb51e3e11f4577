"""Why answers are not found, in caches of every kind."""

import pytest

from xcs_airflow.runtime.cache import Recipe
from xcs_airflow.runtime.cache.misses import Difference, inquire

from .places import answer, key

NOW = Recipe("c" * 24, "classify", {"model": "new", "seed": None})


def reasons(inquiry):
    return {verdict.item: verdict.reason for verdict in inquiry.verdicts}


def test_every_reason_is_found(shared_place):
    cache = shared_place.open()
    cache.note_recipe(Recipe("a" * 24, "classify", {"model": "old", "temperature": 0}))
    cache.note_recipe(Recipe("b" * 24, "other", {"model": "new", "seed": 7}))
    damaged = key(3)
    answers = {
        key(1): answer(),
        key(2): answer(age_s=10**6),
        damaged: answer(),
        key(4, "a"): answer(),
        key(4, "b"): answer(),
        key(9, "a"): answer(),
    }
    cache.put_many(answers)
    cache.close()
    shared_place.damage(damaged)
    cache = shared_place.open()
    inquiry = inquire(cache, NOW, {str(number): key(number) for number in range(1, 6)}, 10**5)
    assert reasons(inquiry) == {"1": "remembered", "2": "too_old", "3": "unreadable", "4": "asked_differently", "5": "never_asked"}
    assert inquiry.verdicts[1].age_s >= 10**6
    assert inquiry.verdicts[3].recipe == "b" * 24
    assert inquiry.entries == 3
    closest, other = inquiry.ways
    assert (closest.recipe, closest.operations, closest.entries) == ("b" * 24, ("other",), 1)
    assert closest.differences == (Difference("seed", 7, None),)
    assert (other.recipe, other.operations, other.entries) == ("a" * 24, ("classify",), 2)
    assert other.differences == (Difference("model", "old", "new"), Difference("temperature", 0, None))


def test_a_way_that_nobody_noted_is_shown_when_prompts_were_asked_so(cache):
    cache.put_many({key(1, "d"): answer(), key(2, "e"): answer()})
    inquiry = inquire(cache, NOW, {"": key(1)}, None)
    assert reasons(inquiry) == {"": "asked_differently"}
    (way,) = inquiry.ways
    assert (way.recipe, way.operations, way.entries, way.differences) == ("d" * 24, (), 1, None)


@pytest.mark.parametrize("operation", ["classify", "sort"])
def test_without_prompts_the_ways_of_an_operation_are_shown(cache, operation):
    for name in ("classify", "sort"):
        cache.note_recipe(Recipe("a" * 24, name, {"model": "old"}))
    cache.note_recipe(Recipe("b" * 24, operation, {"model": "older"}))  # without an answer
    cache.put_many({key(1, "a"): answer()})
    inquiry = inquire(cache, Recipe("c" * 24, operation, {"model": "new"}), {}, None)
    (way,) = inquiry.ways
    assert (way.operations, way.differences) == (("classify", "sort"), (Difference("model", "old", "new"),))
    assert inquiry.verdicts == ()
