"""The text of a request: what is refused, how it is normalised, and where it is cut into pieces for an engine."""

# ruff: noqa: RUF001 - the punctuation of many scripts looks alike

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from xml.parsers import expat

from otel_tts.service.speech import InvalidInputError

LIMIT = 5000
"""Code points of text or SSML, unless configured otherwise."""
LONGEST_PIECE = 250
"""Code points: about 15 s of speech, which is half a second's work for a neural voice on one core."""

SSML_ELEMENTS = frozenset({"break", "emphasis", "mark", "p", "phoneme", "prosody", "s", "say-as", "speak", "sub"})
"""What SSML may contain. Left out is what makes an engine open a file or an address, or change the voice that was asked for."""

# C0 and C1 without the white space among them, and surrogates without a partner.
_UNSPEAKABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")

_SPACED_ENDS = ".!?…‼⁇⁈⁉؟۔؞।॥።፧፨։"  # end a sentence before white space
_UNSPACED_ENDS = "。！？｡．"  # end a sentence wherever they stand
_ENDS = re.escape(_SPACED_ENDS + _UNSPACED_ENDS)
_CLOSERS = re.escape("\"')]}»”’›」』）】》〉")
# The look-behind and the possessive quantifiers keep it linear in hostile text.
_SENTENCE_END = re.compile(
    rf"(?<![{_ENDS}])(?P<end>[{_ENDS}]++)(?P<close>[{_CLOSERS}]*+)(?P<space>\s*+)|[\n\v\f\r\x85\u2028\u2029]\s*+"
)
_ABBREVIATION = re.compile(r"(?:^|[\W_])([^\W\d_]{1,3})$")
_CLAUSE_END = re.compile(r"[,;:—–][\"')\]}»”’›]*\s+|[，、；：،؛]\s*")
_SPACE = re.compile(r"\s+")


def normalise(text: str) -> str:
    """``text`` in Unicode's NFC with white space collapsed: equal for texts that sound the same."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def validate(text: str, *, ssml: bool = False, limit: int = LIMIT) -> None:
    """Whether ``text`` can be spoken at all.

    With ``ssml`` it is an SSML document. ``limit`` is in code points, those of the tags included.

    Raises:
        InvalidInputError: it cannot; the message names positions, and quotes nothing.
    """
    if len(text) > limit:
        raise InvalidInputError("text", f"The text is too long (characters: {len(text)}, at most: {limit}). Send it in parts.")
    if unspeakable := _UNSPEAKABLE.search(text):
        raise InvalidInputError(
            "text", f"Character {unspeakable.start() + 1} of the text is a control character or half a surrogate pair. Remove it."
        )
    spoken = _spoken(text) if ssml else text
    if not any(map(str.isalnum, spoken)):
        raise InvalidInputError(
            "text", "The text has no letter and no digit in it, so there is nothing to speak. Send some words."
        )


def _spoken(ssml: str) -> str:
    """The character data of an SSML document."""
    spoken: list[str] = []
    is_root = True
    parser = expat.ParserCreate()

    def refuse(why: str) -> InvalidInputError:
        line, column = parser.CurrentLineNumber, parser.CurrentColumnNumber + 1
        return InvalidInputError("text", f"The SSML is refused at line {line}, column {column}: {why}")

    def open_element(name: str, _: dict[str, str]) -> None:
        nonlocal is_root
        if is_root and name != "speak":
            raise refuse("the outermost element has to be <speak>.")
        if name not in SSML_ELEMENTS:
            raise refuse(f"only these elements are allowed: {', '.join(sorted(SSML_ELEMENTS))}.")
        is_root = False

    def declare(*_: object) -> None:  # entities can only be declared there, so none is ever expanded
        raise refuse("a document type declaration is not allowed. Remove <!DOCTYPE ...>.")

    parser.StartElementHandler = open_element
    parser.CharacterDataHandler = spoken.append
    parser.StartDoctypeDeclHandler = declare
    try:
        parser.Parse(ssml, True)
    except expat.ExpatError as error:
        why = f"line {error.lineno}, column {error.offset + 1}: {expat.ErrorString(error.code)}"
        raise InvalidInputError("text", f"The SSML is not well-formed at {why}. Correct it, or send plain text.") from None
    return "".join(spoken)


def pieces(text: str, longest: int = LONGEST_PIECE) -> Iterator[str]:
    """``text`` in parts that an engine speaks one by one, so that the first is heard early and none is long to wait for.

    Joined they are ``text`` again. A part ends where a sentence does, in any script; in doubt (an abbreviation, an initial) it
    goes on, since engines find the sentences in it themselves. What is longer than ``longest`` code points is cut behind a
    clause, else a word, else anywhere but inside a character.
    """
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if _ends_sentence(match):
            yield from _cut(text[start : match.end()], longest)
            start = match.end()
    yield from _cut(text[start:], longest)


def _ends_sentence(match: re.Match[str]) -> bool:
    text, end = match.string, match["end"]
    if end is None or end[-1] in _UNSPACED_ENDS or match.end() == len(text):  # None: a new line
        return True
    if not match["space"] or text[match.end()].islower():
        return False
    word = _ABBREVIATION.search(text[max(0, match.start() - 4) : match.start()])
    return not (end == "." and word and word[1][0].isupper())


def _cut(text: str, longest: int) -> Iterator[str]:
    start = 0
    while len(text) - start > longest:
        middle, end = start + longest // 2, start + longest
        cut = _last(_CLAUSE_END, text, middle, end) or _last(_SPACE, text, middle, end) or _between_characters(text, middle, end)
        yield text[start:cut]
        start = cut
    if start < len(text):
        yield text[start:]


def _last(pattern: re.Pattern[str], text: str, start: int, end: int) -> int:
    """Where the last match in ``text[start:end]`` ends; 0 when there is none."""
    return max((match.end() for match in pattern.finditer(text, start, end)), default=0)


def _between_characters(text: str, start: int, end: int) -> int:
    """The last position from ``start`` to ``end`` that is not inside what a reader takes for one character, else ``end``."""
    return next((position for position in range(end, start, -1) if not _continues(text[position - 1], text[position])), end)


def _continues(before: str, after: str) -> bool:
    """Whether ``after`` is a combining mark, a skin tone, or joined to ``before``: the frequent rules of Unicode's UAX 29."""
    return unicodedata.category(after)[0] == "M" or "\u200d" in (before, after) or "🏻" <= after <= "🏿"
