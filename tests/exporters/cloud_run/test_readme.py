import re
from dataclasses import replace

import pytest

from xcs_airflow.exporting.plain_text import markdown, plain
from xcs_airflow.ir import Graph
from xcs_airflow.plan import CloudExporter
from xcs_exporters.cloud_run import CloudRunExporter


def test_it_tells_every_file_of_the_bundle(bundle):
    readme = bundle.text("README.md")
    files = {re.sub(r"jobs/.*", "jobs/*.json", path) for path in bundle.files} - {"README.md"}
    assert {path for path in files if f"`{path}`" not in readme} == set()


def test_what_is_known_of_the_account_is_filled_in(plan, account):
    readme = CloudRunExporter().emit(plan, account).text("README.md")
    assert "FILL-IN" not in readme
    assert f"export XCS_IMAGE={account['image']}  #" in readme


def test_it_tells_the_secrets_and_asks_for_the_role_to_read_them_only_then(bundle, make_plan, operation):
    assert "\n# the pipeline reads these secrets: openai-key\n" in bundle.text("README.md")
    assert "secretmanager.secretAccessor" in bundle.text("README.md")
    assert "secretAccessor" not in CloudRunExporter().emit(make_plan(operation()), {}).text("README.md")


def test_it_says_nothing_of_a_schedule_where_there_is_none(make_plan, operation):
    readme = CloudRunExporter().emit(make_plan(operation()), {}).text("README.md")
    assert "gcloud scheduler" not in readme
    assert "`scheduler.json`" not in readme


def test_it_tells_the_parameters_and_which_must_be_given(graph):
    specs = [graph.parameters[0], graph.parameters[0].model_copy(update={"name": "day", "has_default": False, "default": None})]
    graph = graph.replace(parameters=specs, policy=None)
    readme = CloudRunExporter().emit(CloudExporter().export(graph), {}).text("README.md")
    assert "\n- path\n- day (has no default)\n" in readme


def test_an_unknown_price_makes_the_cost_a_lower_bound(plan):
    cost = replace(plan.totals.cost_usd, unknown=("acme/own",))
    totals = plan.totals.model_copy(update={"cost_usd": cost})
    readme = CloudRunExporter().emit(plan.model_copy(update={"totals": totals}), {}).text("README.md")
    assert r"- Money for them: at least 0\.0201 USD per run, because no price is known for acme\/own; prices as of" in readme


def test_text_of_the_author_is_no_markup(hostile_texts, make_plan, operation):
    text = "\n".join([*hostile_texts, "# heading", "[link](https://example.com)", "| a | b |", "```", "www.example.com", "\u202egnirts"])
    plan = make_plan(operation(), name=text, description=text)
    readme = CloudRunExporter().emit(plan, {}).text("README.md")
    heading, description = readme.splitlines()[0].removeprefix("# ").removesuffix(" on Google Cloud Run"), readme.splitlines()[2]
    assert heading == description
    assert not re.search(r"(?<!\\)(?:\\\\)*[!-/:-@\[\]^_`{|}~]", heading)
    assert not re.search(r"https://example|www\.example|\u202e|\r|\0", readme)


def test_text_of_the_author_enters_no_command(hostile_texts, make_plan, operation):
    for text in hostile_texts:
        readme = CloudRunExporter().emit(make_plan(operation(), name=text, description=text, schedule="0 0 * * *"), {}).text("README.md")
        named = re.findall(r"gcloud (?:workflows|scheduler jobs) \w+ (\S+)", readme)
        assert len(set(named)) == 1
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,62}", named[0])


@pytest.mark.parametrize(("text", "expected"), [("a\r\nb\u2028c\0d", "a b c d"), ("  a  ", "a"), ("\u202eabc", "abc")])
def test_plain_text_is_one_line(text, expected):
    assert plain(text) == expected


def test_markdown_shows_text_as_it_is():
    assert markdown("*a* <b> `c` [d](e) f_g") == r"\*a\* \<b\> \`c\` \[d\]\(e\) f\_g"


def test_a_graph_without_operations_has_a_bundle():
    bundle = CloudRunExporter().emit(CloudExporter().export(Graph(name="empty")), {})
    assert CloudRunExporter().check(bundle) == ()
