"""How many tokens a call may use, and how many it did.

It knows requests and answers; when a call may begin, the pace knows.
"""

from __future__ import annotations

from xcs_airflow.runtime.models.provider import ModelAnswer, ModelRequest

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
_OUTPUT_TOKENS = 256
"""What an answer counts until it is there, where the pipeline sets no limit."""


def expected_tokens(request: ModelRequest) -> int:
    """How many tokens a call may use: those of the prompt, at four bytes each, and the longest answer."""
    size = sum(len(message["content"].encode()) for message in request.messages)
    limit = _OUTPUT_TOKENS if request.max_tokens is None else request.max_tokens
    return size // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * len(request.messages) + limit


def used_tokens(answer: ModelAnswer, expected: int) -> int:
    """How many tokens a call used; as many as expected where the provider does not count both sides."""
    if answer.input_tokens is None or answer.output_tokens is None:
        return expected
    return answer.input_tokens + answer.output_tokens
