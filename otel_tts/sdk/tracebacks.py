"""Tracebacks that somebody has written as text already: their frames and classes, without what the exceptions say."""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEADER = re.compile(r"[ |+]*(?:Exception Group )?Traceback \(most recent call last\):")
_FRAME = re.compile(r'[ |]*  File ".*", line \d+, in .+')
_SOURCE = re.compile(r"[ |]*    .*|[ |]*  \[Previous line repeated \d+ more times?\]")
_CLASS = re.compile(r"([ |]*[^\W\d][\w.<>]*)(?::|$)")
_BETWEEN = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
    "(led to)",
)


def without_messages(text: str) -> str:
    """A traceback with nothing but its frames with their lines of source code, and the classes. Of other text, nothing is left.

    Args:
        text: a formatted traceback.
    """
    return "".join(f"{line}\n" for line in _kept(text))


def _kept(text: str) -> Iterator[str]:
    inside = after_frame = False
    for line in text.split("\n"):
        if _HEADER.fullmatch(line):
            inside, after_frame = True, False
            yield line
        elif line in _BETWEEN:
            yield from ("", line, "")
        elif inside and _FRAME.fullmatch(line):
            after_frame = True
            yield line
        elif inside and after_frame and _SOURCE.fullmatch(line):
            yield line
        elif inside:
            inside = False  # the class, and from here on its message
            if name := _CLASS.match(line):
                yield name[1]
