"""Caller: makes planned calls and notes what came back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import click
import grpc
import numpy as np

from otel_tts.commands.load.traffic import Planned
from otel_tts.commands.security import PLAIN, TLS_FAILED, Security
from otel_tts.grpc import TRACE_RESPONSE
from otel_tts.semconv import CacheResult
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc

PATIENCE_S = 60.0
"""Seconds after which a call that nothing was planned for is given up: a service that hangs shall not hang its caller."""
_BYTES_A_SAMPLE = 2  # streams are asked for as PCM16, mono
_CONNECTING = 5.0  # seconds
_WAV_HEADER = 44  # bytes
_AUDIBLE = 0.1  # of full scale: far above what anybody takes for silence


@dataclass(frozen=True, slots=True)
class Reply:
    """What a caller saw of one call.

    code: the gRPC status by name. answered: whether it is certainly the service's; else the call may have ended on this side.
    seconds and chunks: the audio received. cache: where it came from; None where none came. provider and model: who made it, as the
    answer says; empty where it does not. fallback: whether that is another than was to be asked first. encoding: by its name in the API.
    audible: whether it certainly holds more than silence. elapsed_s and first_s: seconds to the end of the call and to the first audio,
    by the caller's own clock.
    """

    code: str
    answered: bool
    seconds: float = 0.0
    chunks: int = 0
    cache: CacheResult | None = None
    provider: str = ""
    model: str = ""
    fallback: bool = False
    encoding: str = ""
    audible: bool = field(default=False, compare=False)
    elapsed_s: float = field(default=0.0, compare=False)
    first_s: float = field(default=0.0, compare=False)


class Caller:
    """Calls one service.

    Args:
        channel: to the service.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: tts_pb2_grpc.TextToSpeechAsyncStub = tts_pb2_grpc.TextToSpeechStub(channel)

    async def voices(self) -> Sequence[tts_pb2.Voice]:
        """The voices of the service.

        Raises:
            grpc.aio.AioRpcError: it cannot be asked.
        """
        listed = await self._stub.ListVoices(tts_pb2.ListVoicesRequest(), timeout=_CONNECTING)
        return listed.voices

    async def call(self, planned: Planned) -> Reply:
        """Make one call, to the end that was planned or that it came to.

        Args:
            planned: what was to be sent.
        """
        patience_s = PATIENCE_S if planned.patience_s is None else planned.patience_s
        began_s = time.perf_counter()
        if planned.stream:
            reply = await self._listen(planned, self._stub.SynthesizeStream(planned.request, timeout=patience_s), began_s)
        else:
            reply = await self._ask(self._stub.Synthesize(planned.request, timeout=patience_s))
        elapsed_s = time.perf_counter() - began_s
        return replace(reply, elapsed_s=elapsed_s, first_s=reply.first_s or elapsed_s)

    async def _ask(self, call: Any) -> Reply:
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            return Reply(error.code().name, _is_answer(error))
        rendition = response.rendition
        loud = rendition.encoding in (tts_pb2.AUDIO_ENCODING_WAV, tts_pb2.AUDIO_ENCODING_PCM) and _audible(
            response.audio[_WAV_HEADER:]
        )
        return Reply("OK", True, response.audio_duration_seconds, 1, **_origin(rendition), audible=loud)

    async def _listen(self, planned: Planned, call: Any, began_s: float) -> Reply:
        header, trailer, received, chunks, first_s, loud = tts_pb2.Rendition(), None, 0, 0, 0.0, False
        try:
            async for part in call:
                match part.WhichOneof("part"):
                    case "header":
                        header = part.header
                    case "chunk":
                        first_s = first_s or time.perf_counter() - began_s
                        received += len(part.chunk.audio)
                        chunks += 1
                        loud = loud or _audible(part.chunk.audio)
                        if planned.hangs_up:
                            call.cancel()
                            return Reply("CANCELLED", answered=False, chunks=chunks)
                    case "trailer":
                        trailer = part.trailer
        except grpc.aio.AioRpcError as error:
            seconds = received / _BYTES_A_SAMPLE / header.sample_rate if header.sample_rate else 0.0
            origin = _origin(header) if chunks else {}
            return Reply(error.code().name, _is_answer(error), seconds, chunks, **origin, audible=loud, first_s=first_s)
        if trailer is None:
            return Reply("OK", answered=False, chunks=chunks)  # it is not whole, whatever its status says
        return Reply("OK", True, trailer.audio_duration_seconds, chunks, **_origin(header), audible=loud, first_s=first_s)


