import json

import pytest

from xcs_airflow.ir import Graph, Operation, PipelinePolicy, Ref
from xcs_airflow.plan import CloudExporter
from xcs_exporters.aws_batch.documents import StateMachine
from xcs_exporters.aws_batch.flow_rules import ended_before

MACHINE = "state-machine.asl.json"


def all_states(machine):
    is_loop = machine["States"][machine["StartAt"]]["Type"] == "Pass"
    asked_again = {name: state for name, state in machine["States"].items() if "Catch" in state}  # a loop runs one job
    for name, state in (asked_again if is_loop else machine["States"]).items():
        yield name, state
        for branch in state.get("Branches", ()):
            yield from all_states(branch)


def history(machine):
    """When each task begins and ends, played through the states with a clock of its own: task to (begin, end)."""

    def run(body, now):
        times = {}
        name = body["StartAt"]
        while name:
            state = body["States"][name]
            if state["Type"] == "Task":
                times[state["Parameters"]["Parameters"]["task"]] = (now, now + 1)
                now += 1
            elif state["Type"] == "Parallel":
                branches = [run(branch, now) for branch in state["Branches"]]
                times |= {task: span for inside, _ in branches for task, span in inside.items()}
                now = max(end for _, end in branches)
            name = state.get("Next") or next((way["Next"] for way in state.get("Catch", ()) if is_job(body, way["Next"])), None)
        return times, now

    def is_job(body, name):
        return body["States"][name]["Type"] == "Task"

    return run(machine, 0)[0]


def edges_of(bundle):
    """Pairs of tasks of which the first has always ended when the second begins."""
    times = history(json.loads(bundle.files[MACHINE]))
    return {(before, after) for before, (_, end) in times.items() for after, (begin, _) in times.items() if end <= begin}


def test_every_task_is_there_once_and_every_edge_is_kept(emit, any_graph):
    plan = CloudExporter().export(any_graph)
    bundle = emit(any_graph)
    tasks = [state["Parameters"]["Parameters"]["task"] for _, state in all_states(json.loads(bundle.files[MACHINE])) if "Resource" in state]
    assert sorted(tasks) == sorted(task.id for task in plan.tasks)
    assert edges_of(bundle) >= {(edge.before, edge.after) for edge in plan.edges}
    ended = ended_before(StateMachine.model_validate_json(bundle.files[MACHINE]))
    assert all(edge.before in ended[edge.after] for edge in plan.edges)


def test_every_job_is_waited_for_and_no_failure_is_caught_but_of_what_polls_or_probes(emit, any_graph, document):
    plan = CloudExporter().export(any_graph)
    polls = {task.id for task in plan.tasks if task.wait is not None or task.spares is not None}
    for _, state in all_states(document(emit(any_graph), MACHINE)):
        assert state["ResultPath"] is None
        assert ("Catch" in state) == (state["Type"] == "Task" and state["Parameters"]["Parameters"]["task"] in polls)
        if state["Type"] == "Task":
            assert state["Resource"] == "${SubmitJob}"
            assert [rule["ErrorEquals"] for rule in state["Retry"]] == [["Batch.AWSBatchException"]]


def test_names_of_states_are_unique_and_short(emit, any_graph, document):
    names = [name for name, _ in all_states(document(emit(any_graph), MACHINE))]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 80


def test_long_and_similar_ids_stay_apart(emit, document):
    stem = "x" * 120
    graph = Graph([Operation(id=f"{stem}{i}", func="pipeline:work") for i in range(3)], name="p")
    machine = document(emit(graph), MACHINE)
    assert len({name for name, _ in all_states(machine)}) == 4
    jobs = {state["Parameters"]["JobName"] for _, state in all_states(machine) if state["Type"] == "Task"}
    assert len(jobs) == 3
    assert max(map(len, jobs)) <= 128


def test_shards_are_an_array_and_one_start_is_none(emit, graphs, document):
    states = document(emit(graphs["sharded"]()), MACHINE)["States"]
    assert states["classify"]["Parameters"]["ArrayProperties"] == {"Size": 4}
    assert "ArrayProperties" not in states["tickets"]["Parameters"]


def test_a_job_is_told_task_run_and_parameters(emit, graph, document):
    submission = document(emit(graph), MACHINE)["States"]["report"]["Parameters"]
    assert submission["Parameters"] == {
        "task": "report",
        "run.$": "$$.Execution.Name",
        "params.$": "States.JsonToString($$.Execution.Input)",
    }
    assert submission["Tags"]["xcs:pipeline"] == "small"
    assert submission["Tags"]["xcs:task"] == "report"
    assert len(submission["Tags"]["xcs:digest"]) == 64


def test_a_deadline_ends_the_run(emit, graph, document):
    assert "TimeoutSeconds" not in document(emit(graph), MACHINE)
    late = graph.replace(policy=PipelinePolicy(deadline_s=90.5))
    assert document(emit(late), MACHINE)["TimeoutSeconds"] == 91


def test_chains_run_side_by_side(emit, graphs, document):
    machine = document(emit(graphs["wide"](3)), MACHINE)
    fan = machine["States"]["Side by side 1"]
    assert [sorted(branch["States"]) for branch in fan["Branches"]] == [[f"Work-{i}", f"source.{i}"] for i in range(3)]
    assert fan["Next"] == "join"


@pytest.mark.parametrize("tasks", [1, 2])
def test_the_smallest_graphs(emit, document, tasks):
    operations = [Operation(id=f"t{i}", func="pipeline:work", inputs={"x": Ref(operation="t0")} if i else {}) for i in range(tasks)]
    machine = document(emit(Graph(operations, name="p")), MACHINE)
    assert machine["StartAt"] == "t0"
    assert len(machine["States"]) == tasks
