"""Plans: the series to which requests that end alike add, found once and not anew by each."""

from __future__ import annotations

from dataclasses import dataclass

from otel_tts.core.emitter import Emitter
from otel_tts.core.labels import OwnLabels
from otel_tts.core.outcome import Cause
from otel_tts.semconv import FAILURES, SERVED_FROM_CACHE, CacheResult, Outcome, RequestKind


@dataclass(frozen=True, slots=True)
class Facts:
    """What labels are made of. provider to language: as they were given, not bounded."""

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
        maker: the bounded labels for who made the audio.
        duration: records how long a request took.
        counted: count it.
        characters: adds characters that were spoken.
        wasted: adds characters that were spoken for nobody.
        lasting: whether the next request with these facts has it, too, and none of them is a caller's own: those have no end.
    """

    __slots__ = ("characters", "counted", "duration", "lasting", "maker", "wasted")

    def __init__(self, emitter: Emitter, facts: Facts, cause: Cause, own: OwnLabels) -> None:
        instruments, outcome = emitter.instruments, cause.outcome
        admit = outcome is not Outcome.REJECTED  # a refused request proves no voice to exist
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
