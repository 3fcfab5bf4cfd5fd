"""ElevenLabs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, Encoded, MuLaw, Wav
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import chunks
from otel_tts.instrumentation.target import ObservedArgument, Target
from otel_tts.instrumentation.utterance import Asked, Utterance

MODEL = "eleven_multilingual_v2"
"""The API's, where none is asked for."""
_SAMPLES = {"pcm": PCM16, "ulaw": MuLaw, "alaw": ALaw}


def audio_format(output_format: Any) -> AudioFormat:
    """``pcm_24000``, ``mp3_44100_128``, ``wav_22050``: codec, rate and what else there is."""
    codec, _, rest = (output_format if isinstance(output_format, str) else "mp3_44100_128").partition("_")
    rate = int(rest.partition("_")[0])
    if codec == "wav":
        return Wav()
    return _SAMPLES[codec](rate) if codec in _SAMPLES else Encoded(codec, rate)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None  # left out, it is a marker of the SDK's


def _ask(_: Any, arguments: Mapping[str, Any]) -> Asked:
    return Asked(
        provider="elevenlabs",
        model=_text(arguments.get("model_id")) or MODEL,
        voice=arguments["voice_id"],
        language=_text(arguments.get("language_code")),
        text=arguments["text"],
        audio=audio_format(arguments.get("output_format")),
        stream=True,
    )


def _ask_realtime(_: Any, arguments: Mapping[str, Any]) -> Asked:
    return replace(_ask(_, {**arguments, "text": None}), text=None)  # which comes in pieces


class ElevenLabsInstrumentor(Instrumentor):
    """Observes ``text_to_speech.convert`` and ``.stream`` of both clients, and ``convert_realtime``; all give the audio in pieces."""

    requires = "elevenlabs >= 2.10, < 3"
    targets = (
        *(
            Target("elevenlabs.text_to_speech.client", f"{client}.{method}", _ask, chunks())
            for client in ("TextToSpeechClient", "AsyncTextToSpeechClient")
            for method in ("convert", "stream")
        ),
        Target(
            "elevenlabs.realtime_tts",
            "RealtimeTextToSpeechClient.convert_realtime",
            _ask_realtime,
            chunks(),
            ObservedArgument("text", Utterance.add_text, inline=True),
        ),
    )
