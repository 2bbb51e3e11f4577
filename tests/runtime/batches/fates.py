"""What can become of a request in a batch of the server of these tests, and what it asked.

It knows requests; it does not know either provider.
"""

from __future__ import annotations

FATES = ("succeeded", "unfit", "refused", "errored", "busy", "expired", "cancelled", "missing", "twice")
"""What can become of a request here: an answer; one that does not fit; a refusal; an error for good, or for now; no time left;
cancelled; no line at all; two lines."""

BILLED = ("succeeded", "unfit", "refused", "twice")


def prompt_of(request):
    """The first thing a request asks, whatever came after it."""
    content = (request.get("body") or request.get("params"))["messages"][0]["content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def mark_of(request):
    """What a request asks the provider to keep, and how; None when it asks nothing."""
    for message in (request.get("body") or request.get("params"))["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in blocks:
            if "cache_control" in block:
                return block["text"], block["cache_control"]
    return None
