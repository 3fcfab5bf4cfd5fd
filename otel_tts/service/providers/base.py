"""The interface of every engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import ClassVar

from otel_tts.errors import OtelTtsError
from otel_tts.service.speech import RATES, EngineRequest, UnsupportedError, Voice

Range = tuple[float, float]
"""Lowest and highest value."""

CHUNK = 1 << 16
"""Most bytes in one chunk: 1.4 s of PCM16 at 24 kHz, far below gRPC's message limit whatever the length of a sentence."""


def chunks(audio: bytes) -> Iterator[bytes]:
    """``audio`` in pieces of at most :data:`CHUNK` bytes; none for none."""
    return (audio[start : start + CHUNK] for start in range(0, len(audio), CHUNK))


class EngineError(OtelTtsError, RuntimeError):
    """An engine misbehaved: no audio where there has to be some, or bytes that are not the audio that was asked for."""


class Provider(ABC):
    """A speech engine in this process, or a server that speaks.

    Use it between :meth:`start` and :meth:`close`; voices and version are known before. The class attributes declare what
    the engine can do beyond plain text.
    """

    name: ClassVar[str]
    remote: ClassVar[bool] = False
    """Whether a network lies in between."""
    rates: ClassVar[Range] = RATES
    pitches: ClassVar[Range] = (0.0, 0.0)
    gains: ClassVar[Range] = (0.0, 0.0)
    ssml: ClassVar[bool] = False

    concurrency: int
    """How many syntheses at once make sense."""
    voices: Sequence[Voice]
    """At least one; the first is the default."""
    version: str
    """Engine and voice model versions, and whatever else of the configuration changes the audio: part of the cache key."""

    def voice(self, id: str) -> Voice | None:
        """The voice with that id, or None.

        Args:
            id: of the voice.
        """
        return next((voice for voice in self.voices if voice.id == id), None)

    def model(self, speech: EngineRequest) -> str:
        """The model that speaks this; one of a bounded set.

        Args:
            speech: what is to be spoken.
        """
        return self._voice(speech).model

    def accept(self, speech: EngineRequest) -> None:
        """Whether the engine can do what is asked.

        Args:
            speech: what is to be spoken.

        Raises:
            UnsupportedError: it cannot; the message says what it can.
        """
        if speech.ssml and not self.ssml:
            raise UnsupportedError(f"{self.name} takes no SSML. Send plain text.")
        for what, value, (low, high) in (
            ("rate", speech.rate, self.rates),
            ("pitch", speech.pitch, self.pitches),
            ("volume_gain_db", speech.volume_gain_db, self.gains),
        ):
            if not low <= value <= high:
                allowed = f"a {what} from {low:g} to {high:g}" if low < high else f"no other {what} than {low:g}"
                raise UnsupportedError(f"{self.name} takes {allowed}, not {value:g}.")

    @abstractmethod
    def stream(self, speech: EngineRequest) -> AsyncGenerator[bytes, None]:
        """PCM16, mono, little-endian, at the voice's sample rate: non-empty chunks of whole samples, at most 64 KiB each.

        No chunk at all means that the engine found nothing to speak. Lazy: the engine starts at the first pull, in the
        context that is current then. ``aclose()`` returns at once, and the engine stops at the end of its current sentence.

        Args:
            speech: what is to be spoken.

        Raises:
            UnsupportedError: at the first pull, as :meth:`accept`.
            Exception: whatever the engine raises, unchanged.
        """

    @abstractmethod
    async def start(self) -> None:
        """Load models, open connections. Does not wait for a remote server."""

    @abstractmethod
    async def close(self) -> None:
        """Free all resources. Streams that are still open end at their next sentence."""

    makes_audio_to_check = True
    """Whether :meth:`check` makes audio, which alone shows that the provider can speak."""

    async def check(self) -> None:
        """Active health check, as cheap as there is one: by default :meth:`check_speech`.

        Raises:
            Exception: whatever the engine raises.
        """
        await self.check_speech()

    async def check_speech(self) -> None:
        """Make the engine speak a digit, which it can in every language.

        Raises:
            EngineError: it gave no audio.
            Exception: whatever the engine raises.
        """
        voice = self.voices[0]
        async with aclosing(self.stream(EngineRequest("1", voice.id, voice.language))) as chunks:
            async for _ in chunks:
                return
        raise EngineError(f"{self.name} gave no audio for a digit.")

    def _voice(self, speech: EngineRequest) -> Voice:
        voice = self.voice(speech.voice)
        if voice is None:  # the servicer chooses among `voices`
            raise LookupError(f"{self.name} has no voice {speech.voice!r}.")
        return voice
