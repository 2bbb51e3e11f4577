"""Generated DAG files in real Airflow, which runs in processes of its own: it keeps global state and warns about itself."""

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.exporting.assemble import assemble
from xcs_airflow.ir import (
    BatchPolicy,
    Constant,
    Graph,
    LLMMetadata,
    LLMOperation,
    Message,
    Operation,
    Parameter,
    ParameterSpec,
    PipelinePolicy,
    Prompt,
    Ref,
)
from xcs_airflow.ir.cron import CronError, parse_cron
from xcs_airflow.plan import CloudExporter
from xcs_airflow.runtime import RuntimeSettings, read_output
from xcs_exporters.airflow import AirflowExporter
from xcs_exporters.airflow.markdown_text import plain

from .probed import GONE, OUTPUT, SHARDS, forget_one, probed_plan, results

pytestmark = pytest.mark.real

DRIVER = Path(__file__).with_name("airflow_driver.py")
NEVER_IMPORTED = b"raise SystemExit('airflow must not look for a dag in here')\n"
NASTY = "'\"\\\n\r\0\t{}%#()[]<>|`$&;:.\u2028\u2029\x85\ufeff\u202e\N{GRINNING FACE}ab"


def put(graph, folder, code=NEVER_IMPORTED):
    """Write the bundle of a graph under a DAGs folder."""
    return put_plan(CloudExporter().export(graph), folder, code)


def put_plan(plan, folder, code, **settings):
    """Write the bundle of a plan under a DAGs folder."""
    bundle = assemble(plan, AirflowExporter(), settings, {"pipeline.py": code})
    assert AirflowExporter().check(bundle) == ()
    for path, content in bundle.files.items():
        file = folder / plan.name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return plan


