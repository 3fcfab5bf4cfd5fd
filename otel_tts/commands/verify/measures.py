"""Measures: everything that a caller can know of a service's metrics from its answers and its own clock."""

from __future__ import annotations

import math
from collections.abc import Sequence

from otel_tts import semconv
from otel_tts.commands.verify import amounts
from otel_tts.commands.verify.account import TOLERANCE, CountedMeasure
from otel_tts.semconv import AttemptReason, Outcome

_MAKER = (semconv.PROVIDER, semconv.MODEL)
_QUALITY = (semconv.PROVIDER, semconv.VOICE, semconv.LANGUAGE)

MEASURES: Sequence[CountedMeasure] = (
    CountedMeasure(
        "requests", semconv.SYNTHESIS_DURATION, (*_MAKER, semconv.STREAM, semconv.CACHE_RESULT, semconv.OUTCOME), amounts.requests
    ),
    CountedMeasure(
        "requests by voice",
        semconv.SYNTHESIS_REQUESTS,
        (semconv.LANGUAGE, semconv.VOICE, semconv.OUTCOME),
        amounts.requests_by_voice,
    ),
    CountedMeasure(
        "failures",
        semconv.SYNTHESIS_FAILURES,
        (semconv.OUTCOME,),
        lambda call: {(call.outcome.value,): 1} if call.outcome in semconv.FAILURES else {},
    ),
    CountedMeasure(
        "under way",
        semconv.SYNTHESIS_ACTIVE,
        (semconv.STREAM,),
        lambda call: {(call.stream,): 0},
        total=True,
    ),
    CountedMeasure("characters", semconv.SYNTHESIS_CHARACTERS, (*_MAKER, semconv.CHARACTERS_STATE), amounts.characters),
    CountedMeasure(
        "seconds of audio",
        semconv.SYNTHESIS_AUDIO,
        (*_MAKER, semconv.AUDIO_STATE, semconv.AUDIO_SOURCE),
        amounts.audio_s,
        tolerance=TOLERANCE,
    ),
    CountedMeasure(
        "first bytes",
        semconv.SYNTHESIS_FIRST_BYTE,
        (*_MAKER, semconv.CACHE_RESULT),
        amounts.of_streams(amounts.one),
    ),
    CountedMeasure(
        "first audio",
        semconv.SYNTHESIS_FIRST_AUDIO,
        (*_MAKER, semconv.CACHE_RESULT, semconv.OUTCOME),
        amounts.of_streams(lambda call: (float(call.reply.audible), 1.0), lambda call: call.outcome.value),
    ),
    CountedMeasure(
        "underruns", semconv.STREAM_UNDERRUN, (*_MAKER, semconv.CACHE_RESULT, semconv.UNDERRUN_CAUSE), amounts.underruns
    ),
    CountedMeasure(
        "RPCs",
        semconv.RPC_DURATION,
        (semconv.RPC_SYSTEM_NAME, semconv.RPC_METHOD, semconv.RPC_RESPONSE_STATUS_CODE, semconv.ERROR_TYPE),
        amounts.rpcs,
    ),
    CountedMeasure(
        "attempts",
        semconv.ATTEMPT_DURATION,
        (*_MAKER, semconv.OUTCOME, semconv.ERROR_TYPE, semconv.ATTEMPT_REASON),
        amounts.of_made(amounts.one, Outcome.OK.value, "", AttemptReason.INITIAL.value),
        inside=True,
        ignored=frozenset({AttemptReason.PROBE.value}),
    ),
    CountedMeasure("real-time factors", semconv.ATTEMPT_REAL_TIME_FACTOR, _MAKER, amounts.of_made(amounts.one), inside=True),
    CountedMeasure(
        "first chunks",
        semconv.CLIENT_FIRST_CHUNK,
        (*_MAKER, semconv.OPERATION_NAME),
        amounts.of_made(lambda call: float(call.planned.stream), "text_to_speech"),
        inside=True,
    ),
    CountedMeasure(
        "operations",
        semconv.CLIENT_DURATION,
        (semconv.OPERATION_NAME,),
        lambda call: {("text_to_speech",): (float(call.is_made_by_provider), math.inf)},
    ),
    CountedMeasure("fallbacks", semconv.PROVIDER_FALLBACKS, (), amounts.nothing, inside=True),
    CountedMeasure(
        "providers available",
        semconv.PROVIDER_AVAILABLE,
        (semconv.PROVIDER,),
        lambda call: {(call.reply.provider,): 1} if call.is_made_by_provider else {},
        inside=True,
        total=True,
        only_expected=True,
    ),
    CountedMeasure("cache look-ups", semconv.CACHE_LOOKUPS, (semconv.CACHE_LOOKUP_RESULT,), amounts.cache_lookups, inside=True),
    CountedMeasure("waits for text", semconv.TEXT_WAITING, (), amounts.nothing),
    CountedMeasure("waits for an engine", semconv.QUEUE_WAITING, (), amounts.queue_waits, inside=True),
    CountedMeasure("encodings", semconv.ENCODE_DURATION, (semconv.AUDIO_FORMAT,), amounts.encodings),
    CountedMeasure("cost in USD", semconv.USAGE_COST, _MAKER, amounts.cost_usd, inside=True, tolerance=TOLERANCE / 1000),
    CountedMeasure("avoided in USD", semconv.USAGE_COST_AVOIDED, _MAKER, amounts.cost_avoided_usd, tolerance=TOLERANCE / 1000),
    CountedMeasure("wasted in USD", semconv.USAGE_COST_WASTED, _MAKER, amounts.nothing, inside=True, tolerance=TOLERANCE / 1000),
    CountedMeasure("without a price", semconv.USAGE_UNPRICED, _MAKER, amounts.unpriced, inside=True),
    *(
        CountedMeasure(metric.name.rpartition(".")[2].replace("_", " "), metric, _QUALITY, amounts.quality, inside=True)
        for metric in (
            semconv.QUALITY_LOUDNESS,
            semconv.QUALITY_SILENCE_RATIO,
            semconv.QUALITY_CLIPPING_RATIO,
            semconv.QUALITY_SPEAKING_RATE,
            semconv.QUALITY_TRAILING_SILENCE,
        )
    ),
    CountedMeasure("interruptions", semconv.SYNTHESIS_TIME_TO_SILENCE, (), amounts.nothing),
    CountedMeasure("in the background", semconv.BACKGROUND_DURATION, (), amounts.nothing),
    # Sums of seconds, within what the caller's clock says.
    CountedMeasure(
        "seconds of requests",
        semconv.SYNTHESIS_DURATION,
        (semconv.STREAM, semconv.OUTCOME),
        amounts.seconds_by(lambda call: (call.stream, call.outcome.value)),
        sums=True,
    ),
    CountedMeasure(
        "seconds of RPCs",
        semconv.RPC_DURATION,
        (semconv.RPC_METHOD,),
        amounts.seconds_by(lambda call: (call.method,)),
        sums=True,
    ),
    CountedMeasure(
        "to first bytes",
        semconv.SYNTHESIS_FIRST_BYTE,
        (*_MAKER, semconv.CACHE_RESULT),
        amounts.of_streams(lambda call: (0.0, call.reply.first_s)),
        sums=True,
    ),
    CountedMeasure(
        "to first audio",
        semconv.SYNTHESIS_FIRST_AUDIO,
        (*_MAKER, semconv.CACHE_RESULT),
        amounts.of_streams(lambda call: (0.0, call.reply.elapsed_s + call.reply.seconds)),
        sums=True,
    ),
    CountedMeasure(
        "seconds of underrun",
        semconv.STREAM_UNDERRUN,
        (*_MAKER, semconv.CACHE_RESULT),
        amounts.of_streams(lambda call: (0.0, 2 * call.reply.elapsed_s)),
        sums=True,
    ),
    CountedMeasure(
        "seconds of attempts", semconv.ATTEMPT_DURATION, _MAKER, amounts.of_made(amounts.elapsed), sums=True, inside=True
    ),
    CountedMeasure(
        "to first chunks", semconv.CLIENT_FIRST_CHUNK, _MAKER, amounts.of_made(amounts.elapsed), sums=True, inside=True
    ),
    CountedMeasure(
        "sum of factors",
        semconv.ATTEMPT_REAL_TIME_FACTOR,
        _MAKER,
        amounts.of_made(amounts.real_time_factor),
        sums=True,
        inside=True,
    ),
    CountedMeasure(
        "seconds in the queue",
        semconv.QUEUE_WAITING,
        (),
        amounts.seconds_by(lambda call: ()),
        sums=True,
        inside=True,
    ),
    CountedMeasure(
        "seconds of encoding",
        semconv.ENCODE_DURATION,
        (),
        amounts.seconds_by(lambda call: ()),
        sums=True,
    ),
)
PRICED = (semconv.USAGE_COST, semconv.USAGE_COST_AVOIDED, semconv.USAGE_COST_WASTED, semconv.USAGE_UNPRICED)
"""What depends on prices."""