def _is_answer(error: grpc.aio.AioRpcError) -> bool:
    """Whether the service made the status: each of its answers has a trace id."""
    return any(key == TRACE_RESPONSE for key, _ in error.trailing_metadata() or ())


def _origin(rendition: tts_pb2.Rendition) -> dict[str, Any]:
    """What an answer says of where its audio comes from."""
    return {
        "cache": CacheResult(tts_pb2.CacheStatus.Name(rendition.cache).removeprefix("CACHE_STATUS_").lower()),
        "provider": rendition.provider,
        "model": rendition.model,
        "fallback": rendition.fallback_used,
        "encoding": tts_pb2.AudioEncoding.Name(rendition.encoding).removeprefix("AUDIO_ENCODING_"),
    }


def _audible(pcm: bytes) -> bool:
    """Whether 16-bit samples are certainly more than silence."""
    samples = np.frombuffer(pcm[: len(pcm) // _BYTES_A_SAMPLE * _BYTES_A_SAMPLE], "<i2").astype(np.int32)
    return bool(samples.size) and int(np.abs(samples).max()) >= _AUDIBLE * 32768


@asynccontextmanager
async def calling(target: str, security: Security = PLAIN) -> AsyncIterator[Caller]:
    """A caller of a service.

    Args:
        target: ``HOST:PORT``.
        security: of the channel.
    """
    async with security.aio_channel(target) as channel:
        yield Caller(channel)


async def exchange(
    caller: Caller,
    calls: Iterable[Planned],
    report: Callable[[Planned, Reply], None],
    *,
    concurrency: int,
    rate: float | None = None,
    stopped: asyncio.Event | None = None,
) -> None:
    """Make the calls, at most ``concurrency`` at once and ``rate`` a second, until they are all made or ``stopped`` is set.

    Those under way are waited for. ``heard`` is told of each at its end.

    Args:
        caller: sends the calls.
        calls: what to send.
        report: is called with each call and what came.
        concurrency: how many calls at once.
        rate: calls a second; None: as fast as they are answered.
        stopped: ends the calls; None: nothing does.
    """
    places = asyncio.Semaphore(concurrency)

    async def one(planned: Planned) -> None:
        try:
            report(planned, await caller.call(planned))
        finally:
            places.release()

    due = time.monotonic()
    async with asyncio.TaskGroup() as under_way:
        for planned in calls:
            await places.acquire()
            if rate is not None:
                due = max(due + 1 / rate, time.monotonic() - 1)  # up to a second may be caught up with
                await asyncio.sleep(due - time.monotonic())
            if stopped is not None and stopped.is_set():
                places.release()
                return
            under_way.create_task(one(planned))


def unreachable(target: str, error: grpc.aio.AioRpcError, security: Security = PLAIN) -> click.ClickException:
    """Why nothing can be asked of ``target``, and what to do.

    Args:
        target: host and port.
        error: what the call ended with.
        security: of the channel.
    """
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return click.ClickException(f"What listens at {target} is not the speech service yap.tts.v1. Give another --target.")
    if security.credentials is not None:
        return click.ClickException(
            f"No speech service answers at {target} by TLS ({error.code().name}: {error.details()}). {TLS_FAILED}"
        )
    return click.ClickException(
        f"No speech service answers at {target} ({error.code().name}). "
        "Start one with `otel-tts serve`, or give --target HOST:PORT."
    )
