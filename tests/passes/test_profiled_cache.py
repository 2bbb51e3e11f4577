"""What a cache saves where earlier runs tell how many answers were there before."""

from decimal import Decimal

from tests.cost.measured import asked, profile, run
from xcs_airflow.ir import Graph
from xcs_airflow.passes import CacheInsertionPass, PassContext

from .toys import llm, plain


def test_answers_that_are_there_before_are_money_saved():
    ask = llm("ask", "Name it: ", each="load", temperature=0)
    graph = Graph([plain("load", "words", items=10), ask])
    context = PassContext(profile=profile(run(ask=asked(ask, [100] * 20, [10] * 20, hits=10))))
    CacheInsertionPass()(graph, context)
    (decision,) = context.decisions
    assert decision.action == "applied"
    assert decision.saves_usd is not None
    assert decision.saves_usd > Decimal(0)
