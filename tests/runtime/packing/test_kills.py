"""A worker that is killed between the answer to a pack and its settlement, with `kill -9`, and one that goes on."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from xcs_airflow.ir import Constant, Graph
from xcs_airflow.ir.llm_ops import BatchPolicy, CachePolicy, LLMMetadata, LLMOperation
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import run_task, run_usage

from .conftest import PROMPT

TICKETS = [f"ticket {number}" for number in range(12)]
WORKER = """
import json, os, signal, sys
from xcs_airflow.manifest import Manifest
from xcs_airflow.runtime import run_task
from xcs_airflow.runtime.cache.sqlite import SqliteCache
from xcs_airflow.runtime.settings import RuntimeSettings

manifest, settings, place = sys.argv[1:]
put_many, left = SqliteCache.put_many, 2

def dying(cache, answers):
    global left
    left -= 1
    if left == 0 and place == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    put_many(cache, answers)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

SqliteCache.put_many = dying
run_task(Manifest.model_validate_json(manifest), "classify", run_id="run", settings=RuntimeSettings.model_validate_json(settings))
"""


@pytest.mark.parametrize("is_remembered", [True, False])
@pytest.mark.parametrize(("place", "asked_again"), [("before", 4), ("after", 0)])
def test_only_the_pack_that_was_not_remembered_is_asked_again(server, pack_settings, place, asked_again, is_remembered):
    """The call in doubt is possibly billed; the answers of other packs, and its own once they are safe, are not paid for again."""
    classify = LLMOperation(
        id="classify",
        prompt=PROMPT,
        inputs={"ticket": Constant(constant=TICKETS)},
        map_over=("ticket",),
        metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0, max_pack=4),
        cache=CachePolicy() if is_remembered else None,
        batch=BatchPolicy(group="classify", mechanism="packed", pack_size=4),
    )
    manifest = lower(Graph([classify], name="p"))
    arguments = (json.dumps(manifest.to_dict()), pack_settings.model_dump_json(), place)
    killed = subprocess.run([sys.executable, "-c", WORKER, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    run_task(manifest, "classify", run_id="run", settings=pack_settings)
    times = Counter(ticket for pack in server.packs for ticket in pack)
    assert set(times) == set(TICKETS)
    assert sum(count == 2 for count in times.values()) == asked_again
    assert max(times.values()) <= 2
    used = run_usage(pack_settings, "p", "run").total
    assert (used.calls, used.possibly_billed) == (3 if asked_again else 2, 1)
