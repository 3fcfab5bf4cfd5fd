"""Delivery: audio on its way to the caller, in the encoding that was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from otel_tts.service.encoding import Encoder, encode, output_rate
from otel_tts.service.order import Order
from otel_tts.service.speech import InvalidInputError

if TYPE_CHECKING:
    from otel_tts import Synthesis

MAX_UNARY = 4 * 2**20 - 4096
"""Bytes of audio in one message: gRPC clients refuse messages above 4 MiB unless told otherwise."""


class Delivery:
    """Encodes the pieces of PCM16, mono, at ``sample_rate`` Hz for one request: as a stream, or the only piece as a whole file.

    What is costly runs in a worker thread. The time that encoding took is told to the Synthesis at the end.

    Args:
        s: the request, in telemetry.
        order: the request, checked.
        sample_rate: of the audio that is made, in Hz.
        stream: whether audio is delivered in pieces.
    """

    def __init__(self, s: Synthesis, order: Order, sample_rate: int, *, stream: bool) -> None:
        self.sample_rate = output_rate(order.encoding, sample_rate, order.sample_rate)
        """Hz of the encoded audio."""
        self.chunks = 0
        """How many pieces of encoded audio there were."""
        self.encoding = order.encoding
        self._s = s
        self._from_rate = sample_rate
        self._samples = 0
        self._encoder = Encoder(order.encoding, sample_rate, self.sample_rate) if stream else None
        self._costly = order.encoding.costly or self.sample_rate != sample_rate
        self._took = 0.0

    @property
    def seconds(self) -> float:
        """Audio fed so far."""
        return self._samples / self._from_rate

    async def feed(self, pcm: bytes) -> bytes:
        """What can be sent after this piece; may be nothing.

        Args:
            pcm: PCM16, mono.

        Raises:
            InvalidInputError: it is too much for one message.
        """
        self._samples += len(pcm) // 2
        if self._encoder is not None:
            return await self._run(self._encoder.feed, pcm)
        encoded = await self._run(lambda pcm: encode(pcm, self._from_rate, self.encoding, self.sample_rate), pcm)
        if len(encoded) > MAX_UNARY:
            raise InvalidInputError(
                "text",
                f"The audio is {self.seconds:.0f} s long, in this encoding too much for one message of 4 MiB. "
                "Call SynthesizeStream, ask for MP3 or OPUS, or send the text in parts.",
            )
        return encoded

    async def finish(self) -> bytes:
        """The rest; may be nothing."""
        encoder = self._encoder
        rest = await self._run(lambda _: encoder.finish(), b"") if encoder is not None else b""
        self._s.encoded(self.encoding.value, self._took)
        return rest

    async def _run(self, step: Callable[[bytes], bytes], pcm: bytes) -> bytes:
        def timed() -> tuple[bytes, float]:
            began = time.perf_counter()
            return step(pcm), time.perf_counter() - began

        encoded, took = await asyncio.to_thread(timed) if self._costly else timed()
        self._took += took
        self.chunks += bool(encoded)
        return encoded
