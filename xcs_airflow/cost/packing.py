"""What a request costs that asks about many items: the instructions once, every item, and every answer with the name of its item.

It knows tokens; it does not know prices, or how such a request is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.tokens import CallTokens, schema_tokens, text_tokens
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.values import Hole


def shared_tokens(operation: LLMOperation, input_tokens: Mapping[str, Figure]) -> Figure:
    """The tokens with which all requests of an operation begin: up to the first hole that changes from item to item.

    Args:
        operation: Whose requests; it has a template.
        input_tokens: The tokens of each of its inputs in one call.
    """
    parts = () if operation.prompt is None else tuple(part for message in operation.prompt.messages for part in message.parts)
    same: list[Figure] = []
    for part in parts:
        if isinstance(part, Hole) and part.input in operation.map_over:
            break
        same.append(input_tokens[part.input] if isinstance(part, Hole) else text_tokens(len(part)))
    return Figure.total(same)


def packed(operation: LLMOperation, tokens: CallTokens, shared: Figure, assumed: Assumed) -> CallTokens:
    """The tokens of one request that asks about as many items as it may.

    Args:
        operation: Who asks.
        tokens: Of a request about one item.
        shared: With how many tokens of that all of them begin.
        assumed: Takes note of what is guessed.
    """
    size = operation.items_per_request
    around, each = assumed.use("packed_request_tokens", operation.id), assumed.use("packed_item_tokens", operation.id)
    once = Figure.total([shared, schema_tokens(operation)])
    low, expected, high = (
        _ends(
            min(getattr(once, end), getattr(tokens.input, end)),
            getattr(tokens.input, end),
            getattr(around, end),
            getattr(each, end),
            size,
        )
        for end in ("low", "expected", "high")
    )
    answers = tokens.output
    return CallTokens(
        Figure(low=floor(low), expected=ceil(expected), high=ceil(high)),
        Figure(
            low=floor(size * (answers.low + each.low)),
            expected=ceil(size * (answers.expected + each.expected)),
            high=ceil(size * (answers.high + each.high)),
        ),
    )


def _ends(once: float, alone: float, around: float, each: float, size: int) -> float:
    return once + around + size * (alone - once + each)
