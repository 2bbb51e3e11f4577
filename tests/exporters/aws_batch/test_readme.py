import re
import subprocess

import pytest

from xcs_airflow.exporting.plain_text import markdown
from xcs_airflow.ir import Graph, Operation, PipelinePolicy, Ref, Resources


def commands(text):
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))


def test_it_says_how_to_build_deploy_run_stop_and_delete(emit, graph):
    shell = commands(emit(graph).text("README.md"))
    for command in (
        "docker build",
        "docker push",
        "aws cloudformation deploy",
        "start-execution",
        "stop-execution",
        "redrive-execution",
        "aws cloudformation delete-stack",
        "deregister-job-definition",
    ):
        assert command in shell


def test_settings_are_filled_in(emit, graph):
    chosen = {"region": "eu-central-1", "image": "registry/image:1", "store": "s3://bucket/runs", "subnets": ["subnet-0a1b2c3d"]}
    shell = commands(emit(graph, **chosen).text("README.md"))
    for text in (
        "AWS_REGION=eu-central-1",
        "IMAGE=registry/image:1",
        "StoreUri=s3://bucket/runs",
        "--s3-bucket bucket ",
        "SubnetIds=subnet-0a1b2c3d ",
    ):
        assert text in shell


def test_commands_are_a_script(emit, any_graph):
    done = subprocess.run(["bash", "-n"], input=commands(emit(any_graph).text("README.md")), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_costs_and_what_was_left_out_are_told(emit, graph):
    text = emit(graph).text("README.md")
    assert "- About 360 model calls with an empty cache: about 0.0201 USD (0.0027 to 0.1507), by the prices of 2" in text
    assert "cannot do rate_limit_pools" in text
    assert "`tickets`, `classify_summarise`: 1 vCPU and 2048 MiB, the next size of Fargate above 1 vCPU and 512 MiB." in text


def test_a_pipeline_without_models_costs_its_starts_alone(emit, graphs):
    text = emit(graphs["wide"]()).text("README.md")
    assert "- 61 starts of tasks, which AWS bills" in text
    assert "model calls" not in text


def test_extra_waits_are_told(emit):
    needs = {"a": (), "b": (), "c": ("a",), "d": ("a", "b")}
    operations = [
        Operation(id=name, func="p:f", inputs={f"x{i}": Ref(operation=need) for i, need in enumerate(wanted)})
        for name, wanted in needs.items()
    ]
    assert "Some tasks wait for more than they need" in emit(Graph(operations, name="p")).text("README.md")


def test_what_an_unknown_price_leaves_out_is_told(emit, graphs):
    graph = graphs["small"]()
    unknown = [
        op.model_copy(update={"metadata": op.metadata.model_copy(update={"model": "nobody/x"})}) if op.kind == "llm" else op for op in graph
    ]
    text = emit(graph.replace(operations=unknown)).text("README.md")
    assert ": at least 0.0000 USD" in text
    assert "whose price is unknown" in text


def test_machines_are_listed(emit):
    graph = Graph([Operation(id="a", func="p:f", resources=Resources(gpu=2))], name="p")
    assert "| 1 vCPU, 512 MiB, 2 GPU on g6 | `a` |" in emit(graph).text("README.md")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Plain words, and no more", "Plain words, and no more"),
        ("two\nlines\r\n\N{LINE SEPARATOR}and a\0NUL", "two lines and a NUL"),
        ("<script>", r"\<script\>"),
        ("[a](http://b)", r"\[a\]\(http\:\/\/b\)"),
        ("```sh", r"\`\`\`sh"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("# title", r"\# title"),
        ("| cell |", r"\| cell \|"),
    ],
)
def test_text_of_others_is_words(text, expected):
    assert markdown(text) == expected


def test_hostile_text_is_in_no_command(emit, graphs, hostile_texts):
    text = emit(graphs["hostile"]()).text("README.md")
    assert not any(hostile in text for hostile in hostile_texts[:-1])  # the last one is words
    shell = commands(text)
    assert not any(word in shell for word in ("os._exit", "script>", "conn.x", "`id`", "$(id)"))


def test_a_description_stands_under_the_title(emit, graph):
    text = emit(graph.replace(policy=PipelinePolicy(description="Sorts *tickets*."))).text("README.md")
    assert text.startswith("# small on AWS Batch\n\nSorts \\*tickets\\*\\.\n")
