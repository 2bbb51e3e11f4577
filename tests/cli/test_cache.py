"""`xcs cache`: what is remembered, why something is not, and taking answers out, away and in."""

from __future__ import annotations

import json
import stat
import time

import pytest

from xcs_airflow.runtime.cache import CachedAnswer, open_cache
from xcs_airflow.runtime.keys import halves

PLACE = "sqlite:///.xcs/cache.sqlite"


@pytest.fixture
def ran(run_xcs, models, monkeypatch):
    """A pipeline ran once, as `one`."""
    monkeypatch.setenv("XCS_MODELS", models)
    assert run_xcs("run", "pipeline.py", "--run-id", "one").exit_code == 0
    yield
    open_cache(PLACE).close()


@pytest.fixture
def xcs_cache(ran, run_xcs):
    """Runs `xcs cache` with arguments; gives its stdout."""

    def run(*arguments):
        result = run_xcs("cache", *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def why_miss(ran, start_xcs):
    """Asks about `classify` in a process of its own, which reads the pipeline as it is now; gives its stdout."""

    def run(*arguments):
        result = start_xcs("cache", "why-miss", "pipeline.py", "classify", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def change(project, old, new):
    text = (project / "pipeline.py").read_text()
    assert old in text
    (project / "pipeline.py").write_text(text.replace(old, new))


def test_stats_say_what_is_there_and_what_it_is_worth(xcs_cache):
    first, _, headings, row = xcs_cache("stats").splitlines()
    assert first == "2 answers in sqlite:///.xcs/cache.sqlite, 0.000014 USD to ask again"
    assert headings.split()[:3] == ["operation", "model", "answers"]
    assert row.split()[:5] == ["classify", "openai/gpt-4.1-mini", "2", "20", "4"]
    document = json.loads(xcs_cache("stats", "--format", "json"))
    assert document["total"]["entries"] == document["holdings"][0]["entries"] == 2
    assert document["total"]["worth_usd"] == document["holdings"][0]["worth_usd"]
    assert document["holdings"][0]["operations"] == ["classify"]
    assert document["unreadable"] == 0


def test_stats_know_what_they_do_not_know(xcs_cache):
    answer = CachedAnswer("text", None, None, None, int(time.time()))
    open_cache(PLACE).put_many({"0" * 64: answer})
    first, *_, last = xcs_cache("stats").splitlines()
    assert "at least 0.000014 USD" in first
    assert last.split()[:7] == ["?", "?", "1", "0", "0", "4", "B"]
    assert last.split()[-1] == "unknown"


def test_tenants_are_counted_apart(xcs_cache, monkeypatch):
    monkeypatch.setenv("XCS_TENANT", "acme")
    assert xcs_cache("stats").startswith("0 answers of acme in ")


def test_nothing_is_missing_after_a_run(xcs_cache):
    text = xcs_cache("why-miss", "pipeline.py", "classify", "--run-id", "one")
    assert text == "2 answers are remembered for the way classify asks now\n3 of 3 prompts: remembered\n"


def test_a_changed_setting_is_named(why_miss, project):
    change(project, "temperature=0", "temperature=0, seed=7")
    text = why_miss("--run-id", "one")
    assert text.splitlines() == [
        "0 answers are remembered for the way classify asks now",
        "3 of 3 prompts: the same prompt was asked in another way (items 0, 1, 2)",
        "  seed: not set -> 7",
    ]
    document = json.loads(why_miss("--run-id", "one", "--item", "1", "--format", "json"))
    (verdict,) = document["verdicts"]
    assert (verdict["item"], verdict["reason"]) == ("1", "asked_differently")
    assert document["ways"] == [
        {
            "recipe": verdict["recipe"],
            "operations": ["classify"],
            "entries": 2,
            "differences": [{"field": "seed", "old": None, "new": 7}],
        }
    ]


def test_what_was_asked_alone_is_remembered_for_packs(why_miss, project):
    change(project, "temperature=0", 'temperature=0, pack=5, mechanism="packed"')
    assert why_miss("--run-id", "one").splitlines()[-1] == "3 of 3 prompts: remembered"


def test_without_prompts_it_says_how_else_the_operation_was_asked(why_miss, project):
    change(project, "max_tokens=8", "max_tokens=12")
    assert why_miss().splitlines() == [
        "0 answers are remembered for the way classify asks now",
        "2 are remembered for another way, by classify",
        "  max_tokens: 8 -> 12",
    ]


def test_a_changed_prompt_was_never_asked(why_miss, project):
    change(project, "Which team?", "Which team, please?")
    text = why_miss("--run-id", "one")
    assert text.splitlines() == [
        "2 answers are remembered for the way classify asks now",
        "3 of 3 prompts: this prompt is not in the cache, however it was asked (items 0, 1, 2)",
    ]


def test_another_route_is_named(xcs_cache):
    models = '{"openai": {"use": "ours/small"}, "ours": {"endpoint": "http://127.0.0.1:9/v1"}}'
    text = xcs_cache("why-miss", "pipeline.py", "classify", "--input", "ticket=a", "--models", models)
    assert "asked in another way\n" in text
    assert '  model: "gpt-4.1-mini" -> "small"\n' in text


def test_one_prompt_is_asked_about_by_its_inputs(xcs_cache):
    assert xcs_cache("why-miss", "pipeline.py", "classify", "--input", "ticket=b").endswith("1 of 1 prompts: remembered\n")
    assert "not in the cache" in xcs_cache("why-miss", "pipeline.py", "classify", "--input", "ticket=c")


def test_what_is_not_deterministic_is_not_remembered(why_miss, project):
    change(project, "temperature=0", "temperature=1, cacheable=False")
    assert "classify is not remembered for other runs" in why_miss()
    document = json.loads(why_miss("--format", "json"))
    assert document["is_remembered"] is False


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["clasify"], "XCS806"),
        (["load"], "XCS806"),
        (["classify", "--input", "tickte=a"], "XCS805"),
        (["classify", "--item", "1"], "XCS805"),
        (["classify", "--run-id", "one", "--item", "99"], "XCS805"),
        (["classify", "--run-id", "one", "--input", "ticket=a"], "XCS805"),
        (["classify", "--run-id", "two"], "XCS602"),
    ],
)
def test_what_cannot_be_looked_for_is_said(run_xcs, ran, codes, arguments, code):
    result = run_xcs("cache", "why-miss", "pipeline.py", *arguments, "--format", "json")
    assert codes(result) == [code]
    assert result.exit_code == (1 if code == "XCS602" else 2)


