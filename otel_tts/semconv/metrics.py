"""Every metric: its attributes, and the bounds of its buckets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod

from otel_tts.semconv.attributes import (
    ATTEMPT_REASON,
    AUDIO_FORMAT,
    AUDIO_SOURCE,
    AUDIO_STATE,
    CACHE_EVICTION_REASON,
    CACHE_LOOKUP_RESULT,
    CACHE_RESULT,
    CACHE_TIER,
    CHARACTERS_STATE,
    CONNECTION_REUSED,
    DRIFT_COLUMN,
    ERROR_TYPE,
    FALLBACK_FROM,
    FALLBACK_TO,
    KIND,
    LANGUAGE,
    MODEL,
    OPERATION_NAME,
    OUTCOME,
    PROVIDER,
    RPC_METHOD,
    RPC_RESPONSE_STATUS_CODE,
    RPC_SYSTEM_NAME,
    SCORE_NAME,
    STREAM,
    UNDERRUN_CAUSE,
    VOICE,
    Attribute,
)
from otel_tts.semconv.values import DOWN_AFTER, ERROR_TYPES

MAX_ATTRIBUTE_SETS = 1500
"""The most attribute sets of a metric. Beyond 2,000, the SDK would put all further ones into one overflow series."""


class Instrument(StrEnum):
    """The instrument kinds in use. All except the histogram are observed at export, from totals that requests add to."""

    COUNTER = "counter"
    UP_DOWN_COUNTER = "updowncounter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its complete attribute set, and for a histogram the bucket bounds it advises, in its unit."""

    name: str
    instrument: Instrument
    unit: str
    description: str
    attributes: tuple[Attribute, ...] = ()
    buckets: tuple[float, ...] = ()
    stability: str = "development"

    @property
    def keys(self) -> tuple[str, ...]:
        """The attribute keys, in the order of the recorded values."""
        return tuple(attribute.key for attribute in self.attributes)

    @property
    def closed_sets(self) -> int:
        """The number of combinations of the closed attributes; ``error.type`` is counted together with the attribute it depends on."""
        closed = {a.key: len(a.values) for a in self.attributes if a.values}
        if ERROR_TYPE.key in closed and RPC_RESPONSE_STATUS_CODE.key in closed:
            del closed[ERROR_TYPE.key]  # the code's own name, or absent
        elif ERROR_TYPE.key in closed and OUTCOME.key in closed:
            del closed[ERROR_TYPE.key]
            closed[OUTCOME.key] = sum(max(1, len(types)) for types in ERROR_TYPES.values())
        elif ERROR_TYPE.key in closed:
            closed[ERROR_TYPE.key] += 1  # absent
        return prod(closed.values())

    @property
    def label_sets(self) -> int:
        """The most combinations of open label values (provider, model, voice, …); further ones become ``_OTHER``."""
        limits = [a.limit for a in self.attributes if a.limit]
        if not limits:
            return 0
        return min(prod(limits), MAX_ATTRIBUTE_SETS // self.closed_sets - 1)

    @property
    def worst_case(self) -> int:
        """The most attribute sets this metric can ever have."""
        return self.closed_sets * (self.label_sets + 1)


_P = (PROVIDER, MODEL)
# The bounds of latencies go beyond the longest default timeout (30 s): a quantile beyond the last bound would be unknown.
# 0.8 s and 2.5 s are the default references, 1.5 times these the alert thresholds: a threshold must be a bound, not inside a bucket.
_DURATION = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 2.5, 3.75, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.8, 1.0, 1.2, 2.0, 2.5, 3.75, 5.0, 10.0, 20.0, 40.0)
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
_RPC = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)  # advised by the RPC conventions
_RATIO = (0.0, 0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_SILENCE = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 5.0)  # people want less than 0.2 s
_GENAI = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
)  # advised by the GenAI conventions
_UNDERRUN = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
_RTF = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0, 5.0, 10.0)
# Histograms accept no negative values, so the level is recorded as dB below full scale, with the sign inverted: see the description.
_LOUDNESS = (3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0, 24.0, 27.0, 30.0, 33.0, 36.0, 40.0, 50.0, 60.0)
_SPEAKING = (4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 25.0, 30.0, 40.0)
_SCORE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)

_H, _C, _U, _G = Instrument.HISTOGRAM, Instrument.COUNTER, Instrument.UP_DOWN_COUNTER, Instrument.GAUGE

