"""Audio formats, and readers that recognise the format from the bytes: for services that get audio from others."""

from otel_tts.core.container import declared_format, format_of, is_openai, recognise
from otel_tts.core.formats import (
    PCM16,
    ALaw,
    AudioFormat,
    Encoded,
    MuLaw,
    NoAudio,
    PCMFloat32,
    UnreadableAudioError,
    Wav,
)
from otel_tts.core.wav import Pieces, WavReader

__all__ = [
    "PCM16",
    "ALaw",
    "AudioFormat",
    "Encoded",
    "MuLaw",
    "NoAudio",
    "PCMFloat32",
    "Pieces",
    "UnreadableAudioError",
    "Wav",
    "WavReader",
    "declared_format",
    "format_of",
    "is_openai",
    "recognise",
]
