"""Caches of every kind against a dict: whatever is done in whatever order, what is found is what a dict would hold."""

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from xcs_airflow.runtime.cache import CachedAnswer, Recipe

from .places import NOW, PLACES, key

TENANTS = st.sampled_from(["", "acme"])
KEYS = [key(number * 16**39, recipe) for number in range(4) for recipe in "ab"]
SOME_KEYS = st.lists(st.sampled_from(KEYS), max_size=6)
RECIPES = st.builds(Recipe, st.sampled_from(["aa", "bb"]), st.sampled_from(["one", "two"]), st.just({"model": "gpt"}))
TOKENS = st.none() | st.integers(0, 10**6)


class CacheMachine(RuleBasedStateMachine):
    """One place, two tenants, a clock that jumps, and what should be there."""

    kind = ""

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.clock = patch.object(time, "time", lambda: self.now)
        self.clock.start()
        self.folder = tempfile.TemporaryDirectory()
        self.place = PLACES[self.kind](Path(self.folder.name))
        self.answers = {"": {}, "acme": {}}
        self.damaged = {"": set(), "acme": set()}
        self.recipes = {"": set(), "acme": set()}
        self.caches = {}

    def teardown(self):
        self.place.close()
        self.folder.cleanup()
        self.clock.stop()

    @initialize()
    def open_all(self):
        self.caches = {tenant: self.place.open(tenant) for tenant in self.tenants}

    @property
    def tenants(self):
        return ["", "acme"] if self.place.shares else [""]

    def known(self, tenant):
        """The tenant, or the only one there is."""
        return tenant if tenant in self.caches else ""

    @rule(tenant=TENANTS, keys=SOME_KEYS, text=st.text(), age_s=st.integers(0, 1000), tokens=TOKENS, model=st.none() | st.text())
    def put(self, tenant, keys, text, age_s, tokens, model):
        tenant = self.known(tenant)
        answers = {key: CachedAnswer(f"billing {text}", tokens, tokens, model, self.now - age_s) for key in keys}
        self.caches[tenant].put_many(answers)
        self.answers[tenant].update(answers)
        self.damaged[tenant] -= answers.keys()

    @rule(tenant=TENANTS, keys=SOME_KEYS, ttl_s=st.none() | st.integers(0, 2000))
    def get(self, tenant, keys, ttl_s):
        tenant = self.known(tenant)
        expected = {
            key: answer
            for key, answer in self.readable(tenant).items()
            if key in keys and (ttl_s is None or answer.created_at + ttl_s > self.now)
        }
        assert self.caches[tenant].get_many(keys, ttl_s=ttl_s) == expected

    @rule(tenant=TENANTS, keys=SOME_KEYS)
    def remove(self, tenant, keys):
        tenant = self.known(tenant)
        there = {key for key in keys if self.answers[tenant].pop(key, None) is not None}
        self.damaged[tenant] -= there
        assert self.caches[tenant].remove(keys) == len(there)

    @rule(tenant=TENANTS, recipe=RECIPES)
    def note(self, tenant, recipe):
        tenant = self.known(tenant)
        self.caches[tenant].note_recipe(recipe)
        self.recipes[tenant].add(recipe.name)

    @precondition(lambda self: self.place.shares)
    @rule(tenant=TENANTS, is_closed=st.booleans())
    def open_again(self, tenant, is_closed):
        if is_closed:
            self.caches[tenant].close()
        self.caches[tenant] = self.place.open(tenant)

    @precondition(lambda self: self.place.shares and self.readable(""))
    @rule(data=st.data())
    def damage(self, data):
        damaged = data.draw(st.sampled_from(sorted(self.readable(""))))
        self.place.damage(damaged)
        self.damaged[""].add(damaged)

    @rule(offset_s=st.sampled_from([-3600, 0, 1, 60, 3600, 500_000]))
    def jump(self, offset_s):
        self.now = NOW + offset_s

    @rule(tenant=TENANTS, prefix=st.sampled_from(["", *(key[:40] for key in KEYS), *KEYS, "f"]))
    def list_keys(self, tenant, prefix):
        tenant = self.known(tenant)
        assert list(self.caches[tenant].keys(prefix)) == sorted(key for key in self.answers[tenant] if key.startswith(prefix))

    @invariant()
    def everything_is_as_it_should_be(self):
        for tenant, cache in self.caches.items():
            assert list(cache.entries()) == sorted(self.readable(tenant).items())
            assert {recipe.name for recipe in cache.recipes()} == self.recipes[tenant]

    def readable(self, tenant):
        return {key: answer for key, answer in self.answers[tenant].items() if key not in self.damaged[tenant]}


@pytest.mark.parametrize("kind", PLACES)
def test_a_cache_is_a_dict(kind):
    machine = type(f"Machine_{kind}", (CacheMachine,), {"kind": kind})
    often = settings(max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=often)
