"""What a platform will do is what the plan says: every task once, every edge kept."""

from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.ir import Graph, Operation, Ref
from xcs_airflow.plan import CloudExporter

from .readers import READERS, closure


def assert_runs_as_planned(emitted, plan):
    assert sorted(emitted.starts) == sorted((task.id, task.shards) for task in plan.tasks)
    edges = closure((edge.before, edge.after) for edge in plan.edges)
    assert edges - emitted.before == set()
    assert {(first, second) for first, second in emitted.before if first == second or (second, first) in emitted.before} == set()


def test_every_task_runs_once_and_every_edge_is_kept(plan, bundle, read):
    assert_runs_as_planned(read(bundle), plan)


def graph_of(needs):
    return Graph(
        [
            Operation(id=f"op{number}", func="a:b", inputs={str(need): Ref(operation=f"op{need}") for need in wanted if need < number})
            for number, wanted in enumerate(needs)
        ],
        name="random",
    )


@given(needs=st.lists(st.sets(st.integers(0, 8), max_size=3), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_so_it_is_for_any_graph(exporter, needs):
    plan = CloudExporter().export(graph_of(needs))
    bundle = exporter.emit(plan, {})
    assert_runs_as_planned(READERS[exporter.name](bundle), plan)
    assert exporter.check(bundle) == ()
