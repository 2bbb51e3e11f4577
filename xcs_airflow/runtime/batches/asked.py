"""One step whose calls go through a batch API: which answers are there, which are not, and where they belong.

It knows keys, prompts and caches; it does not know batches.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from xcs_airflow.manifest import ModelCall, PrefixRule, ProviderBatch, Step
from xcs_airflow.runtime.attempt import Attempt
from xcs_airflow.runtime.batches.documents import Dossier
from xcs_airflow.runtime.books import Account, Price
from xcs_airflow.runtime.budget import Purse
from xcs_airflow.runtime.cache import Cache, CachedAnswer
from xcs_airflow.runtime.caches import cache_at, shared_cache
from xcs_airflow.runtime.models.batch import has_api
from xcs_airflow.runtime.models.provider import Message, ModelAnswer
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import recall
from xcs_airflow.runtime.results import segment
from xcs_airflow.runtime.steps import StepRunner

_WINDOW = 1000
_ASKED_DIGITS = 16

MECHANISM = "provider_batch"


@dataclass(frozen=True, slots=True)
class Asked:
    """One step of one shard, its question, and all that is known about its batches.

    Attributes:
        this: The start of the task.
        runner: What writes the prompts.
        step: The step.
        question: What it asks.
        terms: What the provider takes.
        dossier: What is written down about its batches.
        price: What calls cost.
        purse: What they may cost; None means no limit.
        taken: Keys in batches of other steps of the same task, which ask the same.
    """

    this: Attempt
    runner: StepRunner
    step: Step
    question: Question
    terms: ProviderBatch
    dossier: Dossier
    price: Price
    purse: Purse | None
    taken: frozenset[str] = frozenset()

    @classmethod
    def of(cls, this: Attempt, runner: StepRunner, step: Step, call: ModelCall, price: Price, purse: Purse | None) -> Asked | None:
        """A step of a task; None when its calls do not go through a batch API."""
        terms = this.owner.provider_batch
        question = runner.question(step, call)
        if terms is None or not has_api(question.target):
            return None
        return cls(this, runner, step, question, terms, dossier_of(this, question), price, purse)

    @property
    def prefix(self) -> PrefixRule | None:
        """What is to become of the part that its prompts share."""
        return None if self.step.call is None else self.step.call.prefix

    @property
    def account(self) -> Account:
        """Whose books its calls belong into."""
        return Account(self.step.id, self.question.model, MECHANISM)

    def book_name(self, batch: str) -> str:
        """The name of the segment of the ledger that a batch has for itself."""
        name = batch.removeprefix(f"{self.this.folder}/batches/")
        return f"{self.this.folder}/ledger/{segment(self.this.owner.id)}/batches/{name}.jsonl"

    def without_answer(self, left_out: Container[str]) -> Iterator[tuple[str, list[Message]]]:
        """The different prompts whose answers are not remembered, with their keys.

        Args:
            left_out: Keys that do not count.
        """
        prompts = self.runner.prompts(self.step, self.question)
        seen: set[str] = set()
        while window := list(islice(prompts, _WINDOW)):
            messages = [message for _, message in window]
            keys = self.question.keys(messages, [row for row, _ in window]) or []
            new = {key: message for key, message in zip(keys, messages, strict=True) if key not in seen and key not in left_out}
            seen |= new.keys()
            known = self._known(new)
            yield from ((key, message) for key, message in new.items() if key not in known)

    def remember(self, answers: Mapping[str, ModelAnswer]) -> None:
        """Keep answers where collecting finds them: other runs may take them, unless they are cut off or not to be shared.

        Raises:
            RuntimeTaskError: The place does not take them (XCS614).
        """
        question, (place, memory) = self.question, self._places()
        shared: dict[str, CachedAnswer] = {}
        own: dict[str, CachedAnswer] = {}
        for key, answer in answers.items():
            is_shared = question.rule is None or question.is_worth_keeping(answer)
            (shared if is_shared else own)[key] = question.remembered(answer)
        if question.recipe is not None and shared:
            place.note_recipe(question.recipe)
        for cache, kept in ((place, shared), (memory, own)):
            if kept:
                cache.put_many(kept)

    def _known(self, keys: Mapping[str, object]) -> set[str]:
        place, memory = self._places()
        known = set(recall(place, self.question, keys))
        if memory is not place and len(known) < len(keys):
            known |= recall(memory, self.question, [key for key in keys if key not in known]).keys()
        return known

    def _places(self) -> tuple[Cache, Cache]:
        """Where other runs look, and where only this one does."""
        settings = self.this.settings
        memory = cache_at(self.this.memory, settings)
        if self.question.rule is None or settings.cache_address == "off":
            return memory, memory
        return shared_cache(settings), memory


def dossier_of(this: Attempt, question: Question) -> Dossier:
    """What is written down about the batches of a question in the shard of a task, whatever code wrote its prompts."""
    place = f"{segment(question.name)}/{this.shard}-of-{this.owner.shards}/{segment(question.asked[:_ASKED_DIGITS])}"
    return Dossier(this.store, f"{this.folder}/batches/{place}")
