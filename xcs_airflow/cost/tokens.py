"""How many tokens one call takes: declared by the author, else counted from the prompt, else assumed.

It knows prompts, schemas and what is declared; it does not know items, prices or any tokeniser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil, floor
from typing import Any, NamedTuple

from xcs_airflow.canonical import canonical_json
from xcs_airflow.cost.assumptions import Assumed, rows
from xcs_airflow.cost.figures import Figure, Source
from xcs_airflow.ir.llm_ops import LLMMetadata, LLMOperation
from xcs_airflow.values import Hole

_SMALL_TYPES = {"boolean": ("true", "false"), "integer": ("0", "100000"), "number": ("0", "100000.001"), "null": ("null",)}


class CallTokens(NamedTuple):
    """Tokens of one call.

    Attributes:
        input: Of the request.
        output: Of the answer.
    """

    input: Figure
    output: Figure


def call_tokens(
    operation: LLMOperation,
    input_tokens: Callable[[], Mapping[str, Figure]],
    assumed: Assumed,
    measured: tuple[Figure | None, Figure | None] = (None, None),
) -> CallTokens:
    """The tokens of one call.

    Args:
        operation: Who calls.
        input_tokens: Gives the tokens of each of its inputs in one call; asked only if nothing is declared.
        assumed: Takes note of what is guessed.
        measured: Input and output tokens as earlier runs had them; each goes before what is declared.
    """
    data = operation.metadata
    into, out = measured
    output = _output(operation, assumed) if out is None else _at_most(out, data.max_tokens if operation.items_per_request == 1 else None)
    if into is not None:
        return CallTokens(into, output)
    if data.estimated_input_tokens is not None:
        return CallTokens(Figure.exactly(data.estimated_input_tokens), output)
    if data.estimated_tokens is not None:
        return CallTokens(_rest(data.estimated_tokens, output), output)
    return CallTokens(_request(operation, input_tokens(), assumed), output)


def text_tokens(characters: float) -> Figure:
    """The tokens of a text of known length."""
    per_token = rows()["characters_per_token"]
    return Figure(
        low=characters / per_token.high, expected=characters / per_token.expected, high=characters / per_token.low, source="template"
    )


def schema_tokens(operation: LLMOperation) -> Figure:
    """The tokens of an operation's output schema, which is sent with every request."""
    return text_tokens(0 if operation.output_schema is None else len(canonical_json(operation.output_schema)))


def _request(operation: LLMOperation, input_tokens: Mapping[str, Figure], assumed: Assumed) -> Figure:
    """The tokens of a request: the prompt's own text, what fills its holes, the schema, and what stands around each message."""
    around = assumed.use("tokens_per_message", operation.id)
    assumed.use("characters_per_token", operation.id)
    schema = schema_tokens(operation)
    if operation.prompt is None:  # What the function writes around its inputs is not known.
        return _total([around, schema, *input_tokens.values()], "assumed")
    parts = [part for message in operation.prompt.messages for part in message.parts]
    characters = sum(len(part) for part in parts if isinstance(part, str))
    filled = [input_tokens[part.input] for part in parts if isinstance(part, Hole)]
    return _total([*[around] * len(operation.prompt.messages), text_tokens(characters), schema, *filled], "template")


def _total(figures: Sequence[Figure], source: Source) -> Figure:
    """The sum in whole tokens: rounded outwards, the expected up."""
    return Figure(
        low=floor(sum(figure.low for figure in figures)),
        expected=ceil(sum(figure.expected for figure in figures)),
        high=ceil(sum(figure.high for figure in figures)),
        source=source,
    )


def _output(operation: LLMOperation, assumed: Assumed) -> Figure:
    data = operation.metadata
    if data.estimated_output_tokens is not None:
        return Figure.exactly(data.estimated_output_tokens)
    if data.estimated_tokens is not None and data.estimated_input_tokens is not None:
        return Figure.exactly(max(0, data.estimated_tokens - data.estimated_input_tokens))
    most = _most(data)
    answers = _possible_answers(operation.output_schema)
    if answers:
        assumed.use("characters_per_token", operation.id)
        sizes = [len(answer) for answer in answers]
        low, expected, high = text_tokens(min(sizes)).low, text_tokens(sum(sizes) / len(sizes)).expected, text_tokens(max(sizes)).high
    else:
        guess = assumed.use("output_tokens", operation.id)
        low, expected, high = guess.low, guess.expected, guess.high
    if most is not None:
        low, expected, high = min(low, most), min(expected, most), most
    return Figure(low=floor(low), expected=ceil(expected), high=ceil(high), source="template" if answers else "assumed")


def _at_most(figure: Figure, most: int | None) -> Figure:
    """A figure whose high end keeps to a limit, as far as what is expected does."""
    return figure if most is None else replace(figure, high=max(figure.expected, min(figure.high, most)))


def _most(data: LLMMetadata) -> int | None:
    """The most tokens an answer can have; None when nothing limits it."""
    limits = [limit for limit in (data.max_tokens, data.estimated_tokens) if limit is not None]
    return min(limits, default=None)


def _possible_answers(schema: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The JSON texts a small schema allows, or typical ones; none when the answer may be long."""
    if schema is None:
        return ()
    if "const" in schema:
        return (canonical_json(schema["const"]),)
    if "enum" in schema:
        return tuple(canonical_json(value) for value in schema["enum"])
    kind = schema.get("type")
    return _SMALL_TYPES.get(kind, ()) if isinstance(kind, str) else ()


def _rest(total: int, output: Figure) -> Figure:
    """Input tokens where only the sum is declared: the more output, the less input."""
    low, expected, high = (max(0, total - end) for end in (output.high, output.expected, output.low))
    return Figure(low=low, expected=expected, high=high, source="declared")
