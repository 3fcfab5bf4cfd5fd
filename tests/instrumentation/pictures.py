"""What one call emits, as whole pictures, with what no test can know beforehand left open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from otel_tts.capture import Capture


class Some(float):
    """Equal to any number of at least 0: a time, or what depends on it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and 0 <= other < float("inf")

    __hash__ = float.__hash__

    def __repr__(self) -> str:
        return "SOME"


SOME = Some()

QUALITY = {
    f"tts.audio.{name}": SOME for name in ("clipping_ratio", "loudness", "silence_ratio", "speaking_rate", "trailing_silence")
}
"""What a synthesis says of audio that can be read."""
PLAYED = {f"tts.{name}": SOME for name in ("stream.underrun", "time_to_first_audio", "time_to_first_byte")}
"""What it says of a stream of it."""
_COMMON = {"gen_ai.operation.name": "text_to_speech", "gen_ai.output.type": "speech"}


def audio(seconds: float, sample_rate: int, format: str) -> dict[str, Any]:
    """What both spans say of audio that can be read and came to its end."""
    return {
        "tts.audio.duration": pytest.approx(seconds, abs=0.001),
        "tts.audio.format": format,
        "tts.audio.sample_rate": sample_rate,
        "tts.real_time_factor": SOME,
    }


def tree(
    provider: str,
    model: str | None,
    *,
    characters: int,
    stream: bool = False,
    outcome: str = "ok",
    error: str | None = None,
    of_both: Mapping[str, Any] | None = None,
    of_synthesis: Mapping[str, Any] | None = None,
) -> list[Any]:
    """A synthesis with its one attempt."""
    both: dict[str, Any] = {**_COMMON, "gen_ai.provider.name": provider, "gen_ai.request.stream": stream, "tts.outcome": outcome}
    both |= {"gen_ai.request.model": model} if model else {}
    both |= {"error.type": error} if error else {}
    both |= of_both or {}
    request = both | {
        "tts.attempt.count": 1,
        "tts.cache.result": "bypass",
        "tts.fallback.used": False,
        "tts.text.length": characters,
        **(of_synthesis or {}),
    }
    name = f"text_to_speech {model}" if model else "text_to_speech"
    return ["tts.synthesize", request, [[name, both | {"tts.attempt.reason": "initial"}, []]]]


def counts(capture: Capture) -> dict[str, float]:
    """How many of everything was recorded that is counted once a request or attempt."""
    names = (
        "tts.synthesis.requests",
        "tts.synthesis.duration",
        "tts.synthesis.active",
        "tts.attempt.duration",
        "tts.synthesis.failures",
    )
    return {name: total for name in names if (total := capture.total(name))}
