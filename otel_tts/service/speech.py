"""What is asked of an engine, and with which voice: the data types that the servicer, the cache and the engines share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from otel_tts.errors import OtelTtsError

RATES = (0.25, 4.0)
"""Slowest and fastest rate anybody may ask for; 1.0 is the voice's own pace. The range of Google's and OpenAI's APIs."""
PITCHES = (-20.0, 20.0)
"""Lowest and highest change of pitch, in semitones."""
GAINS = (-96.0, 16.0)
"""Lowest and highest change of volume, in dB."""


class InvalidInputError(OtelTtsError, ValueError):
    """A request that cannot be spoken by any engine. The message says what to change and never quotes the text.

    ``field`` is the field of :class:`EngineRequest` that is at fault.

    Args:
        field: of the request, in gRPC's words.
        message: for the caller.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnsupportedError(OtelTtsError):
    """A valid request that this engine or encoding cannot do; another one may."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of one provider. ``id`` is unique within the provider."""

    id: str
    provider: str
    language: str
    """BCP 47; ``mul`` for a voice that speaks whatever language the text is in."""
    name: str
    model: str
    sample_rate: int
    """Hz of the PCM that the provider streams for this voice."""
    gender: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One request to an engine. The text has passed :func:`otel_tts.service.text.validate`; the numbers are checked here.

    Raises:
        InvalidInputError: rate, pitch or volume is no finite number or out of range.
    """

    text: str
    voice: str
    """The id of a :class:`Voice` of the provider that is asked."""
    language: str
    rate: float = 1.0
    pitch: float = 0.0
    """Semitones."""
    volume_gain_db: float = 0.0
    ssml: bool = False

    def __post_init__(self) -> None:
        for field, value, (low, high) in (
            ("rate", self.rate, RATES),
            ("pitch", self.pitch, PITCHES),
            ("volume_gain_db", self.volume_gain_db, GAINS),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidInputError(field, f"{field} is {value:g}; it has to be from {low:g} to {high:g}.")
