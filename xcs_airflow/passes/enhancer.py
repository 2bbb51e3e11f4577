"""All passes in their order, as one call.

It knows the order is `PASSES`; it does not know what a pass does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.profile import PipelineProfile
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.ir.check import check
from xcs_airflow.ir.graph import Graph
from xcs_airflow.passes import PASSES
from xcs_airflow.passes.pipeline import Observer, Pass, PassContext, Verify, run_passes


@dataclass(frozen=True)
class LLMGraphEnhancer:
    """Optimises graphs: `LLMGraphEnhancer().enhance(graph) -> Graph`.

    Attributes:
        prices: The price book; None takes that of the pinned data.
        passes: What to run, in order.
        target: For which platform, as after `--target`; None optimises for all alike.
        limits: What providers allow, by their names; who is not named has no limit.
        observers: Who watches.
        profile: What earlier runs of the pipeline measured; None when nothing was.
    """

    prices: PriceBook | None = None
    passes: Sequence[Pass] = PASSES
    observers: Sequence[Observer] = (Verify(),)
    target: str | None = None
    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    profile: PipelineProfile | None = None

    def enhance(self, graph: Graph, context: PassContext | None = None) -> Graph:
        """The optimised graph, with a decision for everything that was considered.

        Enhancing its own result changes nothing.

        Args:
            graph: A well-formed graph; it is not changed.
            context: Takes decisions and findings; by default a new one.

        Raises:
            GraphError: The graph is not well formed; the error carries every finding.
        """
        context = context or PassContext(prices=self.prices, profile=self.profile, target=self.target, limits=self.limits)
        check(graph)
        return run_passes(graph, self.passes, context, self.observers)