def ask_airflow(home, action, folder, *dag_ids, **environ):
    """What the driver says, run with a home of its own."""
    home.mkdir()
    answer = home / "answer.json"
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "XCS_"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
        **environ,
    }
    done = subprocess.run(
        [sys.executable, DRIVER, action, folder, answer, *dag_ids], env=variables, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(answer.read_text(encoding="utf-8"))


def fuzzed_graph(number):
    """A small graph whose texts are random and hostile, the same every time."""
    chance = random.Random(number)

    def text():
        return "".join(chance.choice(NASTY) for _ in range(chance.randrange(30))) + chance.choice(["", ".md", "{{ conn.x.password }}"])

    operation = Operation(
        id="load",
        func="pipeline:load",
        inputs={"p": Parameter(parameter=f"p{number}"), "c": Constant(constant=text())},
        env={"GREETING": text().replace("\0", "")},
        description=text(),
        source=text(),
        shards=chance.choice([None, 2]),
    )
    parameter = ParameterSpec(name=f"p{number}", has_default=True, default=[text().replace("\0", "")], value_schema={"type": "array"})
    policy = PipelinePolicy(schedule=chance.choice([None, "0 6 * * *"]), description=text())
    return Graph([operation], name=f"fuzz{number}", parameters=[parameter], policy=policy, source=text())


_ONCE = {}


@pytest.fixture
def parsed(graphs, tmp_path_factory):
    """Plans by DAG id, and what two Airflow processes with different hash seeds say of the folder they were put in."""
    if not _ONCE:
        folder = tmp_path_factory.mktemp("dags")
        made = [make() for make in graphs.values()] + [fuzzed_graph(number) for number in range(30)] + [graphs["wide"](1000)]
        made[-1] = made[-1].replace(name="table")
        plans = {graph.name: put(graph, folder) for graph in made}
        homes = tmp_path_factory.mktemp("homes")
        said = [ask_airflow(homes / seed, "parse", folder, PYTHONHASHSEED=seed) for seed in ("1", "2")]
        _ONCE.update(folder=folder, plans=plans, said=said)
    return _ONCE


def test_every_dag_imports_without_errors_or_warnings(parsed):
    said = parsed["said"][0]
    assert said["errors"] == {}
    assert said["warned"] == []
    assert set(said["dags"]) == set(parsed["plans"])


def test_tasks_edges_and_limits_are_those_of_the_plan(parsed):
    for name, plan in parsed["plans"].items():
        tasks = parsed["said"][0]["dags"][name]["tasks"]
        assert tasks == {
            task.id: {
                "after": sorted(task.needs),
                "shards": task.shards,
                "retries": task.retry.attempts - 1,
                "retry_delay": task.retry.delay_s,
                "timeout": task.timeout_s,
                "weight": task.priority,
                "rule": "absolute",
                "template_fields": [],
                "template_ext": [],
                "doc": tasks[task.id]["doc"],
            }
            for task in plan.tasks
        }


def test_the_schedule_and_the_parameters_are_those_of_the_pipeline(parsed):
    dag = parsed["said"][0]["dags"]["small"]
    assert dag["timetable"] == "0 6 * * * Europe/Berlin"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
    assert dag["params"]["path"]["value"] == "tickets.jsonl"
    assert dag["params"]["path"]["schema"] == {"type": "string"}


def test_texts_are_shown_and_defaults_are_kept_to_the_letter(parsed):
    for name, plan in parsed["plans"].items():
        dag = parsed["said"][0]["dags"][name]
        assert dag["description"] == (plain(plan.policy.description) or None)
        assert {key: param["value"] for key, param in dag["params"].items()} == {
            spec.name: spec.default for spec in plan.parameters if "\0" not in str(spec.default)
        }


def test_parsing_loads_no_runtime_no_sdk_and_no_code_of_the_pipeline(parsed):
    loaded = set(parsed["said"][0]["modules"])
    assert loaded & {"xcs_airflow", "xcs_exporters", "pipeline", "openai", "anthropic", "boto3", "genai_prices", "obstore"} == set()


def test_parsing_again_gives_the_same_dag_version(parsed):
    first, second = parsed["said"]
    assert first["hashes"] == second["hashes"]
    assert first["unstable"] == []


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_airflow_does_not_look_into_the_code_folder(parsed, syntax):
    assert parsed["said"][0]["found"][syntax] == sorted(f"{name}/{name}.py" for name in parsed["plans"])


def test_exit_codes_become_retries_and_final_failures(parsed, tmp_path):
    said = ask_airflow(tmp_path / "home", "exits", parsed["folder"], "small", "report")
    assert {code: row["raised"] and row["raised"].split(":")[0] for code, row in said.items()} == {
        "0": None,
        "75": "AirflowException",
        "1": "AirflowFailException",
        "2": "AirflowFailException",
    }
    assert dict(word.split("=", 1) for word in said["0"]["argv"]) == {
        "--manifest": str(parsed["folder"] / "small" / "manifest.json"),
        "--task": "report",
        "--run": "run",
        "--attempt": "2",
        "--shard": "0/1",
        "--params": '{"path": "{{ x }}"}',
    }


def test_a_poll_that_is_not_ready_is_rescheduled_and_one_that_failed_is_not(tmp_path):
    prompt = Prompt(messages=(Message(parts=("Hello",)),))
    batch = BatchPolicy(group="ask", mechanism="provider_batch")
    ask = LLMOperation(id="ask", prompt=prompt, metadata=LLMMetadata(model="openai/gpt-4.1-mini"), batch=batch)
    put(Graph([ask], name="batched"), tmp_path / "dags")
    said = ask_airflow(tmp_path / "home", "exits", tmp_path / "dags", "batched", "ask.poll")
    assert {code: row["raised"] and row["raised"].split(":")[0] for code, row in said.items()} == {
        "0": None,
        "75": "AirflowRescheduleException",
        "1": "AirflowFailException",
        "2": "AirflowFailException",
    }


CODE = b"""
import json, os
from pathlib import Path

def words():
    return ["a", "b", "c", "d"]

def mark(word, text):
    return [word, text]

def report(path, pairs, text, note):
    Path(path).write_text(json.dumps({"pairs": pairs, "text": text, "note": note, "env": os.environ["GREETING"]}))
"""


def test_text_reaches_the_code_of_the_pipeline_verbatim(tmp_path, hostile_texts):
    """The whole way: Airflow's task runner, the runtime, shards, parameters and environment."""
    everything = "\n".join(hostile_texts)
    greeting, folder, answer = everything.replace("\0", ""), tmp_path / "dags", tmp_path / "report.json"
    operations = [
        Operation(id="words", func="pipeline:words"),
        Operation(
            id="mark",
            func="pipeline:mark",
            inputs={"word": Ref(operation="words"), "text": Constant(constant=everything)},
            map_over=("word",),
            shards=3,
        ),
        Operation(
            id="-report",
            func="pipeline:report",
            inputs={
                "path": Parameter(parameter="path"),
                "pairs": Ref(operation="mark"),
                "text": Parameter(parameter="text"),
                "note": Parameter(parameter="note"),
            },
            env={"GREETING": greeting},
        ),
    ]
    parameters = [
        ParameterSpec(name="path", has_default=True, default=str(answer), value_schema={"type": "string"}),
        ParameterSpec(name="text", has_default=True, default=greeting),
        ParameterSpec(name="note", has_default=True, default=None, value_schema={"type": "string"}),
    ]
    put(Graph(operations, name="verbatim", parameters=parameters, output=Ref(operation="-report")), folder, CODE)
    ended = ask_airflow(tmp_path / "home", "run", folder, "verbatim", XCS_STORE=str(tmp_path / "store"))
    assert ended == {"verbatim": "success"}
    assert json.loads(answer.read_text(encoding="utf-8")) == {
        "pairs": [[word, everything] for word in "abcd"],
        "text": greeting,
        "note": None,
        "env": greeting,
    }


PROBED = b"""
def words():
    return [f"word {number}" for number in range(9)]

def say(answers):
    return " ".join(answers)
"""


def test_a_task_is_skipped_when_its_probe_finds_all_answers_and_asks_only_for_the_one_that_is_gone(tmp_path, counting):
    """The whole way: Airflow's branches and skips, also of a mapped task, with workers in one process; the GPU is a queue's name."""
    folder, store = tmp_path / "dags", tmp_path / "store"
    plan = put_plan(probed_plan("airflow"), folder, PROBED, gpu_queue="gpu")
    counting.reset()
    environ = {"XCS_STORE": str(store), "XCS_MODELS": json.dumps({"openai": {"endpoint": f"{counting.url}/v1"}})}
    ended, asked = [], []
    for home in ("empty", "full", "one is gone"):
        if home == "one is gone":
            forget_one(f"sqlite:///{tmp_path / 'cache.sqlite'}")
        before = counting.counts().answered
        ended.append(ask_airflow(tmp_path / home, "follow", folder, "probed", **environ)["probed"])
        asked.append(dict(counting.counts().answered - before))
    assert [run["state"] for run in ended] == ["success"] * 3
    around = {name: ["success"] for name in ("words", "ask.probe", "say", "title.probe")}
    done, spared = (["success"], ["skipped"])
    assert ended[0]["tasks"] == {**around, "ask": done * SHARDS, "title": done}
    assert ended[1]["tasks"] == {**around, "ask": spared * SHARDS, "title": spared}
    assert ended[2]["tasks"] == {**around, "ask": done * SHARDS, "title": spared}
    assert [len(asked[0]), asked[1], asked[2]] == [10, {}, {GONE: 1}]
    runs = [run["run"] for run in ended]
    assert results(store, runs[0]) == results(store, runs[1]) == results(store, runs[2])
    outputs = [read_output(plan.manifest, run_id=run, settings=RuntimeSettings(store=str(store))) for run in runs]
    assert outputs == [OUTPUT] * 3


FIELDS = st.lists(st.text(alphabet="0123456789*/,-LMONjan#?", min_size=1, max_size=5), min_size=5, max_size=5)
REAL_FIELDS = st.tuples(
    *(
        st.lists(
            st.builds("{}{}".format, st.integers(low, high) | st.just("*"), st.sampled_from(["", "", "/2"])), min_size=1, max_size=2
        ).map(",".join)
        for low, high in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    )
)


@settings(deadline=None)
@given(fields=FIELDS | REAL_FIELDS)
def test_airflow_takes_every_schedule_that_is_not_refused(fields):
    schedule = " ".join(fields)
    with suppress(CronError):
        parse_cron(schedule)
        assert croniter(schedule, datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime).year >= 2026
