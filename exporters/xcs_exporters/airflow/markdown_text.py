"""How values read in Markdown: as plain words, whatever they say.

It knows how to take the meaning out of text; it does not know documents.
"""

from __future__ import annotations

import re

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_MARKUP_AT_START = re.compile(r"^(\d*)([-+=.)])")
_INVISIBLE = re.compile(
    "[\0-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]+"
)


def plain(text: str) -> str:
    """One line of text without what is invisible, turns its direction, or cannot be stored in a database."""
    return " ".join(_INVISIBLE.sub(" ", text).split())


def markdown(value: object) -> str:
    """A value as plain words of Markdown: no markup and no HTML.

    Raises:
        TypeError: It is neither text nor a whole number.
    """
    if isinstance(value, str):
        return _MARKUP_AT_START.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", plain(value)))
    if isinstance(value, int):
        return f"{value:,}"
    raise TypeError(f"{value!r} has no Markdown form")
