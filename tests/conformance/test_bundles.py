"""What holds of every bundle of every exporter."""

import json
import re

import pytest

from xcs_airflow.canonical import load_json
from xcs_airflow.errors import ExportError, GraphError
from xcs_airflow.exporting.assemble import assemble
from xcs_airflow.exporting.bundle import is_inside
from xcs_airflow.exporting.portable import unportable
from xcs_airflow.exporting.registry import exporter_names
from xcs_airflow.ir import Graph, Operation
from xcs_airflow.manifest import Manifest

from .readers import READERS

KEY_LIKE = re.compile(rb"\bsk-[\w-]{20,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|gh[pousr]_\w{36,}|-----BEGIN [A-Z ]*PRIVATE KEY")
ADDED = {"plan.json", "manifest.json", "Dockerfile", "bundle.json"}


def test_every_exporter_can_be_read_back():
    assert set(exporter_names()) == set(READERS)


def test_the_same_plan_gives_the_same_bytes(exporter, plan, bundle):
    assert exporter.emit(plan, {}).files == bundle.files


def test_the_platform_would_refuse_nothing(exporter, bundle):
    assert exporter.check(bundle) == ()


def test_the_whole_bundle_is_in_order_too(exporter, plan):
    whole = assemble(plan, exporter, {}, {"pipeline.py": b"def load(): ...\n"})
    assert exporter.check(whole) == ()
    assert list(unportable(whole.files)) == []
    assert all(is_inside(path) for path in whole.files)


def test_an_exporter_writes_only_what_is_the_platforms(exporter, bundle):
    assert ADDED & set(bundle.files) == set()
    assert not [path for path in bundle.files if path.startswith("code/")]
    assert "README.md" in bundle.files


def test_the_runtime_gets_the_manifest_as_it_is(exporter, plan):
    whole = assemble(plan, exporter, {}, {})
    assert Manifest.model_validate(load_json(whole.files["manifest.json"])) == plan.manifest


def test_json_files_are_strict_json_that_ends_in_a_line_end(bundle):
    for path in bundle.files:
        if path.endswith(".json"):
            load_json(bundle.files[path])
            assert bundle.files[path].endswith(b"\n")


def test_texts_have_no_characters_that_hide(bundle):
    for path in bundle.files:
        assert not re.search("[\0\r\x7f-\x9f\u2028\u2029\ufeff\u202a-\u202e]", bundle.text(path)), path


def test_files_that_were_damaged_are_noticed(exporter, bundle):
    for path in bundle.files:
        if path.endswith((".json", ".py")) and path != "variables.json":
            assert exporter.check(bundle.with_files({path: "{ this is ( neither"})) != (), path


def test_nothing_looks_like_a_key(bundle):
    assert not [path for path, content in bundle.files.items() if KEY_LIKE.search(content)]


def test_secrets_are_never_plain_variables(plan, bundle, read):
    names = {name for task in plan.tasks for name in task.secrets}
    for variables in read(bundle).variables.values():
        assert not names & set(variables)


def test_a_secret_written_out_never_reaches_an_exporter(exporter, plan_of):
    leak = Operation(id="load", func="pipeline:load", env={"OPENAI_API_KEY": f"sk-{'x' * 40}"})
    with pytest.raises(GraphError, match="XCS213"):
        exporter.emit(plan_of(Graph([leak])), {})


def test_unknown_settings_are_refused_with_the_nearest_name(exporter, plan):
    known = next(iter(exporter.settings_model.model_fields))
    with pytest.raises(ExportError) as caught:
        exporter.emit(plan, {f"{known}_": 1, "xyzzy": 2})
    assert {finding.code for finding in caught.value.findings} == {"XCS503"}
    assert len(caught.value.findings) == 2
    assert f"did you mean {known!r}?" in [finding.hint for finding in caught.value.findings]


def test_settings_are_immutable_and_may_all_be_left_out(exporter):
    settings = exporter.settings_model()
    assert type(settings).model_config["frozen"]
    json.dumps(settings.model_dump(mode="json"))
