"""Identifiers: how the id of a conversation is recorded, for what writes it and for what looks for it."""

from __future__ import annotations

import hashlib
import re

LONGEST_NAME = 128
"""The most code points of a name or an id."""
UNPRINTABLE = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""For a regular expression: controls, lone surrogates, and what turns the direction of the characters around it or breaks the line."""
NOT_IN_A_NAME = re.compile(f"[\t\n\r{UNPRINTABLE}]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS = "…"
_DIGITS = 8


def recorded_id(given: str) -> str:
    """Return an id as it is recorded: as it is given, where it has at most 128 code points and can be printed on one line.

    Any other is shortened, with replacement characters, and ends in an ellipsis and 8 digits of its SHA-256: ids that differ only behind
    the 128th code point, or in what cannot be printed, stay different. What is recorded is its own id.

    Args:
        given: by the application, or by who looks for it.
    """
    if len(given) <= LONGEST_NAME and NOT_IN_A_NAME.search(given) is None:
        return given
    digits = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return NOT_IN_A_NAME.sub(REPLACEMENT, given[: LONGEST_NAME - len(ELLIPSIS) - _DIGITS]) + ELLIPSIS + digits
