"""`@op`: settings, addresses, and running with values."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator

import pytest

from xcs_airflow.authoring import op
from xcs_airflow.errors import TraceError
from xcs_airflow.ir import Resources, Retry


@op
def greet(name: str, sign: str = "!") -> str:
    """Say hello.

    At length.
    """
    return f"Hello {name}{sign}"


@op(
    items=200,
    distinct_items=150,
    pure=True,
    cpu=2,
    memory_mib=4096,
    gpu=1,
    gpu_type="nvidia-l4",
    retries=1,
    timeout="10m",
    secrets={"TOKEN": "token-name"},
    env={"MODE": "fast"},
    image="registry/image:1",
    description="Loads.",
)
def load() -> list[str]:
    return []


def test_called_with_values_it_is_the_function():
    assert greet("Ada") == "Hello Ada!"
    assert greet(name="Ada", sign="?") == "Hello Ada?"


def test_it_keeps_the_face_of_the_function():
    assert ("greet", "greet", __name__) == (greet.__name__, greet.__qualname__, greet.__module__)
    assert greet.__doc__.startswith("Say hello.")
    assert inspect.isfunction(greet.__wrapped__)
    assert list(inspect.signature(greet).parameters) == ["name", "sign"]
    assert f"<op {__name__}:greet>" == repr(greet)


def test_settings_become_fields_of_the_operation():
    operation = load.operation()

    assert (operation.items, operation.distinct_items, operation.pure) == (200, 150, True)
    assert Resources(cpu=2, memory_mib=4096, gpu=1, gpu_type="nvidia-l4") == operation.resources
    assert (Retry(attempts=2), 600) == (operation.retry, operation.timeout_s)
    assert (operation.secrets, operation.env) == ({"TOKEN": "token-name"}, {"MODE": "fast"})
    assert ("registry/image:1", "Loads.", f"{__name__}:load") == (operation.image, operation.description, operation.func)


def test_without_settings_the_defaults_hold_and_the_docstring_describes():
    operation = greet.operation()

    assert ("Say hello.", Retry(), Resources(), None) == (operation.description, operation.retry, operation.resources, operation.timeout_s)


def test_what_is_yielded_or_awaited_becomes_a_value():
    @op
    def count() -> Iterator[int]:
        yield from (1, 2)

    @op
    async def fetch() -> int:
        return 3

    @op
    async def stream() -> AsyncIterator[int]:
        yield 4

    assert (count(), fetch(), stream()) == ([1, 2], 3, [4])


def test_every_wrong_setting_is_reported_with_the_line():
    with pytest.raises(TraceError) as caught:

        @op(retries=-1, timeout="soon", cpu="many", itmes=3, secrets={"A": 1})
        def load(): ...

    findings = caught.value.findings
    assert {"itmes", "retries", "timeout", "cpu", "secrets.A"} == {finding.message.partition(" ")[0] for finding in findings}
    assert {f"test_ops.py:{inspect.unwrap(test_every_wrong_setting_is_reported_with_the_line).__code__.co_firstlineno + 3}"} == {
        finding.place for finding in findings
    }
    assert "did you mean 'items'?" in {finding.hint for finding in findings}


@pytest.mark.parametrize("arguments", ["*parts", "x, /"])
def test_inputs_without_a_name_are_refused(arguments):
    space: dict = {}
    exec(f"def join({arguments}): ...", space)  # signatures as text

    with pytest.raises(TraceError, match="inputs are passed by name"):
        op(space["join"])


def test_a_function_that_a_worker_cannot_find_still_runs_here():
    @op
    def inner(x: int) -> int:
        return x + 1

    assert inner(2) == 3
    with pytest.raises(TraceError, match="XCS105"):
        inner.operation()


def test_wrong_arguments_name_the_nearest_input():
    with pytest.raises(TraceError) as caught:
        greet(nam="Ada")
    assert [(f.code, f.hint) for f in caught.value.findings] == [("XCS102", "did you mean 'name'?"), ("XCS103", "pass it by name")]


def test_an_input_may_be_called_self():
    @op
    def show(self: int) -> int:
        return self

    assert show(self=1) == 1
    assert show.map(self=[1, 2]) == [1, 2]
