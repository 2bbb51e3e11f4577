"""Nothing that users meet is undocumented."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from xcs_airflow import ir
from xcs_airflow.errors import CODES
from xcs_airflow.exporting.port import FEATURES
from xcs_airflow.exporting.registry import exporter_names, load_exporter
from xcs_airflow.ir.serde import GraphDocument
from xcs_airflow.passes import PASSES

DOCS = Path(__file__).parents[2] / "docs"


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def section(text, title):
    """What stands under a heading, up to the next of the same or a higher level."""
    match = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"no heading {title!r}"
    return match[2]


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_has_a_heading(code):
    assert len(section(page("errors.md"), code).split()) >= 8


def test_no_heading_explains_a_code_that_does_not_exist():
    assert set(re.findall(r"^#+ (XCS\d+)$", page("errors.md"), re.MULTILINE)) == set(CODES)


@pytest.mark.parametrize("name", exporter_names())
def test_every_exporter_has_a_page_that_names_what_it_cannot_do(name):
    text = page(f"targets/{name}.md")
    for feature in FEATURES:
        assert f"`{feature}`" in text
    for setting in load_exporter(name).settings_model.model_fields:
        assert f"`{setting}`" in text


@pytest.mark.parametrize("pass_", PASSES, ids=lambda pass_: type(pass_).__name__)
def test_every_pass_has_a_heading(pass_):
    assert section(page("passes.md"), type(pass_).__name__).strip()


MODELS = [
    ir.Operation,
    ir.LLMOperation,
    ir.LLMMetadata,
    ir.CachePolicy,
    ir.BatchPolicy,
    ir.Resources,
    ir.Retry,
    ir.PipelinePolicy,
    ir.ParameterSpec,
    ir.Decision,
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_of_the_graph_has_a_row(model):
    inherited = set(ir.Operation.model_fields) if model is ir.LLMOperation else set()
    text = section(page("ir.md"), model.__name__)
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    names = {field.name for field in fields(model)} if is_dataclass(model) else set(model.model_fields)
    assert rows == names - inherited


def test_every_field_of_the_document_is_named():
    text = section(page("ir.md"), "JSON")
    assert all(f"`{name}`" in text for name in GraphDocument.model_fields)


def test_every_decision_record_is_listed():
    listed = set(re.findall(r"\((\d{4}[\w-]+\.md)\)", page("adr/README.md")))
    assert listed == {path.name for path in (DOCS / "adr").glob("0*.md")}


def test_every_link_between_pages_leads_somewhere():
    root = DOCS.parent
    pages = [*DOCS.rglob("*.md"), root / "README.md", root / "CHANGELOG.md"]
    broken = [
        f"{source.relative_to(root)}: {target}"
        for source in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", source.read_text(encoding="utf-8"))
        if not (source.parent / target).exists()
    ]
    assert broken == []
