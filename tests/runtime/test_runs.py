import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.results import name_in, segment
from xcs_airflow.runtime.runs import Run, all_runs, outputs_of, the_run
from xcs_airflow.runtime.store import LocalStore

COMMIT = b'{"fingerprint": "f", "parameters": "p", "form": "list", "count": 2, "sha256": "aa", "data": "there"}'
RUN = Run.named("p", "r")


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


def commit(store, step, shard, shards, data=COMMIT):
    store.put(f"{RUN.folder}/steps/{segment(step)}/{shard}-of-{shards}.json", data)


def test_a_step_is_finished_when_all_its_shards_are(store):
    commit(store, "load", 0, 1)
    for shard in (0, 2):
        commit(store, "half", shard, 4)
    store.put(f"{RUN.folder}/steps/half/1-of-4.3f1c.jsonl", b"data without a commit")
    (run,) = all_runs(store)
    assert (run.pipeline, run.run_id, run.finished_steps) == ("p", "r", 1)


def test_a_run_that_only_failed_is_a_run(store):
    store.put(f"{RUN.folder}/errors/load/0-of-1.1.json", b"{}")
    (run,) = all_runs(store)
    assert (run.run_id, run.finished_steps) == ("r", 0)


def test_outputs_are_what_commits_vouch_for(store):
    commit(store, "a/b", 1, 2)
    commit(store, "torn", 0, 1, b'{"finger')
    store.put(f"{RUN.folder}/steps/other/notes.txt", b"")
    (output,) = outputs_of(store, RUN)
    assert (output.step, output.shard, output.shards, output.count, output.sha256, output.data) == ("a/b", 1, 2, 2, "aa", "there")


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "50%", "schön", "\ud83d", "%2E"])
def test_names_are_read_back(name):
    assert name_in(segment(name)) == name


def test_a_run_is_found_by_a_name_that_is_too_long_for_a_folder(store):
    long = "x" * 500
    store.put(f"{Run.named('p', long).folder}/errors/a.json", b"")
    assert the_run(all_runs(store), long, "here").folder == Run.named("p", long).folder
    with pytest.raises(RuntimeTaskError, match="XCS734"):
        the_run(all_runs(store), "x" * 499, "here")
