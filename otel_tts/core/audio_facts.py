"""Audio facts: what is measured of audio, and the sums over its windows that they come from. See :mod:`otel_tts.core.audio`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from otel_tts.core.formats import Levels, Samples

_WINDOW_HOPS = 10  # hops
_RUN = 50  # hops that stay voiced make an onset
_VOICED = 10 ** (-40 / 10)  # the power of -40 dBFS
_BATCH = 256 * 1024  # bytes that are pending at most; this also limits the arrays made from them to a few MiB
_MEAN = np.full(_WINDOW_HOPS, 1 / _WINDOW_HOPS)
_COUNT = np.ones(_RUN)
_UNHEARD = np.zeros(_WINDOW_HOPS - 1 + _RUN - 1)


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """Measured facts of the audio; None where unknown. Without any samples, only duration and sample rate are known.

    ``_s``: seconds; ``onset_s`` is the silence before the onset. Hz: sample_rate. 0 to 1: silence_ratio,
    clipping_ratio. dB below full scale, 0 or more: loudness. Where nothing is voiced there is no loudness and no onset.
    """

    duration_s: float | None = None
    sample_rate: int | None = None
    onset_s: float | None = None
    trailing_silence_s: float | None = None
    silence_ratio: float | None = None
    clipping_ratio: float | None = None
    loudness: float | None = None
    voiced_s: float | None = None
    samples: int | None = None
    """Of all channels together."""

    def followed_by(self, part: AudioFacts) -> AudioFacts:
        """Return the facts of this audio and a part after it. What is not known of both is unknown.

        Args:
            part: the facts of the part.
        """
        rate = self.sample_rate if self.sample_rate == part.sample_rate else None
        if self.duration_s is None or part.duration_s is None or self.voiced_s is None or part.voiced_s is None:
            return AudioFacts(sample_rate=rate)
        duration_s, voiced_s = self.duration_s + part.duration_s, self.voiced_s + part.voiced_s
        power = sum(f.voiced_s * 10 ** (-f.loudness / 10) for f in (self, part) if f.voiced_s and f.loudness is not None)
        trailing_s = part.trailing_silence_s
        if not part.voiced_s and trailing_s is not None and self.trailing_silence_s is not None:
            trailing_s += self.trailing_silence_s
        # By samples, not by time: the parts may have other sample rates and numbers of channels.
        samples = sum(facts.samples or 0 for facts in (self, part))
        clipped = sum((facts.clipping_ratio or 0.0) * (facts.samples or 0) for facts in (self, part))
        return AudioFacts(
            duration_s=duration_s,
            sample_rate=rate,
            onset_s=self.onset_s,
            trailing_silence_s=trailing_s,
            silence_ratio=1 - voiced_s / duration_s,
            clipping_ratio=clipped / samples if samples else None,
            loudness=max(0.0, -10 * math.log10(power / voiced_s)) if power else None,
            voiced_s=voiced_s,
            samples=samples,
        )


class Tally:
    """Sums over the windows so far, in frames unless said otherwise.

    Args:
        format: of the samples.
    """

    def __init__(self, format: Samples) -> None:
        self.format = format
        self.hop = max(1, round(format.sample_rate / 1000))
        self.window = self.hop * _WINDOW_HOPS
        window = self.window * format.frame  # bytes
        self.batch = max(1, _BATCH // window) * window  # bytes
        self.measured = 0
        self.voiced = 0
        self.voiced_end = 0  # the end of the last voiced window
        self.onset_frames: int | None = None
        self.clipped = 0  # samples
        self.power = 0.0  # of the voiced windows
        self.latest: np.ndarray[Any, Any] = _UNHEARD  # the power of the latest hops

    def add(self, levels: Levels) -> None:
        """Add samples.

        Args:
            levels: from -1 to 1, a whole number of windows.
        """
        hops = levels.reshape(-1, self.hop * self.format.channels)
        powers = np.einsum("ij,ij->i", hops, hops).astype(np.float64) / hops.shape[1]
        windows = powers.reshape(-1, _WINDOW_HOPS).mean(axis=1)
        voiced = np.flatnonzero(windows > _VOICED)
        if voiced.size:
            self.voiced += voiced.size * self.window
            self.voiced_end = self.measured + (int(voiced[-1]) + 1) * self.window
            self.power += float(windows[voiced].sum())
        peak = self.format.peak
        if levels.size and (levels.max() >= peak or levels.min() <= -peak):  # most audio is not clipped at all
            self.clipped += int(np.count_nonzero(levels >= peak) + np.count_nonzero(levels <= -peak))
        if self.onset_frames is None:
            self._listen(powers)
        self.measured += len(windows) * self.window

    def _listen(self, powers: Levels) -> None:
        latest = np.concatenate((self.latest, powers))
        voiced = np.convolve(latest, _MEAN, "valid") > _VOICED  # the 10 ms that end with each hop
        runs = np.flatnonzero(np.convolve(voiced, _COUNT, "valid") == _RUN)
        if runs.size:
            self.onset_frames = self.measured + (int(runs[0]) + 1 - _RUN) * self.hop
        self.latest = latest[-len(_UNHEARD) :].copy()  # a view would keep the whole batch

    def copy(self) -> Tally:
        """Return a copy. The module ``copy`` imports another one for each, which the end of the interpreter does not allow."""
        copied = Tally.__new__(Tally)
        copied.__dict__.update(self.__dict__)
        return copied

    def finish(self, rest: Levels) -> AudioFacts:
        """Add the samples of the last, incomplete window, and return the facts.

        Args:
            rest: their levels, from -1 to 1.
        """
        channels, rate = self.format.channels, self.format.sample_rate
        frames = self.measured + rest.size // channels
        if not frames:
            return AudioFacts(duration_s=0.0, sample_rate=rate)
        self.add(np.concatenate((rest, np.zeros(-rest.size % (self.window * channels), rest.dtype))))
        if self.voiced_end > frames:
            self.voiced -= self.voiced_end - frames
            self.voiced_end = frames
        return AudioFacts(
            duration_s=frames / rate,
            sample_rate=rate,
            onset_s=None if self.onset_frames is None else self.onset_frames / rate,
            trailing_silence_s=(frames - self.voiced_end) / rate,
            silence_ratio=1 - self.voiced / frames,
            clipping_ratio=self.clipped / (frames * channels),
            loudness=max(0.0, -10 * math.log10(self.power * self.window / self.voiced)) if self.voiced else None,
            voiced_s=self.voiced / rate,
            samples=frames * channels,
        )
