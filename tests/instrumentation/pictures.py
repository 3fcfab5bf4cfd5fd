"""What one call emits, as whole pictures, with what no test can know beforehand left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from otel_tts.testing.capture import Capture


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
PLAYED = {
    f"tts.{name}": SOME
    for name in ("stream.underrun", "underrun.provider", "underrun.consumer", "time_to_first_audio", "time_to_first_byte")
}
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
    both |= {"tts.cancel.reason": "caller"} if outcome == "cancelled" else {}
    both |= of_both or {}
    request = both | {
        "tts.attempt.count": 1,
        "tts.cache.result": "bypass",
        "tts.fallback.used": False,
        "tts.text.length": characters,
        **(of_synthesis or {}),
    }
    name = f"text_to_speech {model}" if model else "text_to_speech"
    first = {"gen_ai.response.time_to_first_chunk": SOME} if stream and "tts.stream.chunk.count" in both else {}
    return ["tts.synthesize", request, [[name, both | first | {"tts.attempt.reason": "initial"}, []]]]


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


@dataclass(frozen=True)
class Spoken:
    """An utterance that came to its end, with one attempt, no price, and audio that can be read."""

    provider: str
    model: str
    voice: str
    language: str
    characters: int
    seconds: float
    stream: bool = False


def series(*utterances: Spoken) -> dict[str, dict[tuple[Any, ...], Any]]:
    """All series that these leave, by the values of their attributes in the order of their names: total, count or level."""
    data_points: dict[str, dict[tuple[Any, ...], Any]] = {}

    def add(name: str, *labels: Any, value: float = 1) -> None:
        of_metric = data_points.setdefault(name, {})
        of_metric[labels] = of_metric.get(labels, 0) + value

    for spoken in utterances:
        provider, maker = spoken.provider, (spoken.provider, spoken.model)
        add("tts.synthesis.active", spoken.stream, value=0)
        add("tts.synthesis.duration", *maker, spoken.stream, "bypass", "ok")
        add("tts.synthesis.requests", spoken.language, "ok", spoken.voice)
        add("tts.synthesis.characters", *maker, "synthesized", value=spoken.characters)
        for state in ("generated", "delivered"):
            add("tts.synthesis.audio", *maker, "provider", state, value=spoken.seconds)
        add("tts.usage.unpriced", *maker)
        add("tts.attempt.duration", *maker, "initial", "ok")
        add("gen_ai.client.operation.duration", "text_to_speech", *maker)
        add("tts.attempt.real_time_factor", *maker)
        for name in QUALITY:
            add(name, provider, spoken.language, spoken.voice)
        if spoken.stream:
            add("gen_ai.client.operation.time_to_first_chunk", "text_to_speech", *maker)
            add("tts.synthesis.time_to_first_byte", *maker, "bypass")
            add("tts.synthesis.time_to_first_audio", *maker, "bypass", "ok")
            for cause in ("provider", "consumer"):
                add("tts.stream.underrun", *maker, "bypass", cause)
    for labels, seconds in data_points.get("tts.synthesis.audio", {}).items():
        data_points["tts.synthesis.audio"][labels] = pytest.approx(seconds, abs=0.001)
    providers = {(spoken.provider,) for spoken in utterances}
    state = {"tts.provider.available": dict.fromkeys(providers, 1), "tts.provider.health.age": dict.fromkeys(providers, SOME)}
    return data_points | state
