"""Judged calls: a call with its answer, and the outcome that the service must have counted for it."""

from __future__ import annotations

from dataclasses import dataclass

from otel_tts.commands.load.caller import Reply
from otel_tts.commands.load.traffic import Planned
from otel_tts.core.prices import Prices
from otel_tts.semconv import MADE_BY_PROVIDER, NONE, SERVED_FROM_CACHE, Outcome
from otel_tts.service.wire import SERVICE

Key = tuple[str | None, ...]
"""Values of attributes; None for one that an answer does not tell, so that it may be any."""


@dataclass(frozen=True, slots=True)
class JudgedCall:
    """One call whose outcome is known.

    Attributes:
        planned: what was asked for.
        reply: what came.
        outcome: what the service must have counted.
        prices: of the providers, per million characters.
    """

    planned: Planned
    reply: Reply
    outcome: Outcome
    prices: Prices

    @property
    def maker(self) -> Key:
        """Provider and model, which an invalid request never gets."""
        return (NONE, NONE) if self.planned.invalid else (self.reply.provider or None, self.reply.model or None)

    @property
    def stream(self) -> str:
        """Whether audio comes in pieces, as the attribute's value."""
        return "true" if self.planned.stream else "false"

    @property
    def method(self) -> str:
        """The full name of the RPC's method."""
        return f"{SERVICE}/{'SynthesizeStream' if self.planned.stream else 'Synthesize'}"

    @property
    def voice(self) -> str:
        """The requested voice."""
        return self.planned.request.voice or NONE

    @property
    def language(self) -> str:
        """The requested language."""
        return self.planned.request.language or NONE

    @property
    def is_made_by_provider(self) -> bool:
        """Whether a provider made its audio for this very call."""
        return self.outcome is Outcome.OK and self.reply.cache in MADE_BY_PROVIDER

    @property
    def is_from_cache(self) -> bool:
        """Whether its audio was made before."""
        return self.reply.cache in SERVED_FROM_CACHE

    @property
    def price_usd(self) -> float | None:
        """What a provider takes for its characters, in US dollars; None without a price."""
        return self.prices.cost(self.reply.provider, self.reply.model, self.planned.characters)
