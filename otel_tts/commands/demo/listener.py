"""Listener: plays what an agent gives it, in real time, and keeps its own record of that. It knows nothing of telemetry."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np

_AUDIBLE = 327
"""Of 16 bit samples: what is louder can be heard, about -40 dB."""


@dataclass(slots=True)
class ListenerRecord:
    """What a listener recorded of one utterance; None: it did not happen. Seconds, and of audio where it says so."""

    conversation: str
    text: str = ""
    """As far as the agent had it when the utterance ended."""
    audio_bytes: int = 0
    """Of audio that arrived."""
    played_s: float = 0.0
    """Of audio."""
    first_audio_s: float | None = None
    """Until the first audio arrived, since the first piece of text."""
    first_sound_s: float | None = None
    """The same until a sample could be heard, after the silence that the audio begins with."""
    duration_s: float | None = None
    """Until it was played to its end or cut off, since the agent began it."""
    engine_s: float | None = None
    """In which the agent waited for the engine that gave the audio; None: nobody was asked."""
    cut_off_s: float | None = None
    """Until the listener, or the agent itself, cut it off."""
    reason: str | None = None
    """Why it was cut off."""
    late_s: float = 0.0
    """From then until audio last arrived."""
    gap_s: float = 0.0
    """In which there was nothing to play before the end."""
    asked: tuple[str, ...] = ()
    """Who was asked for it, the last one gave the audio; empty: it had been made before."""
    ended: bool = False
    """Whether the agent says that this was all."""


class Listener:
    """One utterance on its way to a loudspeaker, which takes ``AHEAD_S`` of audio before it is played.

    record: the record to keep. bytes_per_s: of the audio. speed: how much faster than in real time it is played.
    """

    AHEAD_S = 0.4

    def __init__(self, record: ListenerRecord, bytes_per_s: int, speed: float) -> None:
        self.record = record
        self._bytes_per_s = bytes_per_s
        self._speed = speed
        self._created = time.monotonic()
        self._begin: float | None = None  # of the first text
        self._since = self._until = 0.0  # of what plays without a gap
        self._before_s = 0.0  # of audio, played before that

    @property
    def played_s(self) -> float:
        """Seconds of audio."""
        return self._before_s + max(0.0, min(time.monotonic(), self._until) - self._since) * self._speed

    def text(self, piece: str) -> None:
        """The agent has a piece of the text.

        Args:
            piece: a piece of the agent's text.
        """
        if self._begin is None:
            self._begin = time.monotonic()
        self.record.text += piece

    async def play(self, audio: bytes) -> None:
        """Take audio; return when there is room for more.

        Args:
            audio: a piece of the audio.
        """
        now, record = time.monotonic(), self.record
        if self._begin is None:
            self._begin = now
        if record.first_audio_s is None:
            record.first_audio_s = now - self._begin
        elif now > self._until:
            record.gap_s += now - self._until
        if record.first_sound_s is None:
            self._listen(audio, now)
        if record.cut_off_s is not None:
            record.late_s = now - self._begin - record.cut_off_s
        if now > self._until:
            self._before_s += max(0.0, self._until - self._since) * self._speed
            self._since = self._until = now
        record.audio_bytes += len(audio)
        self._until += len(audio) / self._bytes_per_s / self._speed
        await asyncio.sleep(max(0.0, self._until - now - self.AHEAD_S / self._speed))

    def _listen(self, audio: bytes, now: float) -> None:
        loud = np.flatnonzero(np.abs(np.frombuffer(audio, "<i2").astype(int)) > _AUDIBLE)
        if len(loud) and self._begin is not None and self.record.first_audio_s is not None:
            silence_s = (self.record.audio_bytes + 2 * int(loud[0])) / self._bytes_per_s
            self.record.first_sound_s = max(self.record.first_audio_s + silence_s, now - self._begin)

    def cut_off(self, reason: str) -> float:
        """It is cut off now, and no more is played. Gives the seconds of audio that were.

        Args:
            reason: why the audio is cut off.
        """
        self.record.cut_off_s = time.monotonic() - (self._begin or time.monotonic())
        self.record.reason = reason
        self.record.duration_s = time.monotonic() - self._created
        self.record.played_s = self.played_s
        return self.record.played_s

    async def finish(self) -> float:
        """Play what is there. Gives the seconds of audio that were played."""
        await asyncio.sleep(max(0.0, self._until - time.monotonic()))
        self.record.duration_s = time.monotonic() - self._created
        self.record.played_s = self.played_s
        return self.record.played_s
