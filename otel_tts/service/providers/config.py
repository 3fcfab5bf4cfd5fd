"""The settings of the engines. Read without importing any of them, so that all settings can always be listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from otel_tts.settings import Secret, Section, boolean, count, path, seconds, setting, text

T = TypeVar("T")


def several(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """A parser of one or more values with commas between.

    Args:
        parse: reads one element.
    """

    def parse_all(value: str) -> tuple[T, ...]:
        return tuple(parse(item.strip()) for item in value.split(",") if item.strip())

    return parse_all


def hertz(value: str) -> int:
    """A whole number of Hz from 1000 to 768000.

    Args:
        value: what the variable holds.

    Raises:
        ValueError: it cannot be used.
    """
    if value.strip().isdecimal() and 1000 <= int(value) <= 768_000:
        return int(value)
    raise ValueError("a whole number of Hz from 1000 to 768000")


def wave_format(value: str) -> str:
    """``wav`` or ``pcm``.

    Args:
        value: what the variable holds.

    Raises:
        ValueError: it cannot be used.
    """
    if value.strip().lower() in ("wav", "pcm"):
        return value.strip().lower()
    raise ValueError("wav or pcm")


@dataclass(frozen=True, kw_only=True)
class PiperSettings(Section):
    """Piper: neural voices in this process."""

    models: tuple[Path, ...] = setting(
        "TTS_PIPER_MODELS",
        several(path),
        (),
        "Voice models (.onnx with .onnx.json beside it), commas between; by default the installed voice en_US-joe-medium.",
    )
    deterministic: bool = setting(
        "TTS_PIPER_DETERMINISTIC", boolean, False, "Whether Piper speaks without noise: the same text gives the same bytes."
    )


@dataclass(frozen=True, kw_only=True)
class EspeakSettings(Section):
    """eSpeak NG: formant voices for many languages, in this process."""

    voices: tuple[str, ...] = setting(
        "TTS_ESPEAK_VOICES",
        several(text),
        ("en-us", "en-gb", "de", "fr-fr", "es", "it", "pt-br", "nl", "pl", "sv", "uk", "tr", "hi", "cmn"),
        "Languages to offer, commas between, or `all`. Each is a voice: voices are metric labels, so offer what you need.",
    )


@dataclass(frozen=True, kw_only=True)
class OpenAISettings(Section):
    """Any server with OpenAI's speech API."""

    base_url: str = setting(
        "TTS_OPENAI_BASE_URL", text, "https://api.openai.com/v1", "The server, up to and without `/audio/speech`."
    )
    api_key: Secret = setting("TTS_OPENAI_API_KEY", Secret, Secret(""), "The key, for servers that want one.")
    model: str = setting("TTS_OPENAI_MODEL", text, "tts-1", "The model to ask for.")
    voices: tuple[str, ...] = setting(
        "TTS_OPENAI_VOICES",
        several(text),
        ("alloy",),
        "Voices to offer, commas between, each with its language if it has one: `alloy,joe:en-US`.",
    )
    response_format: str = setting(
        "TTS_OPENAI_FORMAT",
        wave_format,
        "wav",
        "What to ask for: `wav`, whose header tells the sample rate, or `pcm`, headerless, at TTS_OPENAI_SAMPLE_RATE.",
    )
    sample_rate: int = setting(
        "TTS_OPENAI_SAMPLE_RATE",
        hertz,
        24000,
        "Hz of the audio handed on, to which audio of another rate is resampled. Headerless audio of a server that is not OpenAI's, and "
        "does not state its rate, is taken only where this says it.",
    )
    timeout: float = setting(
        "TTS_OPENAI_TIMEOUT", seconds, 30.0, "The most seconds to wait for a connection, and for each next piece of audio."
    )
    concurrency: int = setting("TTS_OPENAI_CONCURRENCY", count, 8, "How many syntheses the server is asked for at once.")
