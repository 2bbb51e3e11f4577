"""A provider whose requests and answers count against the tokens of a minute.

It knows how many tokens a call may use and how many it used; when the next may begin, the pace knows.
"""

from __future__ import annotations

from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest, Provider
from xcs_airflow.runtime.pacing import Pacing

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
_OUTPUT_TOKENS = 256
"""What an answer counts until it is there, where the pipeline sets no limit."""


class Metered:
    """Asks a provider, and tells the pace what that takes: first what it may take, then the difference to what it took.

    Args:
        provider: Who answers.
        pacing: The pace.
    """

    def __init__(self, provider: Provider, pacing: Pacing) -> None:
        self._provider = provider
        self._pacing = pacing

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer a request."""
        expected = expected_tokens(request)
        self._pacing.spend(expected)
        try:
            answer = self._provider.complete(request)
            if not isinstance(answer, ModelAnswer):
                answer = await answer
        except AttemptError as error:
            if not error.may_be_billed:
                self._pacing.spend(-expected)
            raise
        if answer.input_tokens is not None and answer.output_tokens is not None:
            self._pacing.spend(answer.input_tokens + answer.output_tokens - expected)
        return answer


def expected_tokens(request: ModelRequest) -> int:
    """How many tokens a call may use: those of the prompt, at four bytes each, and the longest answer."""
    size = sum(len(message["content"].encode()) for message in request.messages)
    limit = _OUTPUT_TOKENS if request.max_tokens is None else request.max_tokens
    return size // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * len(request.messages) + limit
