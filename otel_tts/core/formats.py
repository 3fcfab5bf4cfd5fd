"""The formats of audio bytes, and how their samples are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from otel_tts.core import clean
from otel_tts.core.guard import guard
from otel_tts.errors import OtelTtsError
from otel_tts.semconv import AUDIO_FORMATS, OTHER

Levels = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class UnreadableAudioError(OtelTtsError, ValueError):
    """Error of audio that is not what it was declared to be, or cannot be read.

    Args:
        message: what is wrong with it.
        sample_rate: Hz, where the header states it.
    """

    def __init__(self, message: str, sample_rate: int | None = None) -> None:
        super().__init__(message)
        self.sample_rate = sample_rate


LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1000, 768_000
"""Sample rates beyond these are none: speech needs several kHz, and what is lower is a rate in kHz."""
_MOST_CHANNELS = 32


def _whole(name: str, value: int, least: int, most: int, unit: str = "") -> int:
    try:
        number = None if clean.is_a(value, (bool, np.bool_)) else clean.number(value)
    except ValueError:
        number = None
    if number is None or not (least <= number <= most and number == int(number)):
        meant = ""
        if number is not None and unit == "Hz" and 1 <= number <= most / 1000:
            meant = f" Is that kHz? {number:g} kHz are {number * 1000:.0f} Hz."
        allowed = f"a whole number {f'of {unit} ' if unit else ''}from {least} to {most}"
        raise ValueError(f"{name} is {clean.shown(value)}.{meant} Pass what the engine states, {allowed}.")
    return int(number)  # an engine's configuration may hold numpy's integers, which no span attribute takes


def _rate(value: int) -> int:
    return _whole("sample_rate", value, LOWEST_RATE_HZ, HIGHEST_RATE_HZ, "Hz")


@dataclass(frozen=True, slots=True)
class Samples:
    """Uncompressed audio with interleaved channels."""

    name: ClassVar[str]
    dtype: ClassVar[np.dtype[Any]]
    peak: ClassVar[float]  # the level from which a sample is at full scale

    sample_rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_rate", _rate(self.sample_rate))
        object.__setattr__(self, "channels", _whole("channels", self.channels, 1, _MOST_CHANNELS))

    @property
    def frame(self) -> int:
        """Bytes of one sample of every channel."""
        return self.dtype.itemsize * self.channels

    def seconds(self, size_bytes: int) -> float:
        """Return how many seconds ``size_bytes`` bytes last; an incomplete frame does not count."""
        return size_bytes // self.frame / self.sample_rate


@dataclass(frozen=True, slots=True)
class PCM16(Samples):
    """Little-endian 16-bit integers. ``sample_rate``: 1000 to 768000 Hz; ``channels``: 1 to 32; else ValueError."""

    name = "pcm16"
    dtype = np.dtype("<i2")
    peak = 32767 / 32768


@dataclass(frozen=True, slots=True)
class PCMFloat32(Samples):
    """Little-endian 32-bit floats from -1 to 1; otherwise as :class:`PCM16`."""

    name = "pcm_f32"
    dtype = np.dtype("<f4")
    peak = 1.0


@dataclass(frozen=True, slots=True)
class MuLaw(Samples):
    """G.711 mu-law, one byte per sample; otherwise as :class:`PCM16`."""

    name = "mulaw"
    dtype = np.dtype("u1")
    peak = 32124 / 32768

    sample_rate: int = 8000


@dataclass(frozen=True, slots=True)
class ALaw(Samples):
    """G.711 A-law, one byte per sample; otherwise as :class:`PCM16`."""

    name = "alaw"
    dtype = np.dtype("u1")
    peak = 32256 / 32768

    sample_rate: int = 8000


@dataclass(frozen=True, slots=True)
class PCM8(Samples):
    """Unsigned 8-bit integers, as in WAV files; otherwise as :class:`PCM16`."""

    name = OTHER
    dtype = np.dtype("u1")
    peak = 127 / 128


@dataclass(frozen=True, slots=True)
class PCM24(Samples):
    """Little-endian 24-bit integers; otherwise as :class:`PCM16`."""

    name = OTHER
    dtype = np.dtype(("u1", 3))
    peak = (2**23 - 1) / 2**23


@dataclass(frozen=True, slots=True)
class PCM32(Samples):
    """Little-endian 32-bit integers; otherwise as :class:`PCM16`."""

    name = OTHER
    dtype = np.dtype("<i4")
    peak = (2**31 - 1) / 2**31


@dataclass(frozen=True, slots=True)
class PCMFloat64(Samples):
    """Little-endian 64-bit floats from -1 to 1; otherwise as :class:`PCM16`."""

    name = OTHER
    dtype = np.dtype("<f8")
    peak = 1.0


@dataclass(frozen=True, slots=True)
class Wav:
    """One RIFF/WAVE file, or several one after another, of PCM, floats or G.711, as their headers say.

    Sizes in headers may be wrong or missing, as in streams: the bytes that came are counted. See ``otel_tts.core.wav``.
    """

    name: ClassVar[str] = "wav"


@dataclass(frozen=True, slots=True)
class NoAudio:
    """JSON, HTML or plain text in place of audio: an error message with a status of success."""

    name: ClassVar[str] = OTHER


@dataclass(frozen=True, slots=True)
class Encoded:
    """Compressed audio, such as MP3, whose samples are not read. A ``name`` that is not in the registry becomes ``_OTHER``.

    ``sample_rate``: as for :class:`PCM16`, or None. ValueError, too, for a name that is not a string.
    """

    name: str
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        if not clean.is_a(self.name, str):
            raise ValueError(f"name is {clean.shown(self.name)}. Pass the name of a format, such as 'mp3'.")
        name = self.name.lower()
        object.__setattr__(self, "name", name if name in AUDIO_FORMATS else OTHER)
        if self.sample_rate is not None:
            object.__setattr__(self, "sample_rate", _rate(self.sample_rate))


AudioFormat = Samples | Wav | Encoded | NoAudio


def stated(kind: type[Samples] | str, rate: Any, channels: Any = 1) -> AudioFormat:
    """Return the format of audio as an engine, a vendor's parameter or a header states it.

    Of a rate that cannot be, the duration is unknown: the rest of the request is recorded, and one warning says why.

    Args:
        kind: of the samples, such as `PCM16`; the name of a compressed format.
        rate: in Hz, as it is stated.
        channels: as they are stated.
    """
    name = kind if isinstance(kind, str) else kind.name
    try:
        return Encoded(kind, rate) if isinstance(kind, str) else kind(rate, channels)
    except ValueError as error:
        guard.unreadable(name, error)
        return Encoded(name)


def checked(format: AudioFormat) -> AudioFormat:
    """Return the format that an application states; an unknown one, reported with the caller's line, if it is not a format.

    Args:
        format: how the samples are encoded.
    """
    if clean.is_a(format, (Samples, Wav, Encoded, NoAudio)):
        return format
    guard.misused(
        "format", clean.shown(format), "pass a format such as otel_tts.PCM16(24_000).", "The audio counts as of no known format."
    )
    return Encoded(OTHER)


# ITU-T G.711, tables 1 and 2, scaled to 16 bits: segment and step of a code, after the inversion of its bits is undone.
# The sign is left out: level, onset and clipping do not depend on it.
_SEGMENT, _STEP = np.divmod(np.arange(256) & 0x7F, 16)
_MULAW = (_STEP * 8 + 132 << _SEGMENT) - 132
_ALAW = np.where(_SEGMENT == 0, _STEP * 16 + 8, _STEP * 16 + 264 << np.maximum(_SEGMENT - 1, 0))
_G711 = {MuLaw: _MULAW[::-1] / 32768, ALaw: _ALAW[np.arange(256) ^ 0x55] / 32768}


def levels_of(format: Samples, data: bytes | memoryview) -> Levels:
    """Return the samples as numbers from -1 to 1.

    Args:
        format: how the samples are encoded.
        data: whole frames of samples.
    """
    values = np.frombuffer(data, format.dtype)
    levels: Levels
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        levels = np.clip(values if finite.all() else np.where(finite, values, 0), -1, 1)
    elif isinstance(format, MuLaw | ALaw):
        levels = _G711[type(format)][values]
    elif isinstance(format, PCM8):
        levels = (values.astype(np.float64) - 128) / 128
    elif isinstance(format, PCM24):
        wide = np.zeros((len(values), 4), "u1")
        wide[:, 1:] = values
        levels = wide.view("<i4")[:, 0] * 2.0**-31
    elif values.dtype.itemsize <= 2:  # 24 bits hold them exactly
        levels = values.astype(np.float32)
        levels *= np.float32(2.0 ** (1 - 8 * format.dtype.itemsize))
    else:
        levels = values.astype(np.float64) * 2.0 ** (1 - 8 * format.dtype.itemsize)
    return levels
