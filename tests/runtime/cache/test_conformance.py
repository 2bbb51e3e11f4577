"""What every cache promises, wherever it lies."""

import pytest

from xcs_airflow.runtime.cache import Recipe

from .places import answer, key

A, B, C = key(1), key(2), key(3)


def test_what_was_put_is_found_and_nothing_else(cache):
    assert cache.get_many([A]) == {}
    answers = {A: answer(), B: answer("other\ud800\n", input_tokens=None, output_tokens=None, model=None)}
    cache.put_many(answers)
    assert cache.get_many([A, B, C]) == answers
    assert cache.get_many([A]) == {A: answers[A]}
    assert cache.get_many([A, A]) == {A: answers[A]}
    assert cache.get_many([]) == {}
    cache.put_many({})


def test_the_newest_answer_wins(cache):
    cache.put_many({A: answer("old", age_s=50)})
    cache.put_many({A: answer("new")})
    assert cache.get_many([A]) == {A: answer("new")}


@pytest.mark.parametrize("keys", [[A], [A, B]])
def test_an_answer_is_good_for_as_long_as_the_reader_says(cache, keys):
    cache.put_many({A: answer(age_s=10**6)})
    assert cache.get_many(keys, ttl_s=10**5) == {}
    assert list(cache.get_many(keys, ttl_s=10**7)) == [A]
    assert list(cache.get_many(keys)) == [A]


def test_many_answers_go_in_one_call(place):
    cache = place.open()
    answers = {key(index * 16**39 // 32): answer(str(index)) for index in range(place.many)}
    cache.put_many(answers)
    assert cache.get_many(answers) == answers
    assert dict(cache.entries()) == answers


def test_keys_and_entries_come_in_order(cache):
    answers = {key(index, recipe): answer(f"{index}{recipe}") for index in (40, 5, 17) for recipe in "ba"}
    cache.put_many(answers)
    assert list(cache.entries()) == sorted(answers.items())
    assert list(cache.keys()) == sorted(answers)
    assert list(cache.keys(key(5)[:40])) == [key(5, "a"), key(5, "b")]
    assert list(cache.keys("f")) == []


def test_what_was_removed_is_gone(cache):
    cache.put_many({A: answer(), B: answer()})
    assert cache.remove([A, C]) == 1
    assert cache.remove([A]) == 0
    assert list(cache.get_many([A, B])) == [B]
    assert list(cache.keys()) == [B]


def test_recipes_are_remembered_once(cache):
    first = Recipe("aa", "classify", {"model": "gpt", "temperature": 0, "schema": {"type": "string"}, "tenant": "ü"})
    second = Recipe("bb", "classify", {"model": "gpt", "temperature": 0.2})
    shared = Recipe("aa", "a/b c", first.fields)
    for recipe in (second, first, shared, first):
        cache.note_recipe(recipe)
    assert sorted(cache.recipes(), key=lambda recipe: recipe.name) == [shared, first, second]


def test_recipes_are_no_answers(cache):
    cache.note_recipe(Recipe("aa", "classify", {}))
    assert list(cache.keys()) == list(cache.entries()) == []


def test_another_process_finds_what_was_put(shared_place):
    shared_place.open().put_many({A: answer()})
    shared_place.open().note_recipe(Recipe("aa", "classify", {}))
    other = shared_place.open()
    assert other.get_many([A]) == {A: answer()}
    assert other.recipes() == [Recipe("aa", "classify", {})]


def test_a_tenant_sees_nothing_of_another(shared_place):
    ours, theirs, nobody = (shared_place.open(name) for name in ("ours", "theirs", ""))
    ours.put_many({A: answer("ours")})
    theirs.put_many({A: answer("theirs"), B: answer()})
    ours.note_recipe(Recipe("aa", "classify", {}))
    assert ours.get_many([A, B]) == {A: answer("ours")}
    assert dict(theirs.entries()) == {A: answer("theirs"), B: answer()}
    assert nobody.get_many([A, B]) == {}
    assert list(nobody.keys()) == list(nobody.entries()) == nobody.recipes() == theirs.recipes() == []
    assert theirs.remove([A, B]) == 2
    assert nobody.remove([A]) == 0
    assert dict(ours.entries()) == {A: answer("ours")}


@pytest.mark.parametrize("names", [("a", "a/b"), ("a", "A"), ("..", "."), ("", "%"), ("a:b", "a"), ("*", "a")])
def test_names_of_tenants_are_any_words(shared_place, names):
    one, other = (shared_place.open(name) for name in names)
    one.put_many({A: answer()})
    other.put_many({B: answer()})
    assert (list(one.keys()), list(other.keys())) == ([A], [B])


def test_damage_is_a_miss_and_never_an_answer(shared_place):
    cache = shared_place.open()
    cache.put_many({A: answer(), B: answer()})
    shared_place.damage(A)
    cache = shared_place.open()
    assert cache.get_many([A]) == {}
    assert cache.get_many([A, B]) == {B: answer()}
    assert list(cache.entries()) == [(B, answer())]
    assert list(cache.keys()) == [A, B]
    cache.put_many({A: answer("new")})
    assert cache.get_many([A]) == {A: answer("new")}


def test_a_damaged_entry_can_be_removed(shared_place):
    shared_place.open().put_many({A: answer()})
    shared_place.damage(A)
    cache = shared_place.open()
    assert cache.remove([A]) == 1
    assert list(cache.keys()) == []


def test_what_one_asks_for_nobody_else_does(shared_place):
    mine, yours = (shared_place.open().claims() for _ in range(2))
    assert mine.take([A, B]) == {A, B}
    assert mine.take([A]) == {A}
    assert yours.take([A, B, C]) == {C}
    mine.release([A, C])
    assert yours.take([A, B, C]) == {A, C}
    mine.close()
    assert yours.take([B]) == {B}
    yours.close()


def test_many_claims_go_in_one_call(shared_place):
    keys = {key(index) for index in range(shared_place.many)}
    mine, yours = (shared_place.open().claims() for _ in range(2))
    assert mine.take(keys) == keys
    assert yours.take(keys) == set()
    mine.release(keys)
    assert yours.take(keys) == keys
    mine.close()
    yours.close()


def test_tenants_do_not_wait_for_each_other(shared_place):
    mine, yours = (shared_place.open(name).claims() for name in ("mine", "yours"))
    assert mine.take([A]) == yours.take([A]) == {A}
    mine.close()
    yours.close()


def test_claims_can_be_closed_unused_and_twice(cache):
    claims = cache.claims()
    assert claims.take([]) == set()
    claims.release([A])
    claims.close()
    claims.close()
    assert cache.claims().take([A]) == {A}
