"""The language of Google Cloud Workflows, as far as emitted workflows use it: steps, jumps, switches, calls, and expressions.

It knows the language (https://cloud.google.com/workflows/docs/reference/syntax); what a connector does, whoever runs a workflow tells it.
What it does not know it refuses, and time is its own: a minute of sleep takes seconds.
"""

import ast
import json
import operator
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field


class WorkflowError(Exception):
    """The workflow raised."""


@dataclass
class Workflow:
    """A workflow that can be run.

    Attributes:
        source: By names, the main workflow and its subworkflows.
        connectors: What calls do, by the names of connectors.
        environment: What `sys.get_env` tells.
        seconds: Of a second of sleep, how much of it is slept.
        slept: Every sleep, in seconds.
        steps: How many steps were done.
    """

    source: dict
    connectors: dict
    environment: dict = field(default_factory=dict)
    seconds: float = 0.05
    longest_s: float = 3.0
    slept: list = field(default_factory=list)
    steps: int = 0
    _ahead_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, given):
        """What the main workflow returns."""
        (parameter,) = self.source["main"]["params"]
        return self._call("main", {parameter: given})

    def now(self):
        return time.time() + self._ahead_s

    def sleep(self, seconds):
        assert isinstance(seconds, int | float)
        assert 0 <= seconds <= 31_536_000
        really = min(seconds * self.seconds, self.longest_s)
        with self._lock:
            self.slept.append(seconds)
            self._ahead_s += seconds - really
        time.sleep(really)

    def _call(self, name, given):
        body = self.source[name]
        assert set(body["params"]) == set(given)
        return self._steps(body["steps"], dict(given)).value

    def _steps(self, steps, known):
        """Do steps in order, and where a jump leads; gives how they ended."""
        names = [next(iter(step)) for step in steps]
        at = 0
        while at < len(steps):
            with self._lock:
                self.steps += 1
            end = self._step(steps[at][names[at]], known)
            if end.is_return:
                return end
            if end.next is None:
                at += 1
            elif end.next in names:
                at = names.index(end.next)
            else:
                return end
        return _GOES_ON

    def _step(self, step, known):
        if "assign" in step:
            for entry in step["assign"]:
                ((name, value),) = entry.items()
                known[name] = self._value(value, known)
        elif "call" in step:
            arguments = self._value(step.get("args", {}), known)
            result = self._called(step["call"], arguments)
            if "result" in step:
                known[step["result"]] = result
        elif "switch" in step:
            return self._switch(step, known)
        elif "try" in step:
            return self._try(step, known)
        elif "parallel" in step:
            self._parallel(step["parallel"], known)
        elif "raise" in step:
            raise WorkflowError(self._value(step["raise"], known))
        elif "return" in step:
            return _End(value=self._value(step["return"], known), is_return=True)
        else:
            raise AssertionError(step)
        return _End(next=step.get("next"))

    def _called(self, name, arguments):
        if name in self.source:
            return self._call(name, arguments)
        if name == "sys.sleep":
            return self.sleep(**arguments)
        return self.connectors[name](arguments)

    def _try(self, step, known):
        """Errors lead to other steps; variables of both are those of the workflow, but for the error's own."""
        try:
            end = self._steps(step["try"]["steps"], known)
        except WorkflowError as error:
            known[step["except"]["as"]] = error
            end = self._steps(step["except"]["steps"], known)
            del known[step["except"]["as"]]  # an error is known to the steps that handle it alone
        assert end.next is None
        return end if end.is_return else _End(next=step.get("next"))

    def _switch(self, step, known):
        for way in step["switch"]:
            if self._value(way["condition"], known) is True:
                if "steps" in way:
                    end = self._steps(way["steps"], known)
                    if end.is_return or end.next:
                        return end
                return self._step(way, known) if "return" in way else _End(next=way.get("next", step.get("next")))
        return _End(next=step.get("next"))

    def _parallel(self, parallel, known):
        """Every item has variables of its own; all go on when one fails, as the policy of emitted workflows says."""
        assert parallel["exception_policy"] == "continueAll"
        loop = parallel["for"]

        def one(item):
            try:
                self._steps(loop["steps"], {**known, loop["value"]: item})
            except WorkflowError as error:
                return error
            return None

        with ThreadPoolExecutor(parallel["concurrency_limit"]) as pool:
            errors = [error for error in pool.map(one, self._value(loop["in"], known)) if error]
        if errors:
            raise WorkflowError(errors)

    def _value(self, node, known):
        if isinstance(node, dict):
            return {key: self._value(value, known) for key, value in node.items()}
        if isinstance(node, list):
            return [self._value(value, known) for value in node]
        if isinstance(node, str) and node.startswith("${"):
            assert node.endswith("}")
            return self._expression(ast.parse(node[2:-1], mode="eval").body, known)
        return node

    def _expression(self, node, known):
        """Expressions look like Python's."""

        def of(part):
            return self._expression(part, known)

        kinds = {
            ast.Constant: lambda: node.value,
            ast.List: lambda: [of(element) for element in node.elts],
            ast.Name: lambda: _WORDS[node.id] if node.id in _WORDS else known[node.id],
            ast.Attribute: lambda: of(node.value)[node.attr],
            ast.Subscript: lambda: of(node.value)[of(node.slice)],
            ast.BinOp: lambda: _combined(_SIGNS[type(node.op)], of(node.left), of(node.right)),
            ast.BoolOp: lambda: _ALL_OR_ANY[type(node.op)]([_true_or_false(of(part)) for part in node.values]),
            ast.Compare: lambda: _COMPARED[type(node.ops[0])](of(node.left), *map(of, node.comparators)),
            ast.Call: lambda: self._function(ast.unparse(node.func))(*map(of, node.args)),
        }
        return kinds[type(node)]()

    def _function(self, name):
        return {**_LIBRARY, "sys.now": self.now, "sys.get_env": self.environment.__getitem__}[name]


@dataclass(frozen=True)
class _End:
    """How steps ended: where they lead, or what they return."""

    next: str | None = None
    value: object = None
    is_return: bool = False


_GOES_ON = _End()


def _got(whole, keys):
    for key in keys if isinstance(keys, list) else [keys]:
        whole = whole.get(key) if isinstance(whole, dict) else None
    return whole


def _combined(sign, left, right):
    """Text and numbers are not added to each other."""
    assert isinstance(left, str) == isinstance(right, str)
    assert isinstance(left, str | int | float)
    return sign(left, right)


def _true_or_false(value):
    assert isinstance(value, bool)
    return value


_WORDS = {"null": None, "true": True, "false": False}
_ALL_OR_ANY = {ast.And: all, ast.Or: any}
_SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
_COMPARED = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.In: lambda part, whole: part in whole,
}
_LIBRARY = {
    "default": lambda value, otherwise: otherwise if value is None else value,
    "map.get": _got,
    "json.encode_to_string": json.dumps,
    "math.min": min,
    "int": int,
    "string": str,
}