RPC_DURATION = Metric(
    "rpc.server.call.duration", _H, "s", "Duration of RPCs, of every kind.",
    (RPC_SYSTEM_NAME, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, ERROR_TYPE), _RPC, "release_candidate",
)  # fmt: skip
SYNTHESIS_DURATION = Metric(
    "tts.synthesis.duration", _H, "s", "Duration of synthesis requests, from arrival, or the first text, to the last byte.",
    (*_P, STREAM, CACHE_RESULT, OUTCOME), _DURATION,
)  # fmt: skip
SYNTHESIS_FIRST_BYTE = Metric(
    "tts.synthesis.time_to_first_byte", _H, "s", "Streams: from arrival to the first audio byte handed out.",
    (*_P, CACHE_RESULT), _FIRST,
)  # fmt: skip
SYNTHESIS_FIRST_AUDIO = Metric(
    "tts.synthesis.time_to_first_audio", _H, "s", "Streams: from arrival to the first audible sample.",
    (*_P, CACHE_RESULT, OUTCOME), _FIRST,
)  # fmt: skip
SYNTHESIS_TIME_TO_SILENCE = Metric(
    "tts.synthesis.time_to_silence", _H, "s", "Interrupted requests: from the interruption to the last audio handed out.",
    _P, _SILENCE,
)  # fmt: skip
BACKGROUND_DURATION = Metric(
    "tts.background.duration", _H, "s",
    "Duration of prefetch and batch requests, which no other metric of duration, number or failure counts.",
    (*_P, KIND, OUTCOME), _DURATION,
)  # fmt: skip
SYNTHESIS_ACTIVE = Metric("tts.synthesis.active", _U, "{request}", "Synthesis requests under way.", (STREAM,))
SYNTHESIS_REQUESTS = Metric(
    "tts.synthesis.requests", _C, "{request}", "Synthesis requests by what was asked for.", (LANGUAGE, VOICE, OUTCOME)
)
SYNTHESIS_FAILURES = Metric(
    "tts.synthesis.failures", _C, "{request}", "Synthesis requests that failed through the service's fault.",
    (*_P, OUTCOME, ERROR_TYPE),
)  # fmt: skip
SYNTHESIS_CHARACTERS = Metric(
    "tts.synthesis.characters", _C, "{character}", "Unicode code points of text, once per request.", (*_P, CHARACTERS_STATE)
)
SYNTHESIS_AUDIO = Metric(
    "tts.synthesis.audio", _C, "s", "Seconds of audio made by providers and handed to callers.",
    (*_P, AUDIO_STATE, AUDIO_SOURCE),
)  # fmt: skip
STREAM_UNDERRUN = Metric(
    "tts.stream.underrun", _H, "s", "Streams: worst shortfall of audio for a player without pre-roll; 0 when none.",
    (*_P, CACHE_RESULT, UNDERRUN_CAUSE), _UNDERRUN,
)  # fmt: skip
TEXT_WAITING = Metric(
    "tts.text.wait", _H, "s", "Streamed text: how long its further parts were waited for, after the first one.", (), _DURATION
)
QUEUE_WAITING = Metric("tts.queue.wait", _H, "s", "How long requests waited for a free engine.", (), _SHORT)
ENCODE_DURATION = Metric("tts.encode.duration", _H, "s", "Duration of encoding audio.", (AUDIO_FORMAT,), _SHORT)
ATTEMPT_DURATION = Metric(
    "tts.attempt.duration", _H, "s", "Duration of attempts at a provider.", (*_P, OUTCOME, ERROR_TYPE, ATTEMPT_REASON), _DURATION
)
ATTEMPT_REAL_TIME_FACTOR = Metric(
    "tts.attempt.real_time_factor", _H, "1", "Waiting for the engine per second of audio, of attempts that ended ok.", _P, _RTF
)
CLIENT_DURATION = Metric(
    "gen_ai.client.operation.duration", _H, "s", "Duration of attempts at a provider, by the name of the GenAI conventions.",
    (OPERATION_NAME, *_P, ERROR_TYPE), _GENAI,
)  # fmt: skip
CLIENT_FIRST_CHUNK = Metric(
    "gen_ai.client.operation.time_to_first_chunk", _H, "s",
    "Streams: from asking a provider to its first audio, by the name of the GenAI conventions.",
    (OPERATION_NAME, *_P), _GENAI,
)  # fmt: skip
CONNECT_DURATION = Metric(
    "tts.connection.open.duration", _H, "s", "How long opening a connection to a provider took, or took to fail.",
    (PROVIDER, ERROR_TYPE), _SHORT,
)  # fmt: skip
CONNECTION_USES = Metric(
    "tts.connection.uses", _C, "{utterance}", "Utterances over connections to a provider.", (PROVIDER, CONNECTION_REUSED)
)
CACHE_LOOKUPS = Metric("tts.cache.lookups", _C, "{lookup}", "Cache look-ups, per tier.", (CACHE_TIER, CACHE_LOOKUP_RESULT))
CACHE_ENTRIES = Metric("tts.cache.entry.count", _U, "{entry}", "Entries in the cache.", (CACHE_TIER,))
CACHE_SIZE = Metric("tts.cache.size", _U, "By", "Bytes in the cache.", (CACHE_TIER,))
CACHE_EVICTIONS = Metric(
    "tts.cache.evictions", _C, "{entry}", "Entries that left the cache.", (CACHE_TIER, CACHE_EVICTION_REASON)
)
PROVIDER_AVAILABLE = Metric(
    "tts.provider.available",
    _G,
    "{provider}",
    f"1 when the provider can be used, 0 after {DOWN_AFTER} failed attempts in a row or when the application says so; else no point.",
    (PROVIDER,),
)
PROVIDER_HEALTH_AGE = Metric(
    "tts.provider.health.age", _G, "s", "Time since the provider was last known to be good.", (PROVIDER,)
)
PROVIDER_FALLBACKS = Metric(
    "tts.provider.fallbacks", _C, "{fallback}", "Moves from a failed provider to the next, one per hop.",
    (FALLBACK_FROM, FALLBACK_TO, ERROR_TYPE),
)  # fmt: skip
USAGE_COST = Metric("tts.usage.cost", _C, "{USD}", "What provider-made audio cost, by the prices given.", _P)
USAGE_COST_AVOIDED = Metric("tts.usage.cost_avoided", _C, "{USD}", "What cached and coalesced audio would have cost.", _P)
USAGE_COST_WASTED = Metric(
    "tts.usage.cost_wasted", _C, "{USD}", "What provider-made audio cost that nobody heard; part of the cost.", _P
)
USAGE_UNPRICED = Metric("tts.usage.unpriced", _C, "{request}", "Requests whose price is not known; never counted as 0.", _P)
_QUALITY = (PROVIDER, VOICE, LANGUAGE)
QUALITY_LOUDNESS = Metric(
    "tts.audio.loudness", _H, "dB", "Level of voiced frames, in dB below full scale (20 means -20 dBFS).", _QUALITY, _LOUDNESS
)
QUALITY_SILENCE_RATIO = Metric("tts.audio.silence_ratio", _H, "1", "Share of the audio that is silent.", _QUALITY, _RATIO)
QUALITY_CLIPPING_RATIO = Metric("tts.audio.clipping_ratio", _H, "1", "Share of samples at full scale.", _QUALITY, _RATIO)
QUALITY_SPEAKING_RATE = Metric(
    "tts.audio.speaking_rate", _H, "{character}/s", "Code points of text per second of voiced audio.", _QUALITY, _SPEAKING
)
QUALITY_TRAILING_SILENCE = Metric("tts.audio.trailing_silence", _H, "s", "Silence at the end of the audio.", _QUALITY, _SHORT)
QUALITY_SCORE = Metric("tts.audio.score", _H, "1", "Verdicts of the adopter's quality model.", (SCORE_NAME, VOICE), _SCORE)
REFERENCE_LATENCY = Metric(
    "tts.reference.latency", _G, "s",
    "The p95 that current latency is judged against: of streams that of first audio, of unary requests that of their duration.",
    (PROVIDER, STREAM),
)  # fmt: skip
DRIFT_SCORE = Metric("tts.drift.score", _G, "{score}", "Distance of a measure from its reference.", (PROVIDER, DRIFT_COLUMN))
DRIFT_DETECTED = Metric(
    "tts.drift.detected", _G, "{detection}", "1 when a measure was judged drifted, else 0.", (PROVIDER, DRIFT_COLUMN)
)

