"""Rewrites what is generated from the code: goldens, dags/, schemas and the generated pages of docs/.

`python -m tools.regenerate golden | docs` rewrites, `--check` only says what is not current.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STARTERS = ROOT / "templates" / "starters"
PIPELINES = ROOT / "tests" / "pipelines"
GENERATED = {
    "golden": ("tests/golden", "dags", "docs/schemas"),
    "docs": ("docs/cli.md", "docs/starters"),
}


def golden_files() -> Iterator[tuple[str, bytes]]:
    """Goldens of every starter and of pipelines for tests on every target, an Airflow dags folder, and the published schemas."""
    from xcs_airflow.exporting.registry import exporter_names

    for starter in sorted(path.parent for folder in (STARTERS, PIPELINES) for path in folder.glob("*/pipeline.py")):
        for target in exporter_names():
            for path, content in starter_bundle(starter, target).items():
                # The code is in the repository already; its hashes are in bundle.json.
                if not path.startswith("code/"):
                    yield f"tests/golden/{starter.name}/{target}/{path}", content
                if target == "airflow" and starter.parent == STARTERS:
                    yield f"dags/{starter.name}/{path}", content
    for name, schema in schemas().items():
        yield f"docs/schemas/{name}.schema.json", (json.dumps(schema, indent=2, sort_keys=True) + "\n").encode()


def starter_bundle(starter: Path, target: str) -> dict[str, bytes]:
    """The files of one starter, or pipeline for tests, for one target, with the settings of a pyproject.toml beside it."""
    from xcs_airflow.authoring.load import load_pipeline
    from xcs_airflow.exporting.assemble import assemble
    from xcs_airflow.exporting.registry import load_exporter
    from xcs_airflow.exporting.settings import load_settings
    from xcs_airflow.passes import LLMGraphEnhancer
    from xcs_airflow.plan import CloudExporter

    pipeline = load_pipeline(str(starter / "pipeline.py"))
    plan = CloudExporter(target=target).export(LLMGraphEnhancer(target=target).enhance(pipeline.graph()))
    settings = load_settings(starter, {}).targets.get(target, {})
    return dict(assemble(plan, load_exporter(target), settings, pipeline.code()).files)


def schemas() -> dict[str, object]:
    """The published JSON Schemas by name."""
    from xcs_airflow.cost.profile import json_schema as profile_schema
    from xcs_airflow.ir.serde import json_schema as graph_schema
    from xcs_airflow.manifest import json_schema as manifest_schema
    from xcs_airflow.plan.cloud_graph import json_schema as plan_schema

    return {"graph": graph_schema(), "manifest": manifest_schema(), "plan": plan_schema(), "profile": profile_schema()}


def doc_files() -> Iterator[tuple[str, bytes]]:
    """The CLI reference from the commands' own help, and a page per starter."""
    yield "docs/cli.md", cli_reference().encode()
    for starter in sorted(path.parent for path in STARTERS.glob("*/pipeline.py")):
        yield f"docs/starters/{starter.name}.md", starter_page(starter).encode()


def cli_reference() -> str:
    """Every command with its help as printed."""
    from xcs_airflow.cli.export import command as export_command
    from xcs_airflow.cli.main import all_commands

    parts = ["# Command line\n\nGenerated from the commands' own `--help` by `make docs`.\n"]
    for name, command in [("xcs-export", export_command()), *((f"xcs {name}", command) for name, command in all_commands().items())]:
        context = command.make_context(name, [], resilient_parsing=True, terminal_width=100, max_content_width=100)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def starter_page(starter: Path) -> str:
    """A starter's README with its code."""
    readme = (starter / "README.md").read_text(encoding="utf-8").rstrip()
    code = (starter / "pipeline.py").read_text(encoding="utf-8").rstrip()
    return f"{readme}\n\n## The whole pipeline\n\n```python\n{code}\n```\n"


def main() -> int:
    """Rewrite or check, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*GENERATED, []], default=[])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if anything is not current")
    arguments = parser.parse_args()
    if not arguments.check and os.environ.get("CI"):
        print("refused: generated files are never rewritten in CI, only checked", file=sys.stderr)
        return 2
    stale: list[str] = []
    for kind in arguments.what or list(GENERATED):
        stale += bring_up_to_date(kind, golden_files() if kind == "golden" else doc_files(), write=not arguments.check)
    for path in stale:
        print(f"{'not current' if arguments.check else 'rewritten'}: {path}")
    if stale and arguments.check:
        print("run: make golden docs, and read the difference", file=sys.stderr)
        return 1
    return 0


def bring_up_to_date(kind: str, files: Iterator[tuple[str, bytes]], *, write: bool) -> list[str]:
    """Compare, and if asked rewrite; the paths that were not current, relative to the root."""
    wanted = dict(files)
    present = {path.relative_to(ROOT).as_posix(): path for root in GENERATED[kind] for path in _files_below(ROOT / root)}
    stale = sorted(path for path, content in wanted.items() if path not in present or present[path].read_bytes() != content)
    extra = sorted(set(present) - set(wanted))
    if write:
        for path in stale:
            target = ROOT / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wanted[path])
        for path in extra:
            present[path].unlink()
    return stale + extra


def _files_below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


if __name__ == "__main__":
    sys.exit(main())
