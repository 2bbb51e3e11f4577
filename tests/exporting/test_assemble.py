"""A whole bundle: every document is in it, the index tells the truth, and the Dockerfile builds what the platform starts."""

from __future__ import annotations

import hashlib
import json

import pytest

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting.assemble import assemble, tool_version
from xcs_airflow.exporting.bundle import INDEX, Bundle
from xcs_airflow.exporting.image import CODE_PATH, MANIFEST_PATH, RUNTIME_COMMAND, Image
from xcs_airflow.exporting.port import Capabilities
from xcs_airflow.manifest import Manifest
from xcs_airflow.plan import CloudExporter


class Plain:
    name = "plain"
    capabilities = Capabilities(supported={}, unsupported={})
    image_extras = ("aws",)

    def emit(self, plan, settings):
        return Bundle({"plain.json": json.dumps(settings).encode()})

    def check(self, bundle):
        return ()


class WithoutImage(Plain):
    image_extras = None


CODE = {"pipeline.py": b"def load(): ...\n", "data/tickets.jsonl": b"{}\n"}


@pytest.fixture
def plan(graph):
    return CloudExporter().export(graph)


def test_everything_travels_together(plan):
    bundle = assemble(plan, Plain(), {"region": "x"}, CODE)
    assert sorted(bundle.files) == [
        "Dockerfile",
        "bundle.json",
        "code/data/tickets.jsonl",
        "code/pipeline.py",
        "manifest.json",
        "plain.json",
        "plan.json",
    ]
    assert bundle.text("plain.json") == '{"region": "x"}'
    assert bundle.text("plan.json") == plan.to_json()
    assert Manifest.model_validate_json(bundle.files["manifest.json"]) == plan.manifest


def test_the_index_tells_every_other_file_and_what_made_it(plan):
    bundle = assemble(plan, Plain(), {}, CODE)
    index = json.loads(bundle.files[INDEX])
    others = {path: content for path, content in bundle.files.items() if path != INDEX}
    assert index.pop("files") == {path: hashlib.sha256(content).hexdigest() for path, content in others.items()}
    assert index == {
        "bundle_version": 1,
        "target": "plain",
        "pipeline": "small",
        "graph_digest": plan.graph_digest,
        "tool": {"name": "xcs-airflow", "version": tool_version()},
        "prices": plan.prices.model_dump(mode="json"),
    }


def test_the_same_plan_gives_the_same_bytes(any_graph):
    bundles = [assemble(CloudExporter().export(any_graph), Plain(), {}, CODE).files for _ in range(2)]
    assert bundles[0] == bundles[1]


def test_the_image_holds_what_containers_read(plan):
    lines = assemble(plan, Plain(), {}, CODE).text("Dockerfile").splitlines()
    assert "FROM python:3.12-slim" in lines
    assert f'RUN pip install --no-cache-dir --disable-pip-version-check "xcs-airflow[aws]=={tool_version()}"' in lines
    assert f"COPY manifest.json {MANIFEST_PATH}" in lines
    assert f"COPY code/ {CODE_PATH}/" in lines
    assert lines[-1] == "USER 10001:10001"
    assert not any(line.startswith(("ENTRYPOINT", "CMD")) for line in lines)
    assert RUNTIME_COMMAND[-2:] == ("--manifest", MANIFEST_PATH)


def test_the_user_chooses_base_and_requirements(plan):
    bundle = assemble(plan, Plain(), {}, CODE, image=Image("python:3.13-slim", b"polars==1\n"))
    text = bundle.text("Dockerfile")
    assert "FROM python:3.13-slim\n" in text
    assert "--requirement /opt/xcs/requirements.txt\n" in text
    assert bundle.text("requirements.txt") == "polars==1\n"


def test_a_pipeline_without_code_copies_none(plan):
    assert "COPY code/" not in assemble(plan, Plain(), {}, {}).text("Dockerfile")


def test_a_target_without_containers_gets_no_image(plan):
    bundle = assemble(plan, WithoutImage(), {}, CODE, image=Image(requirements=b"polars==1\n"))
    assert "Dockerfile" not in bundle.files
    assert "requirements.txt" not in bundle.files


def test_code_cannot_leave_its_folder(plan):
    with pytest.raises(ExportError, match="XCS505"):
        assemble(plan, Plain(), {}, {"../evil.py": b""})
