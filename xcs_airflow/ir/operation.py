"""One operation of a graph: a function address, its inputs, and what it needs to run.

It knows the fields and how a callable becomes an address; it does not know other operations.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, field_validator

from xcs_airflow.errors import GraphError
from xcs_airflow.manifest import Collect
from xcs_airflow.values import Frozen, Value


class Resources(Frozen):
    """What one start of an operation may use.

    Attributes:
        cpu: Virtual CPUs.
        memory_mib: Memory in MiB.
        gpu: Number of GPUs.
        gpu_type: The accelerator's name at the platform, as in `nvidia-l4`.
    """

    cpu: float = 1.0
    memory_mib: int = 512
    gpu: int = 0
    gpu_type: str | None = None


class Retry(Frozen):
    """How often a task is started again when it says that trying again may help.

    Attributes:
        attempts: Starts in all, the first included.
        delay_s: Seconds between them.
    """

    attempts: int = 3
    delay_s: int = 30


class Operation(Frozen):
    """One node of a graph.

    Attributes:
        kind: `python` for a plain function, `llm` for a model call.
        id: Unique in the graph: 1 to 250 ASCII letters, digits, `_`, `-`, `.`.
        func: Address of the function, `package.module:name`; a callable is accepted and converted.
        code: Digest of the code behind the address, and of all that it uses of the pipeline's own; None when it is not known.
        inputs: Where each input comes from.
        map_over: The inputs it iterates: it runs once per item of them, taken together.
        collect: What a mapped operation does with the result of one item.
        pure: Whether the same inputs always give the same result and nothing else happens.
        items: How many items its result is expected to have, when it is a list.
        distinct_items: How many different ones are expected among them.
        shards: Into how many parts its items are spread; None until a pass decides.
        fused: Name of the task it shares with others of that name; None until a pass decides.
        resources: What one start may use.
        retry: How often it is started again.
        timeout_s: Seconds after which one start is ended; None leaves it to the platform's default.
        secrets: Environment variables that the platform fills from its secret store: variable name to secret reference.
        env: Environment variables in plain text; never secrets.
        image: Container image; None takes the bundle's.
        description: One line for people.
        when: A value that must be true for the operation to run.
        source: `file:line` where it was written.
    """

    kind: Literal["python", "llm"] = "python"
    id: str
    func: str | None = None
    code: str | None = None
    inputs: dict[str, Value] = Field(default_factory=dict)
    map_over: tuple[str, ...] = ()
    collect: Collect = "map"
    pure: bool = False
    items: int | None = None
    distinct_items: int | None = None
    shards: int | None = None
    fused: str | None = None
    resources: Resources = Resources()
    retry: Retry = Retry()
    timeout_s: int | None = None
    secrets: dict[str, str] = Field(default_factory=dict)
    env: dict[str, str] = Field(default_factory=dict)
    image: str | None = None
    description: str = ""
    when: Value | None = None
    source: str | None = None

    @field_validator("func", mode="before")
    @classmethod
    def _address(cls, func: object) -> object:
        return address_of(func) if callable(func) else func

    @property
    def is_pure(self) -> bool:
        """Whether the same inputs may be computed once for all."""
        return self.pure

    @property
    def is_mapped(self) -> bool:
        """Whether it runs once per item."""
        return bool(self.map_over)


def address_of(func: Callable[..., Any]) -> str:
    """The address by which a worker finds a function again, `package.module:qualified.name`.

    Raises:
        GraphError: Nobody else could find it: a lambda, a closure, something of `__main__`, or a name that holds something else.
    """
    module = getattr(func, "__module__", None)
    name = getattr(func, "__qualname__", None)
    reason = _why_unreachable(func, module, name)
    if reason:
        code = getattr(func, "__code__", None)
        place = f"{code.co_filename}:{code.co_firstlineno}" if code else None
        raise GraphError.because("XCS105", name=name or repr(func), reason=reason, place=place)
    return f"{module}:{name}"


def _why_unreachable(func: Callable[..., Any], module: str | None, name: str | None) -> str:
    if module is None or name is None:
        return "it has no name"
    if "<lambda>" in name:
        return "it is a lambda"
    if "<locals>" in name:
        return "it is defined inside another function"
    if module == "__main__":
        return "it is defined in the script that is running"
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    # While a module is being imported its names are not bound yet; a decorator puts its own object there.
    if found is not None and found is not func and getattr(found, "__wrapped__", None) is not func:
        return f"{module}.{name} is something else"
    return ""
