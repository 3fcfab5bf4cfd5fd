"""Playback: how audio reaches a listener - first byte, first audio, and the gaps of a player without a buffer.

The model is a player that starts with the first chunk, at the moment it is handed out, and plays on without pause. If a chunk comes
after the audio before it has ended, the player has nothing to play for the difference: the underrun. The part that the engine alone
would have caused (its waiting time only, as if the consumer took no time) is the provider's. What waiting for text caused is neither's,
and the rest is the consumer's.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from otel_tts.core.audio import AudioMeter

_MOST_ARRIVALS = 256
_OVERLAP_S = 0.1  # kept when arrivals are trimmed: more than the onset detector looks back

_S = 1e-9
_Arrival = tuple[float, float, int]
"""Of a chunk: audio of its meter up to and with it, audio of other meters before it, and when it came."""


class Playback:
    """The delivery of one utterance. All readings are monotonic nanoseconds, all durations seconds.

    Chunks of a meter are handed over in order. Those of several meters may be mixed: attempts that are pulled in turn, or at the same time.
    """

    __slots__ = (
        "_arrivals",
        "_base",
        "_first_audio",
        "_left",
        "_meter",
        "_text_ns",
        "_unread",
        "_waited_ns",
        "audio_s",
        "chunks",
        "first_byte_ns",
        "last_byte_ns",
        "underrun_consumer_s",
        "underrun_provider_s",
        "underrun_s",
    )

    def __init__(self) -> None:
        self.chunks = 0
        self.first_byte_ns: int | None = None
        self.last_byte_ns: int | None = None
        self.audio_s = 0.0
        """Audio handed out so far; 0 if it cannot be read."""
        self.underrun_s = 0.0
        """The longest underrun, whoever caused it."""
        self.underrun_provider_s = 0.0
        """The longest underrun that the provider caused."""
        self.underrun_consumer_s = 0.0
        """The longest underrun that the consumer added."""
        self._waited_ns = 0  # for the engine, since the first chunk
        self._text_ns = 0  # for text, since the first chunk
        self._meter: AudioMeter | None = None
        self._base = 0.0  # what came of other meters
        self._left: WeakKeyDictionary[AudioMeter, tuple[float, list[_Arrival]]] | None = None  # what came of each of them
        self._unread = 0  # of how many of them nothing could be read
        self._first_audio: int | None = None
        self._arrivals: list[_Arrival] = []

    @property
    def length_s(self) -> float | None:
        """Seconds of audio handed out so far; None if any of it cannot be read, or there is none."""
        return self.audio_s if self.audio_s > self._base and not self._unread else None

    def without_text(self, waited_ns: int) -> None:
        """Count time in which the engine had no text to speak, in nanoseconds: neither it nor the consumer caused that.

        Args:
            waited_ns: how long text was waited for, in nanoseconds.
        """
        if self.first_byte_ns is not None:
            self._text_ns += waited_ns

    def waiting(self, waited_ns: int) -> None:
        """Count time spent waiting for the engine that brought no audio, in nanoseconds.

        Args:
            waited_ns: how long it was waited for, in nanoseconds.
        """
        if self.first_byte_ns is not None:
            self._waited_ns += waited_ns

    def chunk(self, meter: AudioMeter, total_s: float, now_ns: int, waited_ns: int) -> None:
        """Count a chunk that is handed out.

        Args:
            meter: the meter of the audio, which contains the chunk.
            total_s: seconds of audio in the meter.
            now_ns: when, nanoseconds.
            waited_ns: how long the engine was waited for, nanoseconds.
        """
        if meter is not self._meter:
            self._change(meter)
        before, self.audio_s = self.audio_s, self._base + total_s
        self.chunks += 1
        self.last_byte_ns = now_ns
        if self.first_byte_ns is None:
            self.first_byte_ns = now_ns
        else:
            self._waited_ns += waited_ns
            if before:
                short = (now_ns - self.first_byte_ns) * _S - before
                if short > 0:
                    provider = min(short, max(0.0, self._waited_ns * _S - before))  # streams that wait side by side wait once
                    self.underrun_s = max(self.underrun_s, short)
                    self.underrun_provider_s = max(self.underrun_provider_s, provider)
                    self.underrun_consumer_s = max(self.underrun_consumer_s, short - provider - self._text_ns * _S)
        if self._first_audio is None:
            if not total_s:  # nothing is known of the audio so far: only the last arrival can be of use
                self._arrivals = [(0.0, self._base, now_ns)]
                return
            self._arrivals.append((total_s, self._base, now_ns))
            if len(self._arrivals) >= _MOST_ARRIVALS:
                self._resolve()
                # There was no onset so far, so the onset cannot be in chunks that came long before. Without this, a long stream of
                # silence would fill the memory.
                self._arrivals = [a for a in self._arrivals if a[0] > total_s - _OVERLAP_S][-_MOST_ARRIVALS // 2 :]

    def _change(self, meter: AudioMeter) -> None:
        """Go on with another meter, of which chunks may have come before."""
        self._resolve()
        if self._meter is not None:
            self._left = self._left if self._left is not None else WeakKeyDictionary()
            self._left[self._meter] = self.audio_s - self._base, self._arrivals
            self._unread += self.audio_s == self._base
        before_s, self._arrivals = 0.0, []
        if self._left is not None and meter in self._left:
            before_s, self._arrivals = self._left.pop(meter)
            self._unread -= before_s == 0
        self._meter, self._base = meter, self.audio_s - before_s

    def first_audio(self) -> int | None:
        """Return when the first audible sample could be heard, nanoseconds; None if unknown.

        It is the later of (first byte + leading silence) and the arrival of the chunk with the onset.
        """
        self._resolve()
        return self._first_audio

    def _resolve(self) -> None:
        if self._first_audio is not None or self._meter is None or self.first_byte_ns is None:
            return
        onset = self._meter.onset_s()
        if onset is None:
            return
        _, others_s, arrival = next((one for one in self._arrivals if one[0] > onset), self._arrivals[-1])
        self._first_audio = max(self.first_byte_ns + round((others_s + onset) / _S), arrival)
        self._arrivals = []


NOT_PLAYED = Playback()
"""Of everything of which nothing is handed out; it is never changed."""
