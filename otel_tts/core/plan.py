"""Plan: the series, and the attributes of spans, of requests with the same labels and outcome, looked up once and then reused."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from otel_tts.core.clean import LARGEST
from otel_tts.core.emitter import Emitter
from otel_tts.core.labels import OwnLabels
from otel_tts.core.outcome import Cause
from otel_tts.core.repeated import RepeatedAttributes
from otel_tts.core.total import Sum
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
        saved_usd: the price of a character that a cache has saved; None if none was saved, or it is unknown.
        attributes: sets of attributes of spans, by what else they depend on.
        wasted: the sum of characters that were spoken and that nobody heard.
        lasting: whether it may be kept for the next request: no fact was replaced by ``_OTHER``. Facts that callers make up have no end,
            and would fill the memory.
    """

    __slots__ = (
        "_audio",
        "_characters",
        "_delivered",
        "_failures",
        "_own",
        "_requests",
        "_source",
        "attributes",
        "duration",
        "lasting",
        "maker",
        "saved_usd",
        "wasted",
    )

    def __init__(self, emitter: Emitter, facts: Facts, cause: Cause, own: OwnLabels) -> None:
        instruments, outcome = emitter.instruments, cause.outcome
        admit = outcome is not Outcome.REJECTED  # a rejected request does not prove that its voice exists
        self.attributes: dict[Hashable, RepeatedAttributes] = {}
        self.maker = maker = emitter.maker(facts.provider, facts.model, admit=admit)
        voice = emitter.voice_labels.bound(facts.voice, admit=admit)
        language = emitter.language_labels.bound(facts.language, admit=admit)
        given = (facts.provider, facts.model, facts.voice, facts.language)
        self.lasting = admit and all(fact in (None, label) for fact, label in zip(given, (*maker, voice, language), strict=True))
        self._requests: Sum | None = None
        self._failures: Sum | None = None
        if facts.kind is RequestKind.INTERACTIVE:
            self.duration = instruments.synthesis_duration.at((*maker, facts.stream, facts.cache, outcome), own)
            self._requests = instruments.requests.at((language, voice, outcome), own)
            if outcome in FAILURES:
                self._failures = instruments.failures.at((*maker, outcome, cause.error_type), own)
        else:
            self.duration = instruments.background_duration.at((*maker, facts.kind, outcome), own)
        cached = facts.cache in SERVED_FROM_CACHE
        self._characters = instruments.characters.at((*maker, "cached" if cached else "synthesized"), own)
        self.wasted = instruments.characters.at((*maker, "wasted"), own)
        self._audio, self._own, self._source = instruments.audio, own, "cache" if cached else "provider"
        self._delivered: Sum | None = None  # made when there is audio: else it would take a place that nobody uses
        self.saved_usd = emitter.prices.cost(facts.provider, facts.model, 1) if cached and facts.provider is not None else None

    def count(self, spoken: int, delivered_s: float | None) -> None:
        """Count a request.

        Args:
            spoken: code points that were spoken, and not wasted.
            delivered_s: seconds of audio that the caller got; None: unknown.
        """
        if delivered_s and (self._delivered is None or not 0 < delivered_s <= LARGEST):
            self.add_audio("delivered", delivered_s)
            delivered_s = None
        requests, failures, characters, delivered = self._requests, self._failures, self._characters, self._delivered
        with Sum.lock:  # once for all of them
            if requests is not None:
                requests.value = (requests.value or 0) + 1
            if failures is not None:
                failures.value = (failures.value or 0) + 1
            if spoken:
                characters.value = (characters.value or 0) + spoken
            if delivered_s and delivered is not None:
                delivered.value = (delivered.value or 0) + delivered_s

    def add_audio(self, state: str, seconds: float) -> None:
        """Count audio.

        Args:
            state: what became of it: delivered or heard.
            seconds: of audio.
        """
        values = (*self.maker, state, self._source)
        self._audio.add(seconds, values, self._own)
        if state == "delivered" and 0 < seconds <= LARGEST:
            self._delivered = self._audio.at(values, self._own)

    def keep(self, key: Hashable, attributes: RepeatedAttributes) -> dict[str, str | bool | int | float | tuple[str, ...]]:
        """Keep a set of attributes if it may come again, and return it.

        Args:
            key: what it depends on, besides the plan.
            attributes: of a span.
        """
        if not self.lasting or len(self.attributes) >= _FORMS:
            return dict(attributes)
        self.attributes[key] = attributes
        return attributes
