"""Signals of known loudness, silence and speech, and meters that measure them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_tts.core.audio import AudioFacts, AudioFormat, AudioMeter

Signal = npt.NDArray[np.float64]


def sine(seconds: float, amplitude: float, rate: int) -> Signal:
    """A 1 kHz tone."""
    return amplitude * np.sin(2 * np.pi * 1000 * np.arange(round(seconds * rate)) / rate)


def speechlike(rate: int) -> Signal:
    """0.3 s of silence, 1.2 s of a tone with 0.1 of full scale, 0.5 s of silence."""
    return np.concatenate((np.zeros(round(0.3 * rate)), sine(1.2, 0.1, rate), np.zeros(round(0.5 * rate))))


def pcm16(signal: Signal) -> bytes:
    """The signal as PCM16."""
    return np.round(signal * 32768).clip(-32768, 32767).astype("<i2").tobytes()


def wav(data: bytes, *, tag: int = 1, rate: int = 8000, channels: int = 1, bits: int = 16, length: int | None = None,
        extra: bytes = b"", before: bytes = b"", after: bytes = b"") -> bytes:  # fmt: skip
    """A WAV around ``data`` that may lie about it: ``extra`` ends its fmt chunk; ``before`` and ``after`` are more chunks."""
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * block % 2**32, block, bits) + extra
    length = len(data) if length is None else length
    chunks = before + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", length) + data + after
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def measure(format: AudioFormat, *pieces: Any) -> AudioFacts:
    """The facts of the pieces as one stream."""
    meter = AudioMeter(format)
    for piece in pieces:
        meter.feed(piece)
    return meter.facts()