def test_all_is_purged_when_that_is_said(xcs_cache):
    assert xcs_cache("purge", "--all", "--dry-run") == "2 answers would be removed\n"
    assert xcs_cache("purge", "--all") == "2 answers were removed\n"
    assert xcs_cache("stats").startswith("0 answers in ")


def test_what_is_old_is_purged(xcs_cache):
    cache = open_cache(PLACE)
    kept, old = cache.keys()
    cache.put_many({old: CachedAnswer("B", 1, 1, None, int(time.time()) - 31 * 86_400)})
    assert xcs_cache("purge", "--older-than", "32d").startswith("0 answers were removed")
    assert xcs_cache("purge", "--older-than", "30d", "--model", "openai/gpt-4.1-mini").splitlines() == [
        "1 answers were removed",
        "  1 of openai/gpt-4.1-mini, asked by classify",
    ]
    assert list(cache.keys()) == [kept]


def test_what_an_operation_asks_is_purged(xcs_cache):
    cache = open_cache(PLACE)
    cache.put_many({"0" * 64: CachedAnswer("other", 1, 1, None, int(time.time()))})
    document = json.loads(xcs_cache("purge", "--operation", "classify", "--format", "json"))
    assert document["entries"] == 2
    assert document["origins"] == [{"operations": ["classify"], "model": "openai/gpt-4.1-mini", "entries": 2}]
    assert list(cache.keys()) == ["0" * 64]


@pytest.mark.parametrize(
    "options",
    [[], ["--all", "--older-than", "1d"], ["--older-than", "soon"], ["--operation", "clasify"], ["--model", "gpt"]],
)
def test_a_purge_that_is_not_clear_removes_nothing(run_xcs, ran, codes, options):
    result = run_xcs("cache", "purge", *options, "--format", "json")
    assert codes(result) == ["XCS805"]
    assert result.exit_code == 2
    assert len(list(open_cache(PLACE).keys())) == 2


def test_an_export_is_taken_in_elsewhere(xcs_cache, run_xcs, project, server):
    assert xcs_cache("export", "answers.jsonl") == ""
    assert stat.S_IMODE((project / "answers.jsonl").stat().st_mode) == 0o600
    elsewhere = f"file://{project}/elsewhere"
    told = xcs_cache("import", "answers.jsonl", "--cache", elsewhere)
    assert told == "2 answers added, 0 replaced by newer ones, 0 were there already, 0 lines damaged\n"
    assert dict(open_cache(elsewhere).entries()) == dict(open_cache(PLACE).entries())
    server.questions.clear()
    assert run_xcs("run", "pipeline.py", "--cache", elsewhere).exit_code == 0
    assert server.questions == {}
    assert "classify" in xcs_cache("stats", "--cache", elsewhere)


