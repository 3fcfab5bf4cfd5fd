"""Any server with OpenAI's speech API: ``POST {base_url}/audio/speech``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager

import httpx
import numpy as np
import soxr

from otel_tts.audio import (
    PCM16,
    AudioFormat,
    Encoded,
    NoAudio,
    Pieces,
    UnreadableAudioError,
    Wav,
    WavReader,
    declared_format,
    format_of,
    is_openai,
    recognise,
)
from otel_tts.service.providers.base import EngineError, Provider, chunks
from otel_tts.service.providers.config import OpenAISettings
from otel_tts.service.speech import EngineRequest, Voice


class OpenAI(Provider):
    """A speech server over HTTP.

    What goes wrong on the way is raised as ``TimeoutError`` or ``ConnectionError``; an answer that is no success as
    ``httpx.HTTPStatusError``, whose ``response.status_code`` tells which.

    Args:
        settings: the settings.
    """

    name = "openai"
    remote = True

    def __init__(self, settings: OpenAISettings) -> None:
        self.concurrency = settings.concurrency
        self.voices = [self._offer(spec, settings) for spec in settings.voices]
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        # What headerless audio has where the answer doesn't say: said by whoever runs the service, or OpenAI's own.
        stated = settings.source("sample_rate") != "default" or is_openai(httpx.URL(settings.base_url).host)
        self._raw: AudioFormat = PCM16(settings.sample_rate) if stated else Encoded(PCM16.name)
        server = httpx.URL(settings.base_url).copy_with(userinfo=b"")
        self.version = f"{settings.model}@{server}"

    @classmethod
    def create(cls, environ: Mapping[str, str] | None = None) -> OpenAI:
        """Create the provider from the environment.

        Args:
            environ: the environment variables; None: those of this process.
        """
        return cls(OpenAISettings.load(environ))

    @classmethod
    def _offer(cls, spec: str, settings: OpenAISettings) -> Voice:
        name, _, language = spec.partition(":")
        return Voice(name, cls.name, language or "mul", name.capitalize(), settings.model, settings.sample_rate)

    async def start(self) -> None:
        """Open a pool of connections, not yet any connection."""
        key = self._settings.api_key
        self._client = httpx.AsyncClient(
            base_url=self._settings.base_url,
            headers={"Authorization": f"Bearer {key.value}"} if key else {},
            timeout=self._settings.timeout,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    makes_audio_to_check = False

    async def check(self) -> None:
        """Ask for the list of models, which costs nothing; a server without such a list is up all the same.

        Raises:
            TimeoutError, ConnectionError, httpx.HTTPStatusError: as :meth:`stream`.
        """
        with _transport_errors():
            response = await self._http().get("models")
        if response.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            response.raise_for_status()

    async def stream(self, speech: EngineRequest) -> AsyncGenerator[bytes, None]:
        """As the server sends it.

        Raises:
            TimeoutError: the server took too long to connect or to send more.
            ConnectionError: it cannot be reached, or broke off.
            httpx.HTTPStatusError: it answered with a status other than success.
            EngineError: it sent something else than the audio that was asked for.
        """
        self.accept(speech)
        voice = self._voice(speech)
        request = {
            "model": voice.model,
            "input": speech.text,
            "voice": voice.id,
            "response_format": self._settings.response_format,
            "speed": speech.rate,
        }
        with _transport_errors():
            async with self._http().stream("POST", "audio/speech", json=request) as response:
                response.raise_for_status()
                audio = _ResponseAudio(self._settings.response_format, response.headers, voice.sample_rate, self._raw)
                async for data in response.aiter_bytes():
                    for chunk in chunks(audio.feed(data)):
                        yield chunk
                for chunk in chunks(audio.finish()):
                    yield chunk

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("The provider openai has not been started.")
        return self._client


class _ResponseAudio:
    """The body of an answer as it arrives, turned into whole samples of PCM16 at ``sample_rate``.

    What comes decides what it is, not what was asked for: see :mod:`otel_tts.core.container`.

    Raises:
        EngineError: it cannot be read, or its end cannot. No byte of audio is left out in silence.
        ConnectionError: it broke off.
    """

    def __init__(self, asked: str, headers: httpx.Headers, sample_rate: int, raw: AudioFormat) -> None:
        """``asked``: ``wav`` or ``pcm``; ``sample_rate``: Hz; ``raw``: what headerless audio is where the answer doesn't say."""
        self._asked = asked
        self._expected = Wav() if asked == "wav" else raw
        self._content_type = headers.get("content-type", "")
        self._framed = "content-length" in headers or "transfer-encoding" in headers  # else the end of the connection is its end
        self._sample_rate = sample_rate
        self._head: bytes | None = b""  # too short yet to tell what it is; None: it is known
        self._rate = sample_rate  # of what comes
        self._wav: WavReader | None = None
        self._half = b""  # of a sample
        self._resampler: soxr.ResampleStream | None = None

    def feed(self, data: bytes) -> bytes:
        if self._head is not None:
            data = self._head + data
            name = recognise(data)
            if name is None or not data:
                self._head = data
                return b""
            self._recognised(name)
            self._head = None
        return self._samples(data)

    def finish(self) -> bytes:
        rest = b""
        if self._head:
            self._recognised(recognise(self._head, end=True) or "")
            rest = self._samples(self._head)
        if self._wav is not None:
            if not self._wav.whole or (self._wav.missing and not self._framed):
                raise ConnectionError("The WAV audio broke off before its end.")
            rest += self._mono(self._wav.rest())
        if self._half:
            raise ConnectionError("The speech server's audio broke off in the middle of a sample.")
        return rest + self._resample(b"", last=True)

    def _recognised(self, name: str) -> None:
        came = format_of(name, declared_format(self._content_type, self._expected))
        if isinstance(came, Wav):
            self._wav = WavReader()
        elif isinstance(came, PCM16) and came.channels == 1:
            self._rate = came.sample_rate
        elif came == Encoded(PCM16.name):
            raise EngineError(
                "The speech server sends audio without a header, and nothing says its sample rate. Set TTS_OPENAI_SAMPLE_RATE to it, "
                "or TTS_OPENAI_FORMAT to wav."
            )
        else:
            what = "words instead of audio" if isinstance(came, NoAudio) else self._content_type or "something else"
            raise EngineError(
                f"The speech server was asked for {self._asked} and answered with {what}. Set TTS_OPENAI_FORMAT to a format that it has."
            )

    def _samples(self, data: bytes) -> bytes:
        if self._wav is None:
            pcm = self._half + data
            whole = len(pcm) - len(pcm) % 2
            self._half = pcm[whole:]
            return self._resample(pcm[:whole])
        try:
            return self._mono(self._wav.feed(data))
        except UnreadableAudioError as error:
            raise EngineError(str(error)) from None

    def _mono(self, pieces: Pieces) -> bytes:
        audio = b""
        for samples, data in pieces:
            if not isinstance(samples, PCM16) or samples.channels != 1:
                raise EngineError(
                    f"Of WAV audio only one channel of 16 bits is taken; channels: {samples.channels}, bits: {8 * samples.dtype.itemsize}."
                )
            if samples.sample_rate != self._rate:  # also from one file to the next
                audio += self._resample(b"", last=True)
                self._rate, self._resampler = samples.sample_rate, None
            audio += self._resample(data)
        return audio

    def _resample(self, pcm: bytes, last: bool = False) -> bytes:
        if self._rate == self._sample_rate:
            return pcm
        if self._resampler is None:
            if not pcm:
                return b""
            self._resampler = soxr.ResampleStream(self._rate, self._sample_rate, 1, dtype="int16")
        resampled: bytes = self._resampler.resample_chunk(np.frombuffer(pcm, "<i2"), last=last).tobytes()
        return resampled


@contextmanager
def _transport_errors() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise TimeoutError("The speech server did not answer in time.") from error
    except httpx.TransportError as error:
        raise ConnectionError(f"The connection to the speech server failed ({type(error).__name__}).") from error
