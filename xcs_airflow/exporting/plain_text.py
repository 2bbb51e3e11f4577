"""Text of a pipeline's author where a person reads it: as plain words, whatever it holds.

It knows characters; it does not know documents.
"""

from __future__ import annotations

import re

# Punctuation, but for commas and for hyphens that begin no list: those mean nothing to Markdown.
_MARKUP = re.compile(r"^-|[!-+./:-@\[-`{-~]")


def plain(text: str) -> str:
    """The printable characters in one line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def markdown(text: str) -> str:
    """One line that Markdown shows as it is: no link, no markup, no HTML (any ASCII punctuation may be escaped, CommonMark 2.4)."""
    return _MARKUP.sub(r"\\\g<0>", plain(text))
