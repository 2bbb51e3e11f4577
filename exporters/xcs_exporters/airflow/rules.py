"""What Airflow, or a careful reviewer, would refuse about a bundle: one function for each rule.

It knows files; it does not know the plan they were made from.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xcs_airflow.errors import Finding
from xcs_airflow.exporting.bundle import Bundle
from xcs_exporters.airflow.dag import THOUGH_SKIPPED
from xcs_exporters.airflow.dag_facts import DagFacts, read_dag
from xcs_exporters.airflow.dag_language import violations
from xcs_exporters.airflow.settings import KEY, MAX_TAG_LENGTH

IGNORE_FILE = ".airflowignore"
IGNORED = "code/\n"
"""Read as a glob, Airflow's default, and as a regular expression alike, it hides the modules of the pipeline."""

MAX_SOURCE_BYTES = 16 * 1024 * 1024 - 1
"""What the column `dag_code.source_code` holds on MySQL (MEDIUMTEXT; airflow/models/dagcode.py, 3.3.2)."""

RULES = {
    "AF01": "there is one DAG file",
    "AF02": "the DAG file is ASCII and parses",
    "AF03": "the DAG file holds nothing but the template's code and data",
    "AF04": "ids are keys of Airflow, and no two are equal",
    "AF05": "every edge joins two tasks of the DAG",
    "AF06": "tags fit",
    "AF07": "the DAG file fits into Airflow's database",
    "AF08": "Airflow does not look for DAGs in the code of the pipeline",
    "AF09": "the DAG's documentation is not taken for the name of a file",
    "AF10": "tasks, shards and edges are those of the manifest",
    "AF11": "the tasks that poll a provider, and no others, give their worker back while they wait",
    "AF12": "the tasks that probe, and no others, may spare the task they probe for, and what waits for that runs though it was skipped",
}
"""Rule ids, as they stand in findings, and what each demands."""


def check_bundle(bundle: Bundle) -> tuple[Finding, ...]:
    """Every finding about a bundle.

    Args:
        bundle: With or without the manifest.
    """
    findings = [*_check_ignore_file(bundle)]
    sources = [path for path in bundle.files if path.endswith(".py") and "/" not in path]
    if len(sources) != 1:
        return (*findings, _broken("AF01", f"there are {len(sources)}"))
    content = bundle.files[sources[0]]
    if len(content) > MAX_SOURCE_BYTES:
        findings.append(_broken("AF07", f"{sources[0]} has {len(content):,} bytes, the limit is {MAX_SOURCE_BYTES:,}"))
    tree = _parsed(content)
    if isinstance(tree, Finding):
        return (*findings, tree)
    strange = [_broken("AF03", f"{sources[0]}, {reason}") for reason in violations(tree)]
    if strange:
        return (*findings, *strange)
    try:
        facts = read_dag(tree)
    except ValueError as error:
        return (*findings, _broken("AF03", f"{sources[0]} cannot be read back: {error}"))
    return (*findings, *_check_ids(facts), *_check_dag(facts), *_check_manifest(bundle, facts))


def _broken(rule: str, reason: str) -> Finding:
    return Finding.of("XCS506", rule=rule, reason=reason, instead=f"{rule} demands: {RULES[rule]}")


def _parsed(content: bytes) -> ast.Module | Finding:
    try:
        return ast.parse(content.decode("ascii"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _broken("AF02", f"{type(error).__name__}: {error}")


def _check_ignore_file(bundle: Bundle) -> Iterator[Finding]:
    if bundle.files.get(IGNORE_FILE) != IGNORED.encode():
        yield _broken("AF08", f"{IGNORE_FILE} does not hold {IGNORED.strip()}")


def _check_ids(facts: DagFacts) -> Iterator[Finding]:
    counts = Counter(name for name, _ in facts.tasks)
    for name in (facts.dag_id, *counts):
        if not isinstance(name, str) or not re.fullmatch(KEY, name, re.ASCII):
            yield _broken("AF04", f"{name!r} is no key")
    for name, count in counts.items():
        if count > 1:
            yield _broken("AF04", f"there are {count} tasks {name!r}")
    for before, after in facts.edges:
        if before not in counts or after not in counts:
            yield _broken("AF05", f"{before!r} and {after!r} are not both tasks")


def _check_dag(facts: DagFacts) -> Iterator[Finding]:
    for tag in facts.tags:
        if len(tag) > MAX_TAG_LENGTH:
            yield _broken("AF06", f"{tag!r} has {len(tag)} characters, the limit is {MAX_TAG_LENGTH}")
    if facts.doc.endswith(".md"):
        yield _broken("AF09", "it ends in .md")


def _check_manifest(bundle: Bundle, facts: DagFacts) -> Iterator[Finding]:
    if "manifest.json" not in bundle.files:
        return
    tasks = json.loads(bundle.files["manifest.json"])["tasks"]
    pairs = (
        ("tasks", set(facts.tasks), {(task["id"], task.get("shards", 1)) for task in tasks}),
        ("edges", set(facts.edges), {(need, task["id"]) for task in tasks for need in task.get("needs", ())}),
    )
    for noun, ours, theirs in pairs:
        for name in sorted(ours ^ theirs):
            yield _broken("AF10", f"of the {noun}, {name} is only in the {'DAG' if name in ours else 'manifest'}")
    for task_id in sorted(facts.polls ^ {task["id"] for task in tasks if task.get("kind") == "poll"}):
        yield _broken("AF11", f"{task_id} {'is no poll' if task_id in facts.polls else 'would keep its worker'}")
    yield from _check_probes(tasks, facts)


def _check_probes(tasks: Sequence[Mapping[str, Any]], facts: DagFacts) -> Iterator[Finding]:
    """AF12."""
    probes = {task["id"]: task["part_of"] for task in tasks if task.get("kind") == "probe"}
    for task_id, spared in sorted(facts.probes.items() ^ probes.items()):
        yield _broken("AF12", f"{task_id} {'must not spare' if facts.probes.get(task_id) == spared else 'does not spare'} {spared}")
    waiting = {task["id"] for task in tasks if not set(probes.values()).isdisjoint(task.get("needs", ()))}
    for task_id in sorted(waiting ^ facts.rules.keys()):
        yield _broken(
            "AF12", f"{task_id} {'would be skipped with a task' if task_id in waiting else 'waits for no task'} that may be spared"
        )
    for task_id in sorted(waiting & facts.rules.keys()):
        if facts.rules[task_id] != THOUGH_SKIPPED:
            yield _broken("AF12", f"{task_id} has the trigger rule {facts.rules[task_id]!r}, not {THOUGH_SKIPPED!r}")
