"""Amounts: what one call adds to each measure of a service, as far as its caller can know.

Each function takes a judged call, and returns the amounts by the values of the measure's attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from otel_tts.commands.verify.account import Amount, Amounts
from otel_tts.commands.verify.judged import JudgedCall, Key
from otel_tts.semconv import GRPC_SERVER_ERRORS, CacheResult, Outcome

_FORMATS = {"PCM": "pcm16", "WAV": "wav", "FLAC": "flac", "MP3": "mp3", "OPUS": "opus"}  # our labels of the API's encodings
_ANY: Amount = (0.0, math.inf)

Added = Callable[[JudgedCall], Amounts]


def of_made(amount: Callable[[JudgedCall], Amount], *values: str) -> Added:
    """Return a function for calls whose audio a provider made, by provider, model and more.

    Args:
        amount: returns what one of these calls adds.
        values: of the other attributes.
    """
    return lambda call: {(*call.maker, *values): amount(call)} if call.is_made_by_provider else {}


def of_streams(amount: Callable[[JudgedCall], Amount], *by: Callable[[JudgedCall], str]) -> Added:
    """Return a function for streams of which audio came, by provider, model, cache result and more.

    Args:
        amount: returns what one of these streams adds.
        by: return the values of the other attributes.
    """

    def added(call: JudgedCall) -> Amounts:
        if not (call.planned.stream and call.reply.chunks and call.reply.cache):
            return {}
        return {(*call.maker, call.reply.cache.value, *(value(call) for value in by)): amount(call)}

    return added


def seconds_by(key: Callable[[JudgedCall], Key]) -> Added:
    """Return a function for a time that is part of what the caller measured.

    Args:
        key: returns the values of the measure's attributes.
    """
    return lambda call: {key(call): elapsed(call)}


def requests(call: JudgedCall) -> Amounts:
    """Count a request.

    Args:
        call: the call.
    """
    cache = CacheResult.BYPASS if call.planned.invalid else call.reply.cache
    return {(*call.maker, call.stream, cache.value if cache else None, call.outcome.value): 1}


def requests_by_voice(call: JudgedCall) -> Amounts:
    """Count a request by its language and voice; those of a rejected one need not exist.

    Args:
        call: the call.
    """
    if call.outcome is Outcome.REJECTED:
        return {(None, None, call.outcome.value): 1}
    return {(call.language, call.voice, call.outcome.value): 1}


def characters(call: JudgedCall) -> Amounts:
    """Count the characters, wasted if no audio came.

    Args:
        call: the call.
    """
    state = "cached" if call.is_from_cache else "synthesized"
    return {(*call.maker, state if call.reply.chunks else "wasted"): call.planned.characters}


def audio_s(call: JudgedCall) -> Amounts:
    """Count the seconds of audio that came; a provider may have made more of a request that failed.

    Args:
        call: the call.
    """
    if not call.reply.chunks:
        return {}
    source = "cache" if call.is_from_cache else "provider"
    by_state: dict[Key, Amount] = {(*call.maker, "delivered", source): call.reply.seconds}
    if source == "provider":
        made = call.reply.seconds if call.outcome is Outcome.OK else (call.reply.seconds, math.inf)
        by_state[*call.maker, "generated", source] = made
    return by_state


def underruns(call: JudgedCall) -> Amounts:
    """Count a stream once for each possible cause of an underrun.

    Args:
        call: the call.
    """
    if not (call.planned.stream and call.reply.seconds and call.reply.cache):
        return {}
    return {(*call.maker, call.reply.cache.value, cause): 1 for cause in ("provider", "consumer")}


def rpcs(call: JudgedCall) -> Amounts:
    """Count an RPC; its status is an error type only if it is the server's fault.

    Args:
        call: the call.
    """
    code = call.reply.code
    return {("grpc", call.method, code, code if code in GRPC_SERVER_ERRORS else ""): 1}


def cache_lookups(call: JudgedCall) -> Amounts:
    """Count look-ups: before a hit in one tier, others may have missed or failed.

    Args:
        call: the call.
    """
    match call.reply.cache:
        case CacheResult.HIT:
            return {("hit",): 1, ("miss",): _ANY, ("error",): _ANY}
        case CacheResult.MISS | CacheResult.COALESCED:
            return {("miss",): (float(call.reply.cache is CacheResult.MISS), math.inf), ("error",): _ANY}
    return {}


def cost_usd(call: JudgedCall) -> Amounts:
    """Count what a provider takes for its audio.

    Args:
        call: the call.
    """
    return {call.maker: call.price_usd} if call.price_usd is not None and call.is_made_by_provider else {}


def cost_avoided_usd(call: JudgedCall) -> Amounts:
    """Count what a provider would have taken for audio from the cache.

    Args:
        call: the call.
    """
    return {call.maker: call.price_usd} if call.price_usd is not None and call.is_from_cache else {}


def unpriced(call: JudgedCall) -> Amounts:
    """Count audio of a provider that has no price.

    Args:
        call: the call.
    """
    return {call.maker: 1} if call.price_usd is None and call.is_made_by_provider else {}


def queue_waits(call: JudgedCall) -> Amounts:
    """Count a wait for an engine; the flight that a coalesced request joined may have waited, too.

    Args:
        call: the call.
    """
    return {(): 1 if call.is_made_by_provider else (0.0, float(call.reply.cache is CacheResult.COALESCED))}


def encodings(call: JudgedCall) -> Amounts:
    """Count an encoding of audio; that of a request that failed may not have been complete.

    Args:
        call: the call.
    """
    if not call.reply.chunks:
        return {}
    return {(_FORMATS.get(call.reply.encoding),): 1 if call.outcome is Outcome.OK else (0.0, 1.0)}


def quality(call: JudgedCall) -> Amounts:
    """Count a measurement of audio; silent audio may have none.

    Args:
        call: the call.
    """
    return (
        {(call.reply.provider, call.voice, call.language): (float(call.reply.audible), 1.0)} if call.is_made_by_provider else {}
    )


def nothing(call: JudgedCall) -> Amounts:
    """Count nothing: what `verify` sends never adds to it.

    Args:
        call: the call.
    """
    return {}


def one(call: JudgedCall) -> Amount:
    """Return 1: each call counts once.

    Args:
        call: the call.
    """
    return 1


def elapsed(call: JudgedCall) -> Amount:
    """Return the bounds of a time that is part of what the caller measured, in seconds.

    Args:
        call: the call.
    """
    return (0.0, call.reply.elapsed_s)


def real_time_factor(call: JudgedCall) -> Amount:
    """Return the bounds of processing time by audio duration.

    Args:
        call: the call.
    """
    return (0.0, call.reply.elapsed_s / call.reply.seconds if call.reply.seconds else math.inf)
