"""What can go wrong, as data: one table of codes, findings built from facts, and the tree of exceptions that carry them.

It knows how a finding reads; it does not know when one is due. Callers give facts, the table gives the words:

    raise GraphError.because("XCS204", operation="report", place="triage.py:31", name="tikets", known=("tickets",))
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

Severity = Literal["error", "warning"]

_SHOWN = 8  # known names listed when none is near


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table: the words of a finding and what to do about it.

    Attributes:
        message: A format string over the facts the caller gives.
        hint: What to write instead; a format string over the same facts, or empty.
    """

    message: str
    hint: str = ""


CODES: dict[str, Code] = {
    # 1xx: authoring and tracing
    "XCS101": Code("`{what}` needs a value that is known only when the pipeline runs", "{instead}"),
    "XCS102": Code("{function} has no input named {name!r}", "{nearest}"),
    "XCS103": Code("{function} needs a value for {missing}", "pass it by name"),
    "XCS104": Code("{value!r} cannot become part of a graph", "pass JSON values (text, numbers, lists, dicts), parameters, or results of other steps"),
    "XCS105": Code("{name!r} cannot be found again by a worker: {reason}", "move the function to the top level of an importable module"),
    "XCS106": Code("{function} cannot map over {name!r}: {reason}", "{instead}"),
    "XCS107": Code("the template of {function} has no input to fill", "write the input's name in braces, as in {{ticket}}, or give the prompt as a function"),
    "XCS108": Code("the type {type} in {function} cannot be described as JSON", "use str, int, float, bool, Literal, list, dict, a dataclass or a pydantic model"),
    "XCS109": Code("a pipeline cannot return {value!r}", "return the result of a step, or a tuple or dict of results"),
    "XCS110": Code("{setting} = {value!r} is not valid for @{decorator}: {reason}", "{instead}"),
    "XCS111": Code("tracing {function} failed: {reason}"),
    "XCS112": Code("{function}.{verb} needs a function that returns {expected}, and this one returns {type}", "{instead}"),
    "XCS113": Code("{what} was used outside the pipeline it belongs to", "pass it to steps of the pipeline that made it, and return it from there"),
    "XCS114": Code("{function} takes {count} inputs, {given} were given", "its inputs are: {known_list}"),
    "XCS115": Code("{function} returned {value!r}, which is no prompt", "return text, or a list of messages with a role and a content"),
    # 2xx: graphs
    "XCS201": Code("the id {name!r} is not valid", "use 1 to 250 of: ASCII letters, digits, '_', '-', '.'"),
    "XCS202": Code("the id {name!r} is used {count} times", "every operation needs an id of its own; also at: {places}"),
    "XCS203": Code("the input {input!r} reads {name!r}, which is not in the graph", "{nearest}"),
    "XCS204": Code("the input {input!r} reads the parameter {name!r}, which the graph does not declare", "{nearest}"),
    "XCS205": Code("the operations wait for each other in a circle: {cycle}", "remove one of these edges"),
    "XCS206": Code("it maps over {name!r}, which is not one of its inputs", "{nearest}"),
    "XCS207": Code("it has {what}", "an operation has exactly one of: func, prompt, prompt_func"),
    "XCS208": Code("{name!r} is not the address of a function", 'write "package.module:function"'),
    "XCS209": Code("it maps over {first!r} and {second!r}, whose items do not belong together", "map over collections that come from the same list, or join them in an operation of your own"),
    "XCS210": Code("the prompt uses {name!r}, which is not one of its inputs", "{nearest}"),
    "XCS211": Code("{field} = {value} is out of range", "{range}"),
    "XCS212": Code("the output of the graph reads {name!r}, which is not in the graph", "{nearest}"),
    "XCS213": Code("the environment variable {name!r} looks like a secret written out", 'pass it by reference: secrets={{{name!r}: "name-in-the-secret-store"}}'),
    "XCS214": Code("the schedule {schedule!r} is no cron expression: {reason}", "{instead}"),
    "XCS215": Code("there is no time zone {name!r}", "write an IANA name, as in Europe/Berlin"),
    "XCS216": Code("nobody gives a scheduled run the parameter {name!r}", "give it a default"),
    "XCS217": Code("its items cannot be packed: {reason}", "{instead}"),
    "XCS218": Code("operations of one task are spread over different shards: {shards}", "give all operations of the {kind} {name!r} the same shards, or take out of it what has others"),
    "XCS220": Code("the document is not a graph: {reason}", "see docs/ir.md for the format"),
    "XCS221": Code("the document is too large: {size} {unit}, the limit is {limit}"),
    "XCS222": Code("the key {name!r} stands twice in one object"),
    "XCS223": Code("the document has schema_version {version}, this release reads {known_list}", "export it again with this release, or install the release that wrote it"),
    "XCS224": Code("at {where}: {reason}", "{nearest}"),
    # 3xx: passes
    "XCS301": Code("the pass {name} failed and was left out: {reason}", "the graph is as it was before this pass; please report this"),
    "XCS302": Code("the pass {name} returned a graph that is not well formed"),
    # 4xx: plan and cost
    "XCS401": Code("the expected cost of {expected} USD is over the budget of {budget} USD", "raise the budget, choose a cheaper model, or lower max_tokens"),
    "XCS402": Code("no price is known for {model}", "give one in a price file (--prices FILE); until then totals are lower bounds"),
    "XCS403": Code("the price file {file} is not valid: {reason}", "see docs/costs.md for the format"),
    "XCS404": Code("the expected duration of {expected} is over the deadline of {deadline}", "raise the deadline or the number of shards"),
    "XCS405": Code("the worst-case cost of {high} USD is over the budget of {budget} USD", "the expected cost is within it"),
    "XCS406": Code("the profile {file} cannot be used: {reason}", "move it away, or name another with --profile; --no-profile does without"),
    # 5xx: exporters and bundles
    "XCS501": Code("there is no exporter named {name!r}", "{nearest}"),
    "XCS502": Code("{target} cannot do {feature}: {reason}", "{instead}"),
    "XCS503": Code("the setting {name!r} of {target} is not valid: {reason}", "{nearest}"),
    "XCS504": Code("{path} exists and was not written by xcs-export", "choose another folder, or move the file away"),
    "XCS505": Code("{path} would lie outside the output folder"),
    "XCS506": Code("{rule}: {reason}", "{instead}"),
    "XCS507": Code("the schedule {schedule!r} cannot be expressed on {target}: {reason}", "{instead}"),
    "XCS508": Code("two operations get the same name {name!r} on {target}", "rename one of them"),
    "XCS509": Code("the exporter {name!r} does not load: {reason}", "{instead}"),
    "XCS510": Code("{path!r} cannot be a file on every system: {reason}", "rename what it comes from"),
    "XCS511": Code("{path} was changed since xcs-export wrote it", "change the pipeline instead; to give up the changes, delete the file"),
    "XCS512": Code("{path} is a symbolic link, which xcs-export does not follow", "choose another folder, or remove the link"),
    "XCS513": Code("{path} cannot be written: {reason}"),
    "XCS514": Code("two pipelines are named {name!r}: {places}", "rename one of them, or export them to different folders"),
    "XCS515": Code("the image setting {name!r} is not valid: {reason}", "{instead}"),
    "XCS516": Code("the calls cannot go through a provider's batch API: {reason}", "{instead}"),
    # 6xx: one task at run time
    "XCS601": Code("the task {name!r} is not in the manifest", "{nearest}"),
    "XCS602": Code("the output of {name!r} is not in the store", "run that task first, in the same run"),
    "XCS603": Code("{function} raised {error}", "the traceback is in the log above"),
    "XCS604": Code("{function} returned a value that is not JSON: {reason}", "return text, numbers, lists, dicts, dataclasses or pydantic models"),
    "XCS605": Code("{address!r} cannot be imported: {reason}", "is the module part of the bundle's code/ folder or installed in the image?"),
    "XCS606": Code("the manifest cannot be read: {reason}"),
    "XCS607": Code("the parameter {name!r} is {reason}", "{nearest}"),
    "XCS608": Code("the store cannot be used: {reason}"),
    "XCS609": Code("the shard {shard!r} is not valid for {name!r}, which has {shards}", "write INDEX/COUNT, as in 0/{shards}"),
    "XCS610": Code("the items of {first!r} and {second!r} do not belong together: {reason}"),
    "XCS611": Code("the environment variable {name} is not valid: {reason}", "see docs/runtime.md"),
    "XCS612": Code("the input {input!r} cannot be mapped over: it is {type}, not a list", "give a list, or leave out .map"),
    "XCS613": Code("the input {input!r} of {function} does not fit its annotation: {reason}"),
    "XCS614": Code("the cache cannot be used: {reason}", "XCS_CACHE=off runs without it"),
    "XCS615": Code("the task stopped on an unexpected error: {error}", "the traceback is in the log above; please report this"),
    "XCS616": Code("the input {input!r} reads {path} of {name!r}, which is not there", "that result is {type}"),
    "XCS617": Code("{what} needs a package that is not installed: {package}", "pip install 'xcs-airflow[{extra}]'"),
    "XCS618": Code("the result for the item {key} is {type}, not a list whose parts become items", "return a list, or use .map instead of .flat_map"),
    "XCS619": Code("the cache {path} {reason}; it was set aside as {aside}, and a new one was begun", "remove it, or open it with the version that wrote it"),
    "XCS621": Code("entries of the cache {place} count as missing: {reason}", "see docs/cache.md"),
    "XCS622": Code("{name} is not an export of a cache: {reason}", "write one with xcs cache export"),
    # 7xx: calls to models
    "XCS701": Code("no endpoint is configured for {model}", "{instead}"),
    "XCS702": Code("{model} refused the request: {reason}"),
    "XCS703": Code("{model} did not answer after {attempts} attempts: {reason}", "try again later"),
    "XCS704": Code("the answer of {model} does not fit the output type: {reason}", "the answer began: {answer!r}"),
    "XCS705": Code("the answer of {model} was cut off at {limit} tokens", "raise max_tokens"),
    "XCS706": Code("the variable {name} with the key for {model} is not set"),
    "XCS707": Code("the model {model} needs a package that is not installed: {package}", "{instead}"),
    "XCS708": Code("{failed} of {total} calls failed", "answers that did arrive are in the cache: the next run asks only for the rest"),
    "XCS709": Code("{function} returned {type}, which is not a prompt", "return text, or a list of messages: {{'role': ..., 'content': ...}}"),
    "XCS710": Code("the route of {model} names the protocol {name!r}, which nobody speaks here", "{nearest}"),
    "XCS711": Code("the protocol {protocol!r} of {model} cannot be spoken: {value} does not load: {reason}", "reinstall the package that brings it"),
    "XCS712": Code("the variable {name} does not hold a key for {model}", "a key is one line of ASCII text without blanks"),
    "XCS720": Code("the batch of {model} brought no answer: {reason}", "start the run again: only what has no answer is asked"),
    "XCS721": Code("{waiting} of {total} batches of {model} are not ready: {reason}", "start the task again later"),
    "XCS722": Code("nobody can say whether a batch of {requests} requests to {model} was submitted: {reason}", "look for {mark} in the provider's console and write {{\"batch_id\": \"...\"}} into {document} in the store, or {{\"batch_id\": null}} when it is not there; then start the task again"),
    "XCS723": Code("the batch API for {model} refused: {reason}"),
    "XCS724": Code("the batch API for {model} did not answer after {attempts} attempts: {reason}", "try again later"),
    "XCS725": Code("{times} batches of {model} did not arrive at the provider: {reason}", "see what the endpoint answers, then start the run again"),
    "XCS726": Code("one request to {model} has {size} bytes, and a batch takes {limit}", "shorten the prompt, or leave the operation out of the batch"),
    "XCS730": Code("a call to {model} costs up to {worst} USD, and {left} USD of the run's budget of {budget} USD are left", "raise the budget, or lower max_tokens; {spent} USD are spent or may have been, {others} USD are set aside for other tasks and batches"),
    "XCS731": Code("the budget cannot be kept, because answers of {model} have no longest length", "set max_tokens"),
    "XCS732": Code("the budget cannot be kept, because no price is known for {model}", "give one in a price file (XCS_PRICES)"),
    "XCS733": Code("a call to {model} costs up to {worst} USD, and {left} USD of the run's budget of {budget} USD are left while other tasks and batches have {others} USD set aside", "start the task again when they have ended"),
    "XCS734": Code("there is no run {name!r} in {store}", "{nearest}"),
    "XCS735": Code("there are runs {name!r} of several pipelines: {known_list}", "name one with --pipeline"),
    "XCS740": Code("not all is known that {name!r} needs: {reason}", "start that task, which asks for the rest"),
    # 8xx: configuration and command line
    "XCS801": Code("{spec!r} does not name a pipeline: {reason}", "write path/to/file.py:function or package.module:function"),
    "XCS802": Code("no pipeline was given and none is configured", 'name one on the command line, or add pipelines = ["file.py:function"] under [tool.xcs] in pyproject.toml'),
    "XCS803": Code("[tool.xcs] in {file} is not valid: {reason}", "{nearest}"),
    "XCS804": Code("importing {spec} failed: {error}", "the last line of your code was {line}"),
    "XCS805": Code("the option {name} is not valid: {reason}", "{nearest}"),
    "XCS806": Code("there is no operation {name!r} in {pipeline}", "{nearest}"),
    "XCS807": Code("there is no error code {name!r}", "{nearest}"),
}  # fmt: skip


