from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.canonical import MAX_DEPTH
from xcs_exporters.aws_batch.blocks import MAX_NESTING, InSeries, SideBySide, nest, waits, waits_asked_for


@st.composite
def graphs(draw):
    """Tasks that need some of those before them."""
    count = draw(st.integers(1, 14))
    return {str(task): [str(need) for need in range(task) if draw(st.integers(0, 3)) == 0] for task in range(count)}


@st.composite
def series_parallel(draw, depth=3):
    """A block, and the graph whose edges join every last task of a part to every first task of the next."""
    names = iter(range(1000))

    def grow(level):
        kind = draw(st.sampled_from(["task", "series", "parallel"])) if level else "task"
        if kind == "task":
            task = str(next(names))
            return {task: []}, [task], [task]
        parts = [grow(level - 1) for _ in range(draw(st.integers(2, 3)))]
        needs = {}
        for index, (inner, firsts, _) in enumerate(parts):
            before = parts[index - 1][2] if kind == "series" and index else []
            needs |= {task: [*own, *(before if task in firsts else [])] for task, own in inner.items()}
        if kind == "series":
            return needs, parts[0][1], parts[-1][2]
        return needs, [task for _, firsts, _ in parts for task in firsts], [task for _, _, lasts in parts for task in lasts]

    return grow(depth)[0]


def tasks_of(block):
    if isinstance(block, str):
        return [block]
    return [task for part in block.parts for task in tasks_of(part)]


def order_of(block):
    """Pairs of tasks of which the first has ended when the second begins."""
    if isinstance(block, str):
        return set()
    pairs = {pair for part in block.parts for pair in order_of(part)}
    if isinstance(block, InSeries):
        for index, part in enumerate(block.parts):
            pairs |= {(first, second) for earlier in block.parts[:index] for first in tasks_of(earlier) for second in tasks_of(part)}
    return pairs


def closure(needs):
    before = {}
    for task, direct in needs.items():
        before[task] = set(direct).union(*(before[need] for need in direct))
    return {(need, task) for task, all_needs in before.items() for need in all_needs}


def depth_of(block):
    return 0 if isinstance(block, str) else max(map(depth_of, block.parts)) + isinstance(block, SideBySide)


@given(graphs())
def test_every_task_is_there_once_and_no_edge_is_lost(needs):
    block = nest(needs)
    assert sorted(tasks_of(block)) == sorted(needs)
    assert order_of(block) >= closure(needs)


@given(graphs())
def test_waits_are_counted(needs):
    assert waits(nest(needs)) == len(order_of(nest(needs)))
    assert waits_asked_for(needs) == len(closure(needs))


@given(series_parallel())
def test_series_parallel_graphs_come_out_exactly(needs):
    assert order_of(nest(needs)) == closure(needs)


def test_a_diamond():
    assert nest({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}) == InSeries(("a", SideBySide(("b", "c")), "d"))


def test_chains_side_by_side_do_not_wait_for_each_other():
    needs = {"a": [], "b": [], "c": ["a"], "d": ["b"]}
    assert nest(needs) == SideBySide((InSeries(("a", "c")), InSeries(("b", "d"))))


def test_a_graph_without_an_exact_form_waits_at_a_level():
    needs = {"a": [], "b": [], "c": ["a"], "d": ["a", "b"]}
    assert nest(needs) == InSeries((SideBySide(("a", "b")), SideBySide(("c", "d"))))
    assert waits(nest(needs)) == waits_asked_for(needs) + 1


def test_one_task_is_a_block():
    assert nest({"only": []}) == "only"


def test_nesting_has_an_end():
    needs = {"c0": []}
    for i in range(1, 200):
        needs |= {f"c{i}": [f"c{i - 1}"], f"side{i}": [f"c{i}"]}
    needs["report"] = [f"side{i}" for i in range(1, 200)]
    block = nest(needs)
    assert depth_of(block) <= MAX_NESTING + 1
    assert 4 * depth_of(block) < MAX_DEPTH - 16
    assert sorted(tasks_of(block)) == sorted(needs)
    assert order_of(block) >= closure(needs)


def test_ten_thousand_tasks_in_a_row_are_no_problem():
    needs = {str(i): [str(i - 1)] if i else [] for i in range(10_000)}
    assert waits(nest(needs)) == 10_000 * 9_999 // 2
