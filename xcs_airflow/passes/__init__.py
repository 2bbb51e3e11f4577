"""Rewrites of graphs that keep what they compute: what runs, what is remembered, and what runs together."""

from xcs_airflow.passes.batch_prompts import PromptBatchingPass
from xcs_airflow.passes.deduplicate import Deduplicate
from xcs_airflow.passes.fuse_small_tasks import FuseSmallTasks
from xcs_airflow.passes.insert_cache import CacheInsertionPass
from xcs_airflow.passes.mark_prefixes import MarkPrefixes
from xcs_airflow.passes.pipeline import Explain, Observer, Pass, PassContext, Timing, Verify, print_decision, run_passes
from xcs_airflow.passes.place_on_hardware import PlaceOnHardware
from xcs_airflow.passes.probe_before_start import ProbeBeforeStart
from xcs_airflow.passes.prune import Prune
from xcs_airflow.passes.schedule import Schedule

PASSES: tuple[Pass, ...] = (
    Prune(),  # first: nothing else should spend thought on what nobody reads
    Deduplicate(),  # before grouping: a call that is not made needs no place in flight
    CacheInsertionPass(),  # before grouping: how many calls remain decides how many shards they need
    PromptBatchingPass(),  # it groups the calls that are really made
    MarkPrefixes(),  # after it, as it expects: how calls are made decides what they find in a prompt cache
    PlaceOnHardware(),  # before fusing: what a start costs depends on its size
    FuseSmallTasks(),  # it starts together what all others left as tasks
    ProbeBeforeStart(),  # after fusing: what is started, or spared, is a whole task
    Schedule(),  # last: which groups, shards and tasks there are decides who shares what a provider allows
)
"""The order in which `LLMGraphEnhancer` runs the passes."""

from xcs_airflow.passes.enhancer import LLMGraphEnhancer  # noqa: E402  # it reads PASSES

__all__ = [
    "PASSES",
    "CacheInsertionPass",
    "Deduplicate",
    "Explain",
    "FuseSmallTasks",
    "LLMGraphEnhancer",
    "MarkPrefixes",
    "Observer",
    "Pass",
    "PassContext",
    "PlaceOnHardware",
    "ProbeBeforeStart",
    "PromptBatchingPass",
    "Prune",
    "Schedule",
    "Timing",
    "Verify",
    "print_decision",
    "run_passes",
]
