"""What speech sounds like, and whether it has drifted from its reference."""

from __future__ import annotations

from otel_tts.promql.expressions import below as at_most
from otel_tts.promql.expressions import last_run, mean, percentiles, quantile, rate, share
from otel_tts.promql.query import Queries, Scope
from otel_tts.semconv import (
    DRIFT_COLUMN,
    DRIFT_DETECTED,
    DRIFT_SCORE,
    LANGUAGE,
    PROVIDER,
    QUALITY_CLIPPING_RATIO,
    QUALITY_LOUDNESS,
    QUALITY_SCORE,
    QUALITY_SILENCE_RATIO,
    QUALITY_SPEAKING_RATE,
    QUALITY_TRAILING_SILENCE,
    SCORE_NAME,
    VOICE,
)

QUERIES = Queries()

AUDIBLE_CLIPPING = 0.001
"""The share of samples at full scale from which on clipping is heard: a bound of the metric's buckets."""
_VOICE = (LANGUAGE, VOICE)

percentiles(QUERIES, ("p95",), "silence_ratio", "Share of the audio that is silent", QUALITY_SILENCE_RATIO, labels=_VOICE)
percentiles(
    QUERIES, ("p50",), "speaking_rate", "Code points of text per second of voiced audio", QUALITY_SPEAKING_RATE, labels=_VOICE
)
percentiles(QUERIES, ("p95",), "trailing_silence", "Silence at the end of the audio", QUALITY_TRAILING_SILENCE, labels=_VOICE)


@QUERIES.query("dB", *_VOICE)
def loudness(scope: Scope) -> str:
    """Median level of the voiced frames in dB relative to full scale: nearer to 0 is louder."""
    return f"-({quantile(scope, 0.5, QUALITY_LOUDNESS, by=_VOICE)})"


@QUERIES.query("1", *_VOICE)
def clipped_share(scope: Scope) -> str:
    """Share of utterances with more than a thousandth of their samples at full scale."""
    clean = at_most(scope, QUALITY_CLIPPING_RATIO, AUDIBLE_CLIPPING, by=_VOICE)
    return f"1 - {share(clean, rate(scope, QUALITY_CLIPPING_RATIO, by=_VOICE))}"


@QUERIES.query("{utterance}/s", PROVIDER)
def judged_utterances(scope: Scope) -> str:
    """Utterances a second whose audio was looked at: those that providers made."""
    return rate(scope, QUALITY_LOUDNESS, by=(PROVIDER,))


@QUERIES.query("1", SCORE_NAME, VOICE)
def quality_score(scope: Scope) -> str:
    """Mean verdict of the adopter's quality model."""
    return mean(scope, QUALITY_SCORE, by=(SCORE_NAME, VOICE))


@QUERIES.query("{score}", PROVIDER, DRIFT_COLUMN)
def drift_score(scope: Scope) -> str:
    """Distance of a measure from its reference, in the batch job's last run within two days; the ten that are farthest."""
    return f"topk(10, {last_run(scope, DRIFT_SCORE, by=(PROVIDER, DRIFT_COLUMN))})"


@QUERIES.query("{detection}", PROVIDER, DRIFT_COLUMN)
def drift_detected(scope: Scope) -> str:
    """1 when the batch job's last run within two days judged a measure drifted, else 0."""
    return last_run(scope, DRIFT_DETECTED, by=(PROVIDER, DRIFT_COLUMN))
