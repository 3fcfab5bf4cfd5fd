"""The service: what happens to a request, in the order in which it happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from otel_tts import Telemetry
from otel_tts.service.catalog import voices
from otel_tts.service.chain import Chain, Piece, Take
from otel_tts.service.delivery import Delivery
from otel_tts.service.failures import answering
from otel_tts.service.order import encoding_number, given_text, read, readable
from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from otel_tts.service.providers import Provider

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from otel_tts import Synthesis

    Context = ServicerContext[Any, Any]
Part = tts_pb2.SynthesizeStreamResponse


class TextToSpeech:
    """``yap.tts.v1.TextToSpeech``. A request is None where the bytes that came were none.

    Args:
        chain: speaks.
        providers: in the order of preference.
        tts: the Telemetry that records.
        max_text: the most code points of a request.
    """

    def __init__(self, chain: Chain, providers: Sequence[Provider], tts: Telemetry, *, max_text: int) -> None:
        self._chain = chain
        self._providers = providers
        self._tts = tts
        self._max_text = max_text

    async def Synthesize(self, request: tts_pb2.SynthesizeRequest | None, context: Context) -> tts_pb2.SynthesizeResponse:
        """All the audio in one message.

        Args:
            request: the message; None: it could not be read.
            context: grpc's servicer context.
        """
        response = tts_pb2.SynthesizeResponse()
        async with aclosing(self._speak(request, context, stream=False)) as parts:
            async for part in parts:
                match part.WhichOneof("part"):
                    case "header":
                        response.rendition.CopyFrom(part.header)
                    case "chunk":
                        response.audio = part.chunk.audio
                    case "trailer":
                        response.audio_duration_seconds = part.trailer.audio_duration_seconds
        return response

    async def SynthesizeStream(self, request: tts_pb2.SynthesizeRequest | None, context: Context) -> AsyncGenerator[Part, None]:
        """Header, chunks as they are made, trailer.

        Args:
            request: the message; None: it could not be read.
            context: grpc's servicer context.
        """
        async with aclosing(self._speak(request, context, stream=True)) as parts:
            async for part in parts:
                yield part

    async def ListVoices(self, request: tts_pb2.ListVoicesRequest | None, context: Context) -> tts_pb2.ListVoicesResponse:
        """The voices of all providers.

        Args:
            request: the message; None: it could not be read.
            context: grpc's servicer context.
        """
        async with answering(context):
            offered = [tts_pb2.Voice(**asdict(voice)) for voice in voices(self._providers, readable(request))]
        return tts_pb2.ListVoicesResponse(voices=offered)

    async def _speak(
        self, request: tts_pb2.SynthesizeRequest | None, context: Context, *, stream: bool
    ) -> AsyncGenerator[Part, None]:
        """Both kinds of call: a unary one gets its audio in one chunk."""
        asked = request or tts_pb2.SynthesizeRequest()
        s = self._tts.synthesis(given_text(asked), asked.voice or None, asked.language or None, stream=stream)
        async with s, answering(context, s):
            order = read(readable(request), stream=stream, max_text=self._max_text)
            async with aclosing(self._chain.play(s, order, stream=stream)) as pieces:
                first = await anext(pieces)  # raises when nobody speaks
                delivery = Delivery(s, order, first.take.sample_rate, stream=stream)
                yield Part(header=_rendition(s, first.take, delivery))
                piece: Piece | None = first
                while piece is not None:
                    if audio := await delivery.feed(piece.pcm):
                        yield Part(chunk=tts_pb2.AudioChunk(audio=audio))
                    piece = await anext(pieces, None)
            if audio := await delivery.finish():
                yield Part(chunk=tts_pb2.AudioChunk(audio=audio))
            yield Part(trailer=tts_pb2.AudioTrailer(audio_duration_seconds=delivery.seconds, chunk_count=delivery.chunks))


def _rendition(s: Synthesis, take: Take, delivery: Delivery) -> tts_pb2.Rendition:
    return tts_pb2.Rendition(
        provider=take.provider,
        model=take.model,
        voice=take.voice.id,
        language=take.voice.language,
        cache=tts_pb2.CacheStatus.Value(f"CACHE_STATUS_{take.cache.name}"),
        fallback_used=take.fallback,
        encoding=encoding_number(delivery.encoding),
        sample_rate=delivery.sample_rate,
        trace_id=s.trace_id,
    )