def test_an_import_keeps_what_is_newer_and_leaves_out_what_is_damaged(xcs_cache, project):
    xcs_cache("export", "answers.jsonl")
    cache = open_cache(PLACE)
    (newer, mine), (older, theirs) = cache.entries()
    cache.put_many(
        {
            newer: CachedAnswer("mine", 1, 1, None, mine.created_at + 10),
            older: CachedAnswer("mine", 1, 1, None, theirs.created_at - 10),
        }
    )
    lines = (project / "answers.jsonl").read_text().splitlines()
    damaged = [lines[-1].replace('"A"', '"X"').replace('"B"', '"X"'), '{"key": "../x", "entry": []}', "not json", "7", '{"recipe": 3}', ""]
    (project / "answers.jsonl").write_text("\n".join([*lines, *damaged]))
    document = json.loads(xcs_cache("import", "answers.jsonl", "--format", "json"))
    counts = {name: document[name] for name in ("added", "replaced", "kept", "damaged", "recipes")}
    assert counts == {"added": 0, "replaced": 1, "kept": 1, "damaged": 5, "recipes": 1}
    assert cache.get_many([newer, older]) == {newer: CachedAnswer("mine", 1, 1, None, mine.created_at + 10), older: theirs}


def test_an_export_of_an_encrypted_cache_can_be_read_again(xcs_cache, run_xcs, project, monkeypatch):
    xcs_cache("export", "answers.jsonl")
    monkeypatch.setenv("KEY", "0f" * 32)
    monkeypatch.setenv("XCS_CACHE_KEY_ENV", "KEY")
    sealed = "sqlite:///sealed.sqlite"
    xcs_cache("import", "answers.jsonl", "--cache", sealed)
    xcs_cache("export", "again.jsonl", "--cache", sealed)
    assert (project / "again.jsonl").read_text() == (project / "answers.jsonl").read_text()
    open_cache(sealed, key_env="KEY").close()


@pytest.mark.parametrize("content", ["", "{}", '{"xcs_cache": 2}', "not json", '["xcs_cache"]'])
def test_what_is_no_export_is_refused(run_xcs, ran, codes, project, content):
    (project / "answers.jsonl").write_text(content)
    result = run_xcs("cache", "import", "answers.jsonl", "--format", "json")
    assert codes(result) == ["XCS622"]


def test_files_may_be_pipes(xcs_cache, run_xcs):
    exported = run_xcs("cache", "export", "-").stdout
    assert len(exported.splitlines()) == 4
    result = run_xcs("cache", "import", "-", input=exported)
    assert "2 were there already" in result.stdout


@pytest.mark.parametrize("command", [["export", "no/such/folder.jsonl"], ["import", "missing.jsonl"]])
def test_files_that_cannot_be_used_are_said(run_xcs, ran, codes, command):
    assert codes(run_xcs("cache", *command, "--format", "json")) == ["XCS805"]


@pytest.mark.parametrize("place", ["memory", "off", "sqlite:///missing.sqlite", "file:///missing/folder"])
def test_a_cache_that_is_not_there_is_said_and_not_made(run_xcs, project, codes, place):
    assert codes(run_xcs("cache", "stats", "--cache", place, "--format", "json")) == ["XCS805"]
    assert not (project / "missing.sqlite").exists()


def test_entries_that_cannot_be_read_are_counted_and_go_with_all(xcs_cache, monkeypatch):
    monkeypatch.setenv("KEY", "0f" * 32)
    monkeypatch.setenv("XCS_CACHE_KEY_ENV", "KEY")
    assert xcs_cache("stats").endswith("2 entries cannot be read: they are damaged, or encrypted with another key\n")
    text = xcs_cache("why-miss", "pipeline.py", "classify", "--run-id", "one")
    assert "3 of 3 prompts: there is an entry that cannot be read" in text
    assert xcs_cache("purge", "--all") == "2 answers were removed\n"
    open_cache(PLACE, key_env="KEY").close()


def test_operations_that_ask_alike_share_their_answers(run_xcs, project, models):
    change(
        project,
        "    return report(classify.map(ticket=load(path)))",
        "    tickets = load(path)\n    return report(classify.map(ticket=tickets)), report(sort.map(ticket=tickets))",
    )
    change(
        project,
        "@op\ndef report",
        'sort = llm("openai/gpt-4.1-mini", "Which shelf? {ticket}", max_tokens=8, temperature=0)\n\n\n@op\ndef report',
    )
    assert run_xcs("run", "pipeline.py", "--models", models).exit_code == 0
    keys = list(open_cache(PLACE).keys())
    assert len({halves(key)[1] for key in keys}) == 1
    document = json.loads(run_xcs("cache", "purge", "--operation", "sort", "--format", "json").stdout)
    assert document["origins"] == [{"operations": ["classify", "sort"], "model": "openai/gpt-4.1-mini", "entries": 4}]
    open_cache(PLACE).close()
