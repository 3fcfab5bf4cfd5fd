"""Plan: the series, and the attributes of spans, of requests with the same labels and outcome, looked up once and then reused."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from otel_tts.core.emitter import Emitter
from otel_tts.core.labels import OwnLabels
from otel_tts.core.outcome import Cause
from otel_tts.core.repeated import RepeatedAttributes
from otel_tts.semconv import FAILURES, SERVED_FROM_CACHE, CacheResult, Outcome, RequestKind

_FORMS = 64
"""The most sets of attributes that a plan keeps: attempts, tiers and formats are few."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts from which labels are made. provider to language: as given, not bounded."""

    provider: str | None
    model: str | None
    voice: str | None
    language: str | None
    stream: bool
    cache: CacheResult
    kind: RequestKind


class Plan:
    """The series of requests that have the same labels.

    Args:
        emitter: what all requests of its Telemetry share.
        facts: of the requests.
        cause: how they ended.
        own: the application's own labels.

    Attributes:
        maker: the bounded labels of provider and model.
        duration: records how long a request took, seconds.
        counted: the sums that count it.
        attributes: sets of attributes of spans, by what else they depend on.
        characters: the sum of characters that were spoken.
        wasted: the sum of characters that were spoken and that nobody heard.
        lasting: whether it may be kept for the next request: no fact was replaced by ``_OTHER``. Facts that callers make up have no end,
            and would fill the memory.
    """

    __slots__ = ("attributes", "characters", "counted", "duration", "lasting", "maker", "wasted")

    def __init__(self, emitter: Emitter, facts: Facts, cause: Cause, own: OwnLabels) -> None:
        instruments, outcome = emitter.instruments, cause.outcome
        admit = outcome is not Outcome.REJECTED  # a rejected request does not prove that its voice exists
        self.attributes: dict[Hashable, RepeatedAttributes] = {}
        self.maker = maker = emitter.maker(facts.provider, facts.model, admit=admit)
        voice = emitter.voice_labels.bound(facts.voice, admit=admit)
        language = emitter.language_labels.bound(facts.language, admit=admit)
        given = (facts.provider, facts.model, facts.voice, facts.language)
        self.lasting = admit and all(fact in (None, label) for fact, label in zip(given, (*maker, voice, language), strict=True))
        if facts.kind is RequestKind.INTERACTIVE:
            self.duration = instruments.synthesis_duration.at((*maker, facts.stream, facts.cache, outcome), own)
            self.counted = [instruments.requests.at((language, voice, outcome), own)]
            if outcome in FAILURES:
                self.counted.append(instruments.failures.at((*maker, outcome, cause.error_type), own))
        else:
            self.duration = instruments.background_duration.at((*maker, facts.kind, outcome), own)
            self.counted = []
        state = "cached" if facts.cache in SERVED_FROM_CACHE else "synthesized"
        self.characters = instruments.characters.at((*maker, state), own)
        self.wasted = instruments.characters.at((*maker, "wasted"), own)

    def keep(self, key: Hashable, attributes: RepeatedAttributes) -> dict[str, str | bool | int | float]:
        """Keep a set of attributes if it may come again, and return it.

        Args:
            key: what it depends on, besides the plan.
            attributes: of a span.
        """
        if not self.lasting or len(self.attributes) >= _FORMS:
            return dict(attributes)
        self.attributes[key] = attributes
        return attributes
