"""Chain: how an order becomes audio.

Each provider's turn is cache, queue, engine. What fails before the first sample goes on to the next provider.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING

from otel_tts import PCM16
from otel_tts.service import cache
from otel_tts.service.cache import Cache, Entry
from otel_tts.service.engine import Engine, refuses_input
from otel_tts.service.failures import AllProvidersDownError, BrokenOffError, InputRefusedError, NoAudioError, frames
from otel_tts.service.flight import Flight, Flights
from otel_tts.service.order import Order
from otel_tts.service.queue import QueueFullError
from otel_tts.service.route import Leg, route
from otel_tts.service.speech import Voice

if TYPE_CHECKING:
    from otel_tts import Attempt, Synthesis

_logger = logging.getLogger(__name__)


class CacheStatus(StrEnum):
    """How the cache served a request. The names are those of the API."""

    HIT = auto()
    MISS = auto()
    BYPASS = auto()
    COALESCED = auto()


@dataclass(frozen=True, slots=True)
class Take:
    """Whose audio it is, and how it was come by. ``sample_rate``: Hz of its PCM16."""

    provider: str
    model: str
    voice: Voice
    sample_rate: int
    cache: CacheStatus
    fallback: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the audio, PCM16, mono."""

    take: Take
    pcm: bytes


class Chain:
    """The engines, the preferred one first, and the cache and the flights that they share.

    Args:
        engines: the engines, in the order of preference.
        cache: of audio.
    """

    def __init__(self, engines: Sequence[Engine], cache: Cache) -> None:
        self._engines = engines
        self._cache = cache
        self._flights = Flights()

    async def play(self, s: Synthesis, order: Order, *, stream: bool) -> AsyncGenerator[Piece, None]:
        """The audio as PCM16, mono, each piece with whose it is: as it comes when ``stream``, else in one piece.

        Args:
            s: the request, in telemetry.
            order: the request, checked.
            stream: whether audio is given as it comes, else in one piece.

        Raises:
            BrokenOffError: the provider failed after audio was sent.
            OtelTtsError: one of those that ``failures.answer`` knows an answer to.
        """
        legs = route(self._engines, order)
        failures: list[Exception] = []
        for leg in legs:
            spoke = False
            try:
                async with aclosing(self._turn(s, leg, order, stream=stream, fallback=leg is not legs[0])) as pieces:
                    async for piece in pieces:
                        spoke = True
                        yield piece
            except QueueFullError:  # under too much load the other providers are not the way out
                raise
            except Exception as error:
                failures.append(error)
                if not isinstance(error, AllProvidersDownError):
                    _logger.warning("%s failed: %s", leg.engine.provider.name, frames(error))
                if spoke:
                    raise BrokenOffError from error
            else:
                if spoke:
                    return
                failures.append(NoAudioError())
        raise _verdict(failures) from failures[0]

    async def _turn(self, s: Synthesis, leg: Leg, order: Order, *, stream: bool, fallback: bool) -> AsyncGenerator[Piece, None]:
        """One provider's audio. Nothing at all when the engine has nothing to say to this text."""
        provider, speech = leg.engine.provider, leg.speech
        model = provider.model(speech)
        pcm = PCM16(leg.voice.sample_rate)
        key = None if order.no_cache else cache.key(provider, speech)
        fresh = CacheStatus.MISS if key is not None and self._cache else CacheStatus.BYPASS

        def take(how: CacheStatus) -> Take:
            return Take(provider.name, model, leg.voice, pcm.sample_rate, how, fallback)

        if key is not None and (entry := await self._cache.find(s, key)) is not None:
            for chunk in s.deliver(entry.chunks(), pcm) if stream else [s.deliver(entry.pcm, pcm)]:
                yield Piece(take(CacheStatus.HIT), chunk)
            return
        if not leg.engine.circuit.closed:
            s.skipped(provider.name)
            raise AllProvidersDownError(leg.engine.circuit.probe_in())
        async with self._flights.join(key, lambda: self._flight(s, leg, key)) as (flight, leads):
            try:
                waited = await flight.admitted()
            except QueueFullError:
                s.skipped(provider.name, "queue_full")
                raise
            if leads:
                s.queued(waited)
                attempt = s.attempt(provider.name, model, remote=provider.remote)
                how, audio = fresh, _made(attempt, flight, pcm, stream=stream)
            elif await _begun(flight, s, provider.name):
                s.coalesced(provider.name, model, leader=flight.leader)
                how, audio = CacheStatus.COALESCED, _shared(s, flight, pcm, stream=stream)
            else:
                return
            async with aclosing(audio):
                async for chunk in audio:
                    yield Piece(take(how), chunk)

    def _flight(self, s: Synthesis, leg: Leg, key: str | None) -> Flight:
        return Flight(leg.engine.queue.slot(), self._call(s, leg, key), s)

    async def _call(self, s: Synthesis, leg: Leg, key: str | None) -> AsyncGenerator[bytes, None]:
        """What the engine makes, kept in the cache when it is whole."""
        provider, audio = leg.engine.provider, bytearray()
        async with aclosing(leg.engine.call(leg.speech)) as chunks:
            async for chunk in chunks:
                audio += chunk
                yield chunk
        if key is not None and audio:
            entry = Entry(bytes(audio), leg.voice.sample_rate, provider.name, provider.model(leg.speech), provider.version)
            await self._cache.store(s, key, entry)


async def _begun(flight: Flight, s: Synthesis, provider: str) -> bool:
    """Wait for the first audio that an engine makes for another request; its failure is this one's too, and so is no audio."""
    try:
        begun = await flight.begun()
    except Exception as error:
        s.skipped(provider, error=error)
        raise
    if not begun:
        s.skipped(provider, "no_audio")
    return begun


async def _made(attempt: Attempt, flight: Flight, pcm: PCM16, *, stream: bool) -> AsyncGenerator[bytes, None]:
    """The audio that an engine makes for this request. Until it is whole, a unary caller has been given nothing."""
    if stream:
        async with aclosing(attempt.stream(flight.read(), pcm)) as chunks:
            async for chunk in chunks:
                yield chunk
        return
    async with attempt:
        audio = attempt.audio(b"".join([chunk async for chunk in flight.read()]), pcm)
    if audio:
        yield audio


async def _shared(s: Synthesis, flight: Flight, pcm: PCM16, *, stream: bool) -> AsyncGenerator[bytes, None]:
    """The audio that an engine makes for another request."""
    if stream:
        async with aclosing(s.deliver(flight.read(), pcm)) as chunks:
            async for chunk in chunks:
                yield chunk
        return
    yield s.deliver(b"".join([chunk async for chunk in flight.read()]), pcm)


def _verdict(failures: Sequence[Exception]) -> Exception:
    """What to tell the caller when no provider spoke: what became of the preferred one, since the others stood in for it."""
    if isinstance(failures[0], NoAudioError):
        return failures[0]
    if refuses_input(failures[0]):
        return InputRefusedError()
    waits = [
        error.retry_after for error in failures if isinstance(error, AllProvidersDownError) and error.retry_after is not None
    ]
    return AllProvidersDownError(min(waits, default=None))
