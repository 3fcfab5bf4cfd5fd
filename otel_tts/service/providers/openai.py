"""Any server with OpenAI's speech API: ``POST {base_url}/audio/speech``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager

import httpx
import numpy as np
import soxr

from otel_tts.service.providers.base import EngineError, Provider, chunks
from otel_tts.service.providers.config import OpenAISettings
from otel_tts.service.providers.wav import WavStream
from otel_tts.service.speech import Speech, Voice

_WAV = b"RIFF"
_COMPRESSED = (b"ID3", b"OggS", b"fLaC")
_RAW = ("", "application/octet-stream", "audio/pcm", "audio/pcm_s16le", "audio/l16", "audio/x-pcm", "audio/raw", "audio/basic")
"""Content types under which servers send headerless PCM."""


class OpenAI(Provider):
    """A speech server over HTTP.

    What goes wrong on the way is raised as ``TimeoutError`` or ``ConnectionError``; an answer that is no success as
    ``httpx.HTTPStatusError``, whose ``response.status_code`` tells which.
    """

    name = "openai"
    remote = True

    def __init__(self, settings: OpenAISettings) -> None:
        self.concurrency = settings.concurrency
        self.voices = [self._offer(spec, settings) for spec in settings.voices]
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        server = httpx.URL(settings.base_url).copy_with(userinfo=b"")
        self.version = f"{settings.model}@{server}"

    @classmethod
    def create(cls, environ: Mapping[str, str] | None = None) -> OpenAI:
        """As the environment says."""
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

    async def check(self) -> None:
        """Ask for the list of models, which costs nothing; a server without such a list is up all the same.

        Raises:
            TimeoutError, ConnectionError, httpx.HTTPStatusError: as :meth:`stream`.
        """
        with _transport_errors():
            response = await self._http().get("models")
        if response.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            response.raise_for_status()

    async def stream(self, speech: Speech) -> AsyncGenerator[bytes, None]:
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
                audio = _Audio(self._settings.response_format, response.headers.get("content-type", ""), voice.sample_rate)
                async for data in response.aiter_bytes():
                    for chunk in chunks(audio.feed(data)):
                        yield chunk
                for chunk in chunks(audio.finish()):
                    yield chunk

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("The provider openai has not been started.")
        return self._client


class _Audio:
    """The body of an answer as it arrives, turned into whole samples of PCM16 at ``sample_rate``.

    Its first bytes decide what it is: there are servers that answer with WAV whatever they are asked for.
    """

    def __init__(self, asked: str, content_type: str, sample_rate: int) -> None:
        self._asked = asked
        self._content_type = content_type.partition(";")[0].strip().lower()
        self._sample_rate = sample_rate
        self._head = b""  # too short yet to tell what it is
        self._recognised = False
        self._wav: WavStream | None = None
        self._half = b""  # of a sample
        self._resampler: soxr.ResampleStream | None = None

    def feed(self, data: bytes) -> bytes:
        if not self._recognised:
            self._head += data
            if len(self._head) < len(_WAV):
                return b""
            self._recognise()
            data, self._head = self._head, b""
        pcm = self._half + (self._wav.feed(data) if self._wav else data)
        whole = len(pcm) - len(pcm) % 2
        self._half = pcm[whole:]
        return self._resample(pcm[:whole])

    def finish(self) -> bytes:
        if self._wav:
            self._wav.finish()
        if self._head or self._half:
            raise ConnectionError("The speech server's audio broke off in the middle of a sample.")
        return self._resample(b"", last=True)

    def _recognise(self) -> None:
        if self._head.startswith(_WAV):
            self._wav = WavStream()
        elif self._asked == "wav" or self._head.startswith(_COMPRESSED) or self._content_type not in _RAW:
            raise EngineError(
                f"The speech server was asked for {self._asked} and answered with {self._content_type or 'something else'}. "
                "Set TTS_OPENAI_FORMAT to a format that it has."
            )
        self._recognised = True

    def _resample(self, pcm: bytes, last: bool = False) -> bytes:
        rate = self._wav.sample_rate if self._wav else self._sample_rate
        if rate in (0, self._sample_rate):
            return pcm
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(rate, self._sample_rate, 1, dtype="int16")
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
