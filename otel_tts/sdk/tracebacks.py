"""Tracebacks that somebody has written as text already: their frames and classes, without what the exceptions say.

A message may itself look like a traceback: of a worker in another process, or by chance. So a line is kept only for what is known here:
files whose source is loaded, names and lines that stand in them, and classes of exceptions that exist.
"""

from __future__ import annotations

import functools
import linecache
import re
import sys
from collections.abc import Iterator, Sequence

_HEADER = re.compile(r"[ |+]*(?:Exception Group )?Traceback \(most recent call last\):")
_FRAME = re.compile(r'([ |]*  )File "(.*)",(?: line (\d{1,9}),)? in (.+)')
_SOURCE = re.compile(r"([ |]*    )(.*)")
_MARKS = re.compile(r"[~^ ]*")
_REPEATED = re.compile(r"([ |]*  \[Previous line repeated)(?: \d+ more times?)?\]")
_CLASS = re.compile(r"([ |]*)([^\W\d][\w.<>]*|\.{3})(?::|$)")
_BETWEEN = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
    "(led to)",
)
_UNNAMED = frozenset(("<module>", "<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"))
_HIDDEN = "..."
_STATEMENT = 50  # lines of source that a frame may show


def without_messages(text: str) -> str:
    """A traceback with nothing but its frames with their lines of source code, and the classes. Of other text, nothing is left.

    Args:
        text: a formatted traceback.
    """
    return "".join(f"{line}\n" for line in _kept(text))


def _kept(text: str) -> Iterator[str]:
    inside = False
    source: Sequence[str] = ()
    for line in text.split("\n"):
        if _HEADER.fullmatch(line):
            inside, source = True, ()
            yield line
        elif line in _BETWEEN:
            yield from ("", line, "")
        elif not inside:
            continue
        elif frame := _FRAME.fullmatch(line):
            start, path, number, name = frame.groups()
            source = _following(path, int(number)) if number else ()
            is_loaded = bool(source)
            place = f'"{path}", line {number}' if is_loaded else f'"{_HIDDEN}"'
            yield f"{start}File {place}, in {name if is_loaded and _has(path, name) else _HIDDEN}"
        elif repeated := _REPEATED.fullmatch(line):
            yield f"{repeated[1]}]"
        elif shown := _SOURCE.fullmatch(line):
            if shown[2].strip() in source or _MARKS.fullmatch(shown[2]):
                yield line
        else:
            inside = False  # the class, and from here on its message
            if name := _CLASS.match(line):
                yield f"{name[1]}{name[2] if _is_class(name[2]) else _HIDDEN}"


def _following(path: str, number: int) -> Sequence[str]:
    """Return the lines of source code from this one on, without their indentation; none if the file is not known to this process."""
    if path not in linecache.cache and all(vars(module).get("__file__") != path for module in tuple(sys.modules.values())):
        return ()  # it is not opened: it may be anything, such as a pipe
    return [line.strip() for line in linecache.getlines(path)[max(0, number - 1) : number + _STATEMENT]]


@functools.lru_cache(4096)
def _has(path: str, name: str) -> bool:
    """Return whether the name of a function stands in a file."""
    if name in _UNNAMED:
        return True
    word = name.rpartition(".")[2]
    return word.isidentifier() and re.search(rf"\b{word}\b", "".join(linecache.getlines(path))) is not None


def _is_class(name: str) -> bool:
    """Return whether this is the name of a class of exceptions, as a traceback shows it."""
    waiting: list[type[BaseException]] = [BaseException]
    seen = set(waiting)
    while waiting:
        kind = waiting.pop()
        if name in (kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}"):
            return True
        below = [one for one in type.__subclasses__(kind) if one not in seen]
        seen.update(below)
        waiting.extend(below)
    return False