METRICS: Sequence[Metric] = (
    RPC_DURATION, SYNTHESIS_DURATION, SYNTHESIS_FIRST_BYTE, SYNTHESIS_FIRST_AUDIO, SYNTHESIS_TIME_TO_SILENCE,
    BACKGROUND_DURATION, SYNTHESIS_ACTIVE, SYNTHESIS_REQUESTS, SYNTHESIS_FAILURES, SYNTHESIS_CHARACTERS,
    SYNTHESIS_AUDIO, STREAM_UNDERRUN, TEXT_WAITING, QUEUE_WAITING, ENCODE_DURATION, ATTEMPT_DURATION, ATTEMPT_REAL_TIME_FACTOR,
    CLIENT_DURATION, CLIENT_FIRST_CHUNK, CONNECT_DURATION, CONNECTION_USES, CACHE_LOOKUPS, CACHE_ENTRIES, CACHE_SIZE,
    CACHE_EVICTIONS, PROVIDER_AVAILABLE, PROVIDER_HEALTH_AGE, PROVIDER_FALLBACKS, USAGE_COST, USAGE_COST_AVOIDED,
    USAGE_COST_WASTED, USAGE_UNPRICED, QUALITY_LOUDNESS, QUALITY_SILENCE_RATIO, QUALITY_CLIPPING_RATIO,
    QUALITY_SPEAKING_RATE, QUALITY_TRAILING_SILENCE, QUALITY_SCORE, REFERENCE_LATENCY, DRIFT_SCORE, DRIFT_DETECTED,
)  # fmt: skip
