"""Streams: when they begin to sound, where they stop, and where the time goes."""

from __future__ import annotations

from otel_tts.promql.expressions import OK, PERCENTILES, among, below, mean, percentiles, rate, share
from otel_tts.promql.query import Queries, Scope
from otel_tts.semconv import (
    AUDIO_FORMAT,
    AUDIO_SOURCE,
    AUDIO_STATE,
    ENCODE_DURATION,
    OUTCOME,
    PROVIDER,
    QUEUE_WAITING,
    STREAM,
    STREAM_UNDERRUN,
    SYNTHESIS_AUDIO,
    SYNTHESIS_DURATION,
    SYNTHESIS_FIRST_AUDIO,
    SYNTHESIS_FIRST_BYTE,
    TEXT_WAITING,
    UNDERRUN_CAUSE,
    Outcome,
)

QUERIES = Queries()

percentiles(
    QUERIES, tuple(PERCENTILES), "first_byte", "Streams: from arrival to the first audio byte handed out", SYNTHESIS_FIRST_BYTE
)
percentiles(
    QUERIES,
    ("p95",),
    "underrun",
    "Streams: worst shortfall of audio for a player without pre-roll",
    STREAM_UNDERRUN,
    labels=(UNDERRUN_CAUSE,),
)
percentiles(QUERIES, tuple(PERCENTILES), "text_wait", "How long requests waited for more of their text", TEXT_WAITING)
percentiles(QUERIES, tuple(PERCENTILES), "queue_wait", "How long requests waited for a free engine", QUEUE_WAITING)
percentiles(QUERIES, ("p95",), "encode_duration", "Duration of encoding audio", ENCODE_DURATION, labels=(AUDIO_FORMAT,))

_STREAMS = among(STREAM, "true")
_BY_PROVIDER = among(UNDERRUN_CAUSE, "provider")


@QUERIES.query("1")
def gap_share(scope: Scope) -> str:
    """Share of streams in which the provider left a gap."""
    return f"1 - {share(below(scope, STREAM_UNDERRUN, 0, _BY_PROVIDER), rate(scope, STREAM_UNDERRUN, _BY_PROVIDER))}"


@QUERIES.query("1", PROVIDER)
def gap_share_by_provider(scope: Scope) -> str:
    """Share of streams in which the provider left a gap, by provider."""
    streams = rate(scope, STREAM_UNDERRUN, _BY_PROVIDER, by=(PROVIDER,))
    return f"1 - {share(below(scope, STREAM_UNDERRUN, 0, _BY_PROVIDER, by=(PROVIDER,)), streams)}"


@QUERIES.query("1", UNDERRUN_CAUSE)
def gap_share_by_cause(scope: Scope) -> str:
    """Share of streams with a gap, by who left it: the provider, or a caller that read too slowly."""
    streams = rate(scope, STREAM_UNDERRUN, by=(UNDERRUN_CAUSE,))
    return f"1 - {share(below(scope, STREAM_UNDERRUN, 0, by=(UNDERRUN_CAUSE,)), streams)}"


@QUERIES.query("{request}/s", OUTCOME)
def stream_rate(scope: Scope) -> str:
    """Streams a second, by how they ended."""
    return rate(scope, SYNTHESIS_DURATION, _STREAMS, by=(OUTCOME,))


@QUERIES.query("1")
def cancelled_share(scope: Scope) -> str:
    """Share of streams whose caller went away before the end."""
    cancelled = rate(scope, SYNTHESIS_DURATION, _STREAMS, among(OUTCOME, Outcome.CANCELLED))
    return share(cancelled, rate(scope, SYNTHESIS_DURATION, _STREAMS))


@QUERIES.query("1")
def partial_share(scope: Scope) -> str:
    """Share of streams that broke off through the service's fault, after some audio."""
    partial = rate(scope, SYNTHESIS_DURATION, _STREAMS, among(OUTCOME, Outcome.PARTIAL))
    return share(partial, rate(scope, SYNTHESIS_DURATION, _STREAMS))


@QUERIES.query("s/s", AUDIO_STATE, AUDIO_SOURCE)
def audio_rate(scope: Scope) -> str:
    """Seconds of audio a second: made by providers, and delivered to callers from either source."""
    return rate(scope, SYNTHESIS_AUDIO, by=(AUDIO_STATE, AUDIO_SOURCE))


@QUERIES.query("s")
def mean_duration(scope: Scope) -> str:
    """Mean duration of streams that succeeded, from arrival to the last byte."""
    return mean(scope, SYNTHESIS_DURATION, _STREAMS, OK)


@QUERIES.query("s")
def mean_silence_before_audio(scope: Scope) -> str:
    """Mean time between the first byte and the first audible sample."""
    return f"{mean(scope, SYNTHESIS_FIRST_AUDIO)} - {mean(scope, SYNTHESIS_FIRST_BYTE)}"
