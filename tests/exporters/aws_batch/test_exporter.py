import json
import subprocess
import sys

import pytest

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting.port import FEATURES
from xcs_airflow.plan import CloudExporter
from xcs_exporters.aws_batch import AwsBatchExporter

EXPORTER = AwsBatchExporter()

EMIT = """
import hashlib, json, sys
sys.path.insert(0, {tests!r})
from conftest import GRAPHS
from xcs_airflow.plan import CloudExporter
from xcs_exporters.aws_batch import AwsBatchExporter
bundles = {{name: AwsBatchExporter().emit(CloudExporter().export(make()), {{}}) for name, make in GRAPHS.items()}}
print(json.dumps({{name: bundle.hashes() for name, bundle in bundles.items()}}))
loaded = [name for name in ("boto3", "botocore", "jinja2", "airflow", "aiohttp") if name in sys.modules]
assert not loaded, loaded
"""


def texts_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def test_it_has_decided_about_every_feature():
    supported, unsupported = set(EXPORTER.capabilities.supported), set(EXPORTER.capabilities.unsupported)
    assert supported | unsupported == set(FEATURES)
    assert not supported & unsupported
    assert EXPORTER.capabilities.advisory <= unsupported


def test_a_bundle_holds_the_platform_s_files(emit, graph):
    names = [path for path in sorted(emit(graph).files) if not path.startswith("job-definitions/")]
    assert names == ["README.md", "schedule.json", "state-machine.asl.json", "template.json"]


def test_what_is_emitted_breaks_no_rule(any_graph):
    plan = CloudExporter().export(any_graph)
    bundle = EXPORTER.emit(plan, {}).with_files({"manifest.json": json.dumps(plan.manifest.to_dict())})
    assert EXPORTER.check(bundle) == ()


def test_bytes_are_the_same_twice_and_in_every_process(emit, graphs, request):
    script = EMIT.format(tests=str(request.config.rootpath / "tests"))
    mine = {name: emit(make()).hashes() for name, make in graphs.items()}
    for seed in ("0", "4711"):
        done = subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == mine


def test_a_setting_nobody_knows_is_refused(emit, graph):
    with pytest.raises(ExportError, match="did you mean 'store'"):
        emit(graph, stor="s3://bucket")


def test_hostile_text_arrives_verbatim_where_it_belongs(emit, graphs, hostile_texts, document):
    bundle = emit(graphs["hostile"]())
    wanted = "\n".join(hostile_texts).replace("\0", "")
    held = [text for text in texts_in(document(bundle, "template.json")) if hostile_texts[0] in text]
    assert held == [wanted]


def test_hostile_text_is_nowhere_else(emit, graphs, hostile_texts, document):
    bundle = emit(graphs["hostile"]())
    for path in bundle.files:
        if path.endswith(".json"):
            found = [text for text in texts_in(document(bundle, path)) if any(hostile in text for hostile in hostile_texts[:3])]
            assert len(found) == (path.startswith("job-definitions/") and "GREETING" in bundle.text(path)) + (path == "template.json")
    assert "script>alert" not in bundle.text("state-machine.asl.json")


def test_nothing_hostile_is_an_intrinsic_function(emit, graphs, document):
    def intrinsics(value):
        if isinstance(value, dict):
            for key, item in value.items():
                if key in ("Ref", "Fn::Sub", "Fn::GetAtt"):
                    yield json.dumps(item)
                yield from intrinsics(item)
        elif isinstance(value, list):
            for item in value:
                yield from intrinsics(item)

    assert not any("Token" in text for text in intrinsics(document(emit(graphs["hostile"]()), "template.json")))