class _Facts(dict[str, object]):
    """Facts of a finding; what a caller did not give reads as nothing."""

    def __missing__(self, key: str) -> str:
        return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant.

    Args:
        name: What was written.
        known: The names that exist.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return "there are none"
    shown = ", ".join(names[:_SHOWN])
    return f"known: {shown}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what, and what to write instead.

    Attributes:
        code: The stable code, a key of `CODES`; explained in docs/errors.md.
        message: What is wrong, in one sentence.
        operation: The operation as printed, or its id.
        place: `file:line` of the user's code.
        hint: What to do about it.
        severity: `warning` findings never stop anything.
    """

    code: str
    message: str
    operation: str | None = None
    place: str | None = None
    hint: str | None = None
    severity: Severity = "error"

    @classmethod
    def of(
        cls,
        code: str,
        /,
        *,
        operation: str | None = None,
        place: str | None = None,
        severity: Severity = "error",
        known: Iterable[str] | None = None,
        **facts: object,
    ) -> Self:
        """Build a finding from facts.

        Args:
            code: A key of `CODES`.
            operation: The operation as printed, or its id.
            place: `file:line` of the user's code.
            severity: Whether it stops the work.
            known: The names that would have been right; with the fact `name` it becomes a suggestion.
            **facts: What the row's format strings ask for.
        """
        row = CODES[code]
        values = _Facts(facts)
        if known is not None:
            names = sorted(known)
            values.setdefault("nearest", nearest(str(facts.get("name", "")), names))
            values.setdefault("known_list", ", ".join(names) or "none")
        message = row.message.format_map(values)
        hint = row.hint.format_map(values) or None
        return cls(code, message, operation, place, hint, severity)

    def __str__(self) -> str:
        lines = [f"{self.severity}[{self.code}]: {self.message}"]
        if self.operation:
            lines.append(f"  in {self.operation}")
        if self.place:
            lines.append(f"  from {self.place}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, str]:
        """The finding as JSON, without what is empty."""
        fields = (
            ("code", self.code),
            ("severity", self.severity),
            ("message", self.message),
            ("operation", self.operation),
            ("place", self.place),
            ("hint", self.hint),
        )
        return {name: value for name, value in fields if value}


class XcsError(Exception):
    """Something the user can act on. It carries every finding, not the first.

    Attributes:
        findings: At least one; errors before warnings, in the order they were found.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(sorted(findings, key=lambda finding: finding.severity != "error"))
        super().__init__("\n".join(str(finding) for finding in self.findings))

    @classmethod
    def because(cls, code: str, /, **facts: object) -> Self:
        """Build the error of one finding; the arguments are those of `Finding.of`."""
        return cls([Finding.of(code, **facts)])  # type: ignore[arg-type]

    @property
    def code(self) -> str:
        """The code of the first finding."""
        return self.findings[0].code

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Finding, ...]]]:
        return type(self), (self.findings,)


class TraceError(XcsError):
    """A pipeline function cannot be traced (1xx)."""


class GraphError(XcsError):
    """A graph is not well formed, or a document is not a graph (2xx)."""


class PassError(XcsError):
    """A pass broke its promise (3xx)."""


class PlanError(XcsError):
    """A graph cannot be planned as asked (4xx)."""


class ExportError(XcsError):
    """A plan cannot be written for a platform (5xx)."""


class UnsupportedError(ExportError):
    """A platform cannot do what the plan asks for (5xx)."""


class RuntimeTaskError(XcsError):
    """A task failed for good (6xx)."""


class ModelError(XcsError):
    """A model did not give a usable answer (7xx).

    Attributes:
        retryable: Whether the same call may succeed later.
    """

    retryable = False


class ModelUnavailableError(ModelError):
    """A model is busy, limited or down: the task should be tried again later (7xx)."""

    retryable = True


class NotReadyError(ModelUnavailableError):
    """Nothing failed: a provider still works on a batch, or a probe found that not everything is known. What is missing comes later."""


class ConfigError(XcsError):
    """The command line or the configuration is wrong (8xx)."""
