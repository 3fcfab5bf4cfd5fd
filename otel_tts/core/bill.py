"""Bill: what the attempts of one request cost, each by the characters that it was given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otel_tts.core.emitter import Emitter
from otel_tts.core.labels import OwnLabels
from otel_tts.core.result import InvocationResult


class Bill:
    """The attempts of one request that its providers charge for."""

    parts: int = 0
    """How many attempts began a part of the text: all but those that repeat or replace the one before."""
    given: int = 0
    """How many code points the failed attempts at the current part were given, as far as that is known."""
    results: Sequence[InvocationResult] = ()
    """Of the attempts that made audio."""
    unpriced: bool = False
    """Whether it is counted as a request whose cost is not known."""

    def emit(
        self, emitter: Emitter, maker: tuple[str, str], characters: int | None, unheard: float, own: OwnLabels, *, complete: bool
    ) -> float | None:
        """Record what the attempts cost, and return the sum, in US dollars; None if it is unknown, or there was none.

        Args:
            emitter: what all requests of its Telemetry share.
            maker: the bounded labels of provider and model, for a request without a price.
            characters: code points of the request's text; None: unknown.
            unheard: the share of its audio that nobody heard, 0 to 1.
            own: the application's own labels.
            complete: whether the request ended well, so that all of its text was spoken.
        """
        if not self.results:
            return None
        total: float | None = 0.0
        for result, charged_for in charged(self.results, characters, parts=self.parts, complete=complete):
            cost = self._charge(emitter, result, charged_for, own)
            if cost and unheard:
                emitter.instruments.cost_wasted.add(cost * unheard, emitter.maker(result.provider, result.model), own)
            total = None if cost is None or total is None else total + cost
        if total is None:
            self.unpriced = True
            emitter.instruments.unpriced.add(1, maker)  # once a request: one unknown price makes its sum unknown
        return total

    def emit_late(self, emitter: Emitter, result: InvocationResult, characters: int | None, own: OwnLabels) -> None:
        """Record what an attempt cost that ended after the metrics of the request were recorded.

        Args:
            emitter: what all requests of its Telemetry share.
            result: of the attempt, which made audio.
            characters: code points of the request's text; None: unknown.
            own: the application's own labels.
        """
        ((_, charged_for),) = charged([result], characters, parts=self.parts, complete=False)
        if self._charge(emitter, result, charged_for, own) is None and not self.unpriced:
            self.unpriced = True
            emitter.instruments.unpriced.add(1, emitter.maker(result.provider, result.model))

    def _charge(self, emitter: Emitter, result: InvocationResult, characters: int | None, own: OwnLabels) -> float | None:
        """Record what an attempt cost, and return it, in US dollars; None if the price or the characters are unknown."""
        prices = emitter.prices
        cost = prices.cost(result.provider, result.model, 1 if characters is None else characters)
        if characters is None and cost:  # a price of 0 needs no characters
            prices.explain_text()
            return None
        if cost is not None:
            emitter.instruments.cost.add(cost, emitter.maker(result.provider, result.model), own)
        return cost


def charged(
    billed: Sequence[InvocationResult], characters: int | None, *, parts: int, complete: bool
) -> Iterable[tuple[InvocationResult, int | None]]:
    """Return the attempts that cost something, each with the characters that it is charged for; None: they are not known.

    An attempt that knows its own text is charged for that. The others were given the whole text if all of them were for the same
    part. Else each was given a part that is not known by itself. But if all parts were spoken, and by one provider and model, then
    the sum is known: together they are charged for the text once.

    Args:
        billed: the attempts that made audio.
        characters: code points of the request's text; None: unknown.
        parts: how many attempts began a part of the text.
        complete: whether the request ended well, so that all of its text was spoken.
    """
    if parts < 2:
        return [(result, characters if result.characters is None else result.characters) for result in billed]
    pieces = [result for result in billed if result.characters is None]
    charges = [(result, result.characters) for result in billed if result.characters is not None]
    stated = sum(result.characters or 0 for result in billed if result.cause.good)
    makers = {(result.provider, result.model) for result in pieces}
    same_maker = len(makers) == 1 and all(result.cause.good for result in pieces)
    if complete and same_maker and characters is not None and stated <= characters:
        return [*charges, (pieces[0], characters - stated)]
    return [*charges, *((result, None) for result in pieces)]
