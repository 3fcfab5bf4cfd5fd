"""Charges: how many characters each attempt of a request is charged for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otel_tts.core.result import InvocationResult


def charged(
    billed: Sequence[InvocationResult], characters: int, *, parts: int, complete: bool
) -> Iterable[tuple[InvocationResult, int | None]]:
    """Return the attempts that cost something, each with the characters that it is charged for; None: they are not known.

    An attempt that knows its own text is charged for that. The others were given the whole text if all of them were for the same
    part. Else each was given a part that is not known by itself. But if all parts were spoken, and by one provider and model, then
    the sum is known: together they are charged for the text once.

    Args:
        billed: the attempts that made audio.
        characters: code points of the request's text.
        parts: how many attempts began a part of the text.
        complete: whether the request ended well, so that all of its text was spoken.
    """
    if parts < 2:
        return [(result, characters if result.characters is None else result.characters) for result in billed]
    pieces = [result for result in billed if result.characters is None]
    charges = [(result, result.characters) for result in billed if result.characters is not None]
    stated = sum(result.characters or 0 for result in billed if result.cause.good)
    makers = {(result.provider, result.model) for result in pieces}
    if complete and len(makers) == 1 and stated <= characters and all(result.cause.good for result in pieces):
        return [*charges, (pieces[0], characters - stated)]
    return [*charges, *((result, None) for result in pieces)]
