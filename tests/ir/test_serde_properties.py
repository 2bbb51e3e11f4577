"""Whatever the graph, its JSON form is the graph."""

from hypothesis import given, settings

from xcs_airflow.ir import dumps, loads
from xcs_airflow.passes import LLMGraphEnhancer

from ..passes.strategies import graphs  # noqa: TID252  # the generator of graphs lives where most of its users are


@settings(max_examples=100, deadline=None)
@given(graph=graphs())
def test_a_graph_comes_back_from_its_json_form(graph):
    again = loads(dumps(graph))
    assert again == graph
    assert again.digest() == graph.digest()
    assert dumps(again) == dumps(graph)


@settings(max_examples=30, deadline=None)
@given(graph=graphs())
def test_an_optimised_graph_comes_back_with_its_decisions(graph):
    optimised = LLMGraphEnhancer().enhance(graph)
    assert loads(dumps(optimised)) == optimised
