"""Instrumentor of ElevenLabs' SDK."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, MuLaw, Wav
from otel_tts.core.formats import stated
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.managed import raw_response
from otel_tts.instrumentation.result import Extractor, chunks, whole
from otel_tts.instrumentation.target import ObservedArgument, Target
from otel_tts.instrumentation.utterance import Asked, Utterance

MODEL = "eleven_multilingual_v2"
"""The API's default."""
DIALOGUE_MODEL = "eleven_v3"
"""The API's default for a dialogue."""
_SAMPLES = {"pcm": PCM16, "ulaw": MuLaw, "alaw": ALaw}


def audio_format(output_format: Any) -> AudioFormat:
    """Return the format of a name such as ``pcm_24000``, ``mp3_44100_128``, ``wav_22050``: codec, rate and further details.

    Args:
        output_format: as the API calls it, for example `mp3_44100_128`.
    """
    codec, _, rest = (output_format if isinstance(output_format, str) else "mp3_44100_128").partition("_")
    rate = int(rest.partition("_")[0])
    if codec == "wav":
        return Wav()
    return stated(_SAMPLES.get(codec, codec), rate)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None  # an argument that is left out is a marker object of the SDK


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
    return replace(_ask(_, {**arguments, "text": None}), text=None)  # the text comes in pieces


def _ask_whole(_: Any, arguments: Mapping[str, Any]) -> Asked:
    return replace(_ask(_, arguments), stream=False)


def _ask_dialogue(_: Any, arguments: Mapping[str, Any]) -> Asked:
    """Return what a dialogue requests; its voice is known only if all lines have the same."""
    lines = [line if isinstance(line, Mapping) else vars(line) for line in arguments["inputs"]]
    voices = {line["voice_id"] for line in lines}
    asked = _ask(_, {**arguments, "text": "".join(line["text"] for line in lines), "voice_id": None})
    return replace(
        asked, model=_text(arguments.get("model_id")) or DIALOGUE_MODEL, voice=voices.pop() if len(voices) == 1 else None
    )


def _decoded(answer: Any) -> bytes:
    return base64.b64decode(answer.audio_base_64 or "")


def _ask_whole_dialogue(_: Any, arguments: Mapping[str, Any]) -> Asked:
    return replace(_ask_dialogue(_, arguments), stream=False)


Way = tuple[str, Callable[[Any, Mapping[str, Any]], Asked], Extractor, bool]
"""A method, what it requests, the extractor of its result, and whether its raw response comes in a block, in which the audio is read."""

_SPEECH: Sequence[Way] = (
    ("convert", _ask, chunks(), True),
    ("stream", _ask, chunks(), True),
    ("convert_with_timestamps", _ask_whole, whole(_decoded), False),
    ("stream_with_timestamps", _ask, chunks(_decoded), True),
)
_DIALOGUE: Sequence[Way] = (
    ("convert", _ask_dialogue, chunks(), True),
    ("stream", _ask_dialogue, chunks(), True),
    ("convert_with_timestamps", _ask_whole_dialogue, whole(_decoded), False),
    ("stream_with_timestamps", _ask_dialogue, chunks(_decoded), True),
)


def _targets(package: str, client: str, ways: Sequence[Way], *, newer: Sequence[str] = ()) -> Iterator[Target]:
    """Yield the targets of a package: the raw responses of both clients, from which all other results are made.

    ``newer``: methods that older versions lack.
    """
    for kind in ("", "Async"):
        for method, ask, extract, streamed in ways:
            raw = raw_response(extract, declared=method in ("convert", "stream"))
            name = f"{kind}Raw{client}.{method}"
            yield Target(f"elevenlabs.{package}.raw_client", name, ask, raw, managed=streamed, optional=method in newer)


class ElevenLabsInstrumentor(Instrumentor):
    """Instrumentor of both clients: ``text_to_speech``, ``text_to_dialogue``, their raw responses, and ``convert_realtime``."""

    requires = "elevenlabs >= 2.10, < 3"
    targets = (
        *_targets("text_to_speech", "TextToSpeechClient", _SPEECH),
        *_targets(
            "text_to_dialogue",
            "TextToDialogueClient",
            _DIALOGUE,
            newer=("convert_with_timestamps", "stream_with_timestamps"),
        ),
        Target(
            "elevenlabs.realtime_tts",
            "RealtimeTextToSpeechClient.convert_realtime",
            _ask_realtime,
            chunks(),
            ObservedArgument("text", Utterance.add_text, inline=True),
        ),
    )
