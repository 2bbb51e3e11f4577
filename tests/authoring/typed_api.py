"""What a type checker knows about decorated functions; `test_typing.py` runs mypy over it. It is never imported."""

from typing import Any, Literal, assert_type

from pydantic import BaseModel

from xcs_airflow import Graph, jit, llm, op, pipeline


class Details(BaseModel):
    order: str


@op
def load(path: str = "x") -> list[str]:
    return [path]


@op(items=3, retries=2, timeout="1h")
def double(number: int) -> int:
    return 2 * number


ask = llm("m/m", "{x}", temperature=0, max_tokens=3)
extract = llm("m/m", "{x}", output=Details)
classify = llm("m/m", "{x}", output=Literal["a", "b"])


@llm("m/m", max_tokens=4)
def summarise(ticket: str) -> str:
    return ticket


@llm("m/m", output=Details)
def find(ticket: str) -> str:
    return ticket


@pipeline(schedule="* * * * *", budget="5 USD")
def flow(path: str = "a") -> tuple[list[str], int]:
    return ask.map(x=load(path)), double(3)


@jit
def fast(x: str) -> str:
    return ask(x)


assert_type(load("a"), list[str])
assert_type(double(3), int)
assert_type(double.map(number=[1]), list[int])
assert_type(ask("x"), str)
assert_type(ask.map(x=["x"]), list[str])
assert_type(extract("x"), Details)
assert_type(classify("x"), Any)
assert_type(summarise("x"), str)
assert_type(find("x"), Details)
assert_type(flow("a"), tuple[list[str], int])
assert_type(flow.graph(), Graph)
assert_type(fast("a"), str)

load(3)  # refused
double(items=3)  # refused
op(itmes=3)  # refused
llm("m/m", "{x}", temprature=0)  # refused
flow(1)  # refused
fast(1)  # refused
