"""Encryption at rest: who can read what, changing keys, and what happens to entries that cannot be read."""

import base64
import json
import logging
import sys

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache import Recipe, open_cache
from xcs_airflow.runtime.cache.sealing import Keyring

from .places import NOW, SealedPlace, SqlitePlace, answer, key

A, B = key(1), key(2)
OLD, NEW = b"o" * 32, b"n" * 32
RECIPE = Recipe("aa", "classify", {"output_schema": {"description": "the secret plan"}})


@pytest.fixture
def place(tmp_path):
    made = SealedPlace(tmp_path)
    yield made
    made.close()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def inner(place):
    """The same place, seen by somebody who has no key, and who writes well."""
    return SqlitePlace.opened(place, "", is_sealed=True)


def test_nobody_reads_texts_or_recipes_without_the_key(place):
    cache = place.open()
    cache.put_many({A: answer("the secret answer")})
    cache.note_recipe(RECIPE)
    assert cache.recipes() == [RECIPE]
    cache.close()
    written = b"".join(path.read_bytes() for path in place.path.parent.glob("cache.sqlite*") if path.is_file())
    assert b"classify" in written
    assert b"secret" not in written


def test_equal_answers_do_not_look_alike(place):
    place.open().put_many({A: answer(), B: answer()})
    texts = {entry.text for _, entry in inner(place).entries()}
    assert len(texts) == 2


def test_keys_can_be_changed(place, caplog):
    place.open(keys=[OLD]).put_many({A: answer("old")})
    place.open(keys=[OLD]).note_recipe(RECIPE)
    both = place.open(keys=[NEW, OLD])
    assert both.get_many([A]) == {A: answer("old")}
    both.put_many({B: answer("new")})
    both.note_recipe(RECIPE)
    assert both.recipes() == [RECIPE]
    assert warnings(caplog) == []
    new = place.open(keys=[NEW])
    assert new.get_many([A, B]) == {B: answer("new")}
    assert list(new.keys()) == [A, B]
    assert dict(new.entries()) == {B: answer("new")}
    assert new.recipes() == [RECIPE]
    (warning,) = warnings(caplog)
    assert "XCS621" in warning
    assert Keyring([OLD]).seal in warning


def test_an_entry_that_was_moved_or_changed_is_a_miss(place, caplog):
    cache = place.open()
    cache.put_many({A: answer()})
    sealed = inner(place).get_many([A])[A]
    inner(place).put_many({B: sealed})
    assert cache.get_many([B]) == {}
    assert "not authentic" in warnings(caplog)[0]
    for changed in (
        {"created_at": NOW + 1000},
        {"input_tokens": 1},
        {"model": "other"},
        {"text": sealed.text[:-8]},
        {"text": "no base64!"},
    ):
        inner(place).put_many({A: sealed._replace(**changed)})
        assert cache.get_many([A]) == {}
    inner(place).put_many({A: sealed})
    assert cache.get_many([A]) == {A: answer()}
    assert len(warnings(caplog)) == 1


def test_plain_entries_are_no_answers_for_who_encrypts(place, caplog):
    SqlitePlace.open(place, "")
    plain = SqlitePlace.opened(place, "")
    plain.put_many({A: answer("planted")})
    assert place.open().get_many([A]) == {}
    assert "they are not encrypted" in warnings(caplog)[0]


def test_encrypted_entries_are_no_answers_for_who_does_not(place, caplog):
    place.open().put_many({A: answer()})
    assert SqlitePlace.opened(place, "").get_many([A]) == {}
    assert "they are encrypted, and XCS_CACHE_KEY_ENV is not set" in warnings(caplog)[0]


def test_half_a_surrogate_in_a_model_does_no_harm(place):
    cache = place.open()
    cache.put_many({A: answer("\ud800", model="gpt\ud800")})
    assert cache.get_many([A])[A].text == "\ud800"


@pytest.mark.parametrize(
    "write", [bytes.hex, lambda key: base64.b64encode(key).decode(), lambda key: base64.urlsafe_b64encode(key).decode()]
)
def test_keys_are_hexadecimal_or_base64(write):
    keys = [bytes(range(number, number + 32)) for number in (0, 200)]
    written = " , ".join(map(write, keys))
    ring = Keyring.from_variable("NAME", written)
    assert ring.seal == Keyring([keys[0]]).seal
    assert ring.decrypt(Keyring([keys[1]]).encrypt("x", "y"), Keyring([keys[1]]).seal, "y") == "x"


@pytest.mark.parametrize("text", [None, "", "secret", "00" * 31, base64.b64encode(b"x" * 31).decode(), "00" * 32 + ",", "ü" * 32])
def test_what_is_no_key_is_said_and_not_shown(text):
    with pytest.raises(RuntimeTaskError, match="XCS611") as caught:
        Keyring.from_variable("CACHE_KEY", text)
    assert "CACHE_KEY" in str(caught.value)
    assert not text or text not in str(caught.value)


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(RuntimeTaskError, match=r"pip install 'xcs-airflow\[encryption\]'"):
        Keyring([OLD])


@pytest.mark.parametrize("scheme", ["sqlite:///", "file://"])
def test_a_variable_with_the_key_encrypts_a_cache_of_any_kind(tmp_path, monkeypatch, scheme):
    monkeypatch.setenv("CACHE_KEY", OLD.hex())
    address = f"{scheme}{tmp_path}/cache"
    cache = open_cache(address, key_env="CACHE_KEY")
    cache.put_many({A: answer("the secret answer")})
    assert cache.get_many([A]) == {A: answer("the secret answer")}
    assert open_cache(address).get_many([A]) == {}
    cache.close()
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_recipe_that_cannot_be_read_is_none(place):
    cache = place.open()
    cache.note_recipe(RECIPE)
    other = inner(place)
    for number, fields in enumerate(({}, {"sealed": 7}, {"sealed": json.dumps("x")})):
        other.note_recipe(Recipe(f"{number}.{Keyring([b'k' * 32]).seal}", "classify", fields))
    other.note_recipe(Recipe("bb", "classify", {"model": "gpt"}))
    assert cache.recipes() == [RECIPE]
