"""Measures: everything that a caller can know of a service's metrics from its answers and its own clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from otel_tts import semconv
from otel_tts.commands.load.caller import Reply
from otel_tts.commands.load.traffic import Planned
from otel_tts.commands.verify.account import TOLERANCE, Amount, Amounts, CountedMeasure, Key
from otel_tts.core.prices import Prices
from otel_tts.semconv import (
    GRPC_SERVER_ERRORS,
    MADE_BY_PROVIDER,
    NONE,
    SERVED_FROM_CACHE,
    AttemptReason,
    CacheResult,
    Outcome,
)
from otel_tts.service.wire import SERVICE

_FORMATS = {"PCM": "pcm16", "WAV": "wav", "FLAC": "flac", "MP3": "mp3", "OPUS": "opus"}  # our labels of the API's encodings
_MAKER = (semconv.PROVIDER, semconv.MODEL)
_QUALITY = (semconv.PROVIDER, semconv.VOICE, semconv.LANGUAGE)
_ANY: Amount = (0.0, math.inf)

Added = Callable[[Planned, Reply, Outcome, Prices], Amounts]


def _maker(planned: Planned, reply: Reply) -> Key:
    if planned.invalid:
        return (NONE, NONE)
    return (reply.provider or None, reply.model or None)


def _stream(planned: Planned) -> str:
    return "true" if planned.stream else "false"


def _made(reply: Reply, outcome: Outcome) -> bool:
    """Whether a provider made it for this very call."""
    return outcome is Outcome.OK and reply.cache in MADE_BY_PROVIDER


def _of_made(amount: Callable[[Planned, Reply], Amount], *by: Callable[[Planned, Reply], str | None]) -> Added:
    """What each call adds whose audio a provider made, by its provider, its model and more."""

    def added(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
        if not _made(reply, outcome):
            return {}
        return {(*_maker(planned, reply), *(value(planned, reply) for value in by)): amount(planned, reply)}

    return added


def _of_streams(amount: Callable[[Reply], Amount], *by: Callable[[Reply, Outcome], str]) -> Added:
    """What each stream adds of which audio came, by its provider, its model, its cache result and more."""

    def added(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
        if not (planned.stream and reply.chunks and reply.cache):
            return {}
        return {(*_maker(planned, reply), reply.cache.value, *(value(reply, outcome) for value in by)): amount(reply)}

    return added


def _requests(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    cache = CacheResult.BYPASS if planned.invalid else reply.cache
    return {(*_maker(planned, reply), _stream(planned), cache.value if cache else None, outcome.value): 1}


def _voices(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    if outcome is Outcome.REJECTED:  # what was asked for need not exist
        return {(None, None, outcome.value): 1}
    return {(planned.request.language or NONE, planned.request.voice or NONE, outcome.value): 1}


def _characters(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    state = "cached" if reply.cache in SERVED_FROM_CACHE else "synthesized"
    return {(*_maker(planned, reply), state if reply.chunks else "wasted"): planned.characters}


def _audio(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    if not reply.chunks:
        return {}
    source = "cache" if reply.cache in SERVED_FROM_CACHE else "provider"
    amounts: dict[Key, Amount] = {(*_maker(planned, reply), "delivered", source): reply.seconds}
    if source == "provider":
        made = reply.seconds if outcome is Outcome.OK else (reply.seconds, math.inf)
        amounts[*_maker(planned, reply), "generated", source] = made
    return amounts


def _underruns(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    if not (planned.stream and reply.seconds and reply.cache):
        return {}
    return {(*_maker(planned, reply), reply.cache.value, cause): 1 for cause in ("provider", "consumer")}


def _rpcs(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    return {("grpc", _method(planned), reply.code, reply.code if reply.code in GRPC_SERVER_ERRORS else ""): 1}


def _method(planned: Planned) -> str:
    return f"{SERVICE}/{'SynthesizeStream' if planned.stream else 'Synthesize'}"


def _lookups(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    match reply.cache:
        case CacheResult.HIT:
            return {("hit",): 1, ("miss",): _ANY, ("error",): _ANY}
        case CacheResult.MISS | CacheResult.COALESCED:
            return {("miss",): (float(reply.cache is CacheResult.MISS), math.inf), ("error",): _ANY}
    return {}


def _cost(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    price = prices.cost(reply.provider, reply.model, planned.characters)
    return {_maker(planned, reply): price} if price is not None and _made(reply, outcome) else {}


def _avoided(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    price = prices.cost(reply.provider, reply.model, planned.characters)
    return {_maker(planned, reply): price} if price is not None and reply.cache in SERVED_FROM_CACHE else {}


def _unpriced(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    price = prices.cost(reply.provider, reply.model, planned.characters)
    return {_maker(planned, reply): 1} if price is None and _made(reply, outcome) else {}


def _queued(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    return {(): 1 if _made(reply, outcome) else (0.0, float(reply.cache is CacheResult.COALESCED))}


def _encoded(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    return {(_FORMATS.get(reply.encoding),): 1 if outcome is Outcome.OK else (0.0, 1.0)} if reply.chunks else {}


def _nothing(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    return {}


def _elapsed(planned: Planned, reply: Reply) -> Amount:
    return (0.0, reply.elapsed_s)


def _one(planned: Planned, reply: Reply) -> Amount:
    return 1


def _factor(planned: Planned, reply: Reply) -> Amount:
    return (0.0, reply.elapsed_s / reply.seconds if reply.seconds else math.inf)


def _voice(planned: Planned, reply: Reply) -> str:
    return planned.request.voice or NONE


def _language(planned: Planned, reply: Reply) -> str:
    return planned.request.language or NONE


def _seconds_by(key: Callable[[Planned, Outcome], Key]) -> Added:
    """Within the time that the caller measured."""
    return lambda planned, reply, outcome, prices: {key(planned, outcome): (0.0, reply.elapsed_s)}


def _quality(planned: Planned, reply: Reply, outcome: Outcome, prices: Prices) -> Amounts:
    if not _made(reply, outcome):
        return {}
    return {(reply.provider, _voice(planned, reply), _language(planned, reply)): (float(reply.audible), 1.0)}


MEASURES: Sequence[CountedMeasure] = (
    CountedMeasure(
        "requests", semconv.SYNTHESIS_DURATION, (*_MAKER, semconv.STREAM, semconv.CACHE_RESULT, semconv.OUTCOME), _requests
    ),
    CountedMeasure("requests by voice", semconv.SYNTHESIS_REQUESTS, (semconv.LANGUAGE, semconv.VOICE, semconv.OUTCOME), _voices),
    CountedMeasure(
        "failures",
        semconv.SYNTHESIS_FAILURES,
        (semconv.OUTCOME,),
        lambda planned, reply, outcome, prices: {(outcome.value,): 1} if outcome in semconv.FAILURES else {},
    ),
    CountedMeasure(
        "under way",
        semconv.SYNTHESIS_ACTIVE,
        (semconv.STREAM,),
        lambda planned, reply, outcome, prices: {(_stream(planned),): 0},
        total=True,
    ),
    CountedMeasure("characters", semconv.SYNTHESIS_CHARACTERS, (*_MAKER, semconv.CHARACTERS_STATE), _characters),
    CountedMeasure(
        "seconds of audio",
        semconv.SYNTHESIS_AUDIO,
        (*_MAKER, semconv.AUDIO_STATE, semconv.AUDIO_SOURCE),
        _audio,
        tolerance=TOLERANCE,
    ),
    CountedMeasure(
        "first bytes",
        semconv.SYNTHESIS_FIRST_BYTE,
        (*_MAKER, semconv.CACHE_RESULT),
        _of_streams(lambda reply: 1),
    ),
    CountedMeasure(
        "first audio",
        semconv.SYNTHESIS_FIRST_AUDIO,
        (*_MAKER, semconv.CACHE_RESULT, semconv.OUTCOME),
        _of_streams(lambda reply: (float(reply.audible), 1.0), lambda reply, outcome: outcome.value),
    ),
    CountedMeasure("underruns", semconv.STREAM_UNDERRUN, (*_MAKER, semconv.CACHE_RESULT, semconv.UNDERRUN_CAUSE), _underruns),
    CountedMeasure(
        "RPCs",
        semconv.RPC_DURATION,
        (semconv.RPC_SYSTEM_NAME, semconv.RPC_METHOD, semconv.RPC_RESPONSE_STATUS_CODE, semconv.ERROR_TYPE),
        _rpcs,
    ),
    CountedMeasure(
        "attempts",
        semconv.ATTEMPT_DURATION,
        (*_MAKER, semconv.OUTCOME, semconv.ERROR_TYPE, semconv.ATTEMPT_REASON),
        _of_made(_one, lambda *_: Outcome.OK.value, lambda *_: "", lambda *_: AttemptReason.INITIAL.value),
        inside=True,
        ignored=frozenset({AttemptReason.PROBE.value}),
    ),
    CountedMeasure("real-time factors", semconv.ATTEMPT_REAL_TIME_FACTOR, _MAKER, _of_made(_one), inside=True),
    CountedMeasure(
        "first chunks",
        semconv.CLIENT_FIRST_CHUNK,
        (*_MAKER, semconv.OPERATION_NAME),
        _of_made(lambda planned, reply: float(planned.stream), lambda *_: "text_to_speech"),
        inside=True,
    ),
    CountedMeasure(
        "operations",
        semconv.CLIENT_DURATION,
        (semconv.OPERATION_NAME,),
        lambda planned, reply, outcome, prices: {("text_to_speech",): (float(_made(reply, outcome)), math.inf)},
    ),
    CountedMeasure("fallbacks", semconv.PROVIDER_FALLBACKS, (), _nothing, inside=True),
    CountedMeasure(
        "providers available",
        semconv.PROVIDER_AVAILABLE,
        (semconv.PROVIDER,),
        lambda planned, reply, outcome, prices: {(reply.provider,): 1} if _made(reply, outcome) else {},
        inside=True,
        total=True,
        only_expected=True,
    ),
    CountedMeasure("cache look-ups", semconv.CACHE_LOOKUPS, (semconv.CACHE_LOOKUP_RESULT,), _lookups, inside=True),
    CountedMeasure("waits for text", semconv.TEXT_WAITING, (), _nothing),
    CountedMeasure("waits for an engine", semconv.QUEUE_WAITING, (), _queued, inside=True),
    CountedMeasure("encodings", semconv.ENCODE_DURATION, (semconv.AUDIO_FORMAT,), _encoded),
    CountedMeasure("cost in USD", semconv.USAGE_COST, _MAKER, _cost, inside=True, tolerance=TOLERANCE / 1000),
    CountedMeasure("avoided in USD", semconv.USAGE_COST_AVOIDED, _MAKER, _avoided, tolerance=TOLERANCE / 1000),
    CountedMeasure("wasted in USD", semconv.USAGE_COST_WASTED, _MAKER, _nothing, inside=True, tolerance=TOLERANCE / 1000),
    CountedMeasure("without a price", semconv.USAGE_UNPRICED, _MAKER, _unpriced, inside=True),
    *(
        CountedMeasure(metric.name.rpartition(".")[2].replace("_", " "), metric, _QUALITY, _quality, inside=True)
        for metric in (
            semconv.QUALITY_LOUDNESS,
            semconv.QUALITY_SILENCE_RATIO,
            semconv.QUALITY_CLIPPING_RATIO,
            semconv.QUALITY_SPEAKING_RATE,
            semconv.QUALITY_TRAILING_SILENCE,
        )
    ),
    CountedMeasure("interruptions", semconv.SYNTHESIS_TIME_TO_SILENCE, (), _nothing),
    CountedMeasure("in the background", semconv.BACKGROUND_DURATION, (), _nothing),
    # Sums of seconds, within what the caller's clock says.
    CountedMeasure(
        "seconds of requests",
        semconv.SYNTHESIS_DURATION,
        (semconv.STREAM, semconv.OUTCOME),
        _seconds_by(lambda planned, outcome: (_stream(planned), outcome.value)),
        sums=True,
    ),
    CountedMeasure(
        "seconds of RPCs",
        semconv.RPC_DURATION,
        (semconv.RPC_METHOD,),
        _seconds_by(lambda planned, outcome: (_method(planned),)),
        sums=True,
    ),
    CountedMeasure(
        "to first bytes",
        semconv.SYNTHESIS_FIRST_BYTE,
        (*_MAKER, semconv.CACHE_RESULT),
        _of_streams(lambda reply: (0.0, reply.first_s)),
        sums=True,
    ),
    CountedMeasure(
        "to first audio",
        semconv.SYNTHESIS_FIRST_AUDIO,
        (*_MAKER, semconv.CACHE_RESULT),
        _of_streams(lambda reply: (0.0, reply.elapsed_s + reply.seconds)),
        sums=True,
    ),
    CountedMeasure(
        "seconds of underrun",
        semconv.STREAM_UNDERRUN,
        (*_MAKER, semconv.CACHE_RESULT),
        _of_streams(lambda reply: (0.0, 2 * reply.elapsed_s)),
        sums=True,
    ),
    CountedMeasure("seconds of attempts", semconv.ATTEMPT_DURATION, _MAKER, _of_made(_elapsed), sums=True, inside=True),
    CountedMeasure("to first chunks", semconv.CLIENT_FIRST_CHUNK, _MAKER, _of_made(_elapsed), sums=True, inside=True),
    CountedMeasure("sum of factors", semconv.ATTEMPT_REAL_TIME_FACTOR, _MAKER, _of_made(_factor), sums=True, inside=True),
    CountedMeasure(
        "seconds in the queue",
        semconv.QUEUE_WAITING,
        (),
        _seconds_by(lambda planned, outcome: ()),
        sums=True,
        inside=True,
    ),
    CountedMeasure(
        "seconds of encoding",
        semconv.ENCODE_DURATION,
        (),
        _seconds_by(lambda planned, outcome: ()),
        sums=True,
    ),
)
PRICED = (semconv.USAGE_COST, semconv.USAGE_COST_AVOIDED, semconv.USAGE_COST_WASTED, semconv.USAGE_UNPRICED)
"""What depends on prices."""
