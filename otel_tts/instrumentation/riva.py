"""Instrumentor of NVIDIA Riva's client."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, MuLaw
from otel_tts.core.formats import Samples, stated
from otel_tts.core.guard import guarded
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import chunks
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked, Utterance

_RATE = 22050  # Hz, the client's default
_SAMPLES: Mapping[str, type[Samples]] = {"LINEAR_PCM": PCM16, "MULAW": MuLaw, "ALAW": ALaw}


def _format(encoding: int, rate: int) -> AudioFormat:
    name = importlib.import_module("riva.client.proto.riva_audio_pb2").AudioEncoding.Name(encoding)
    return stated(_SAMPLES.get(name) or name.lower().removeprefix("ogg"), rate)


def _ask(_: Any, arguments: Mapping[str, Any], *, stream: bool) -> Asked:
    text = arguments["text"]
    return Asked(
        provider="nvidia.riva",
        voice=arguments.get("voice_name"),
        language=arguments.get("language_code", "en-US"),
        text=text if isinstance(text, str) else "".join(text) if isinstance(text, list) else None,
        audio=_format(arguments.get("encoding", 1), arguments.get("sample_rate_hz", _RATE)),
        stream=stream,
    )


def _whole(result: Any, utterance: Utterance) -> Any:
    """Measure a response, or what comes of a future when it is done."""
    if not hasattr(result, "add_done_callback"):
        utterance.whole(result.audio)
        return result
    began_ns = utterance.monotonic()
    result.add_done_callback(functools.partial(_done, utterance, began_ns))
    return result


@guarded
def _done(utterance: Utterance, began_ns: int, future: Any) -> None:
    now_ns = utterance.monotonic()
    utterance.waiting(now_ns - began_ns)
    if future.cancelled():
        utterance.finished(None, None, now_ns)
    elif (error := future.exception()) is not None:
        utterance.finished(None, error, now_ns)
    else:
        utterance.whole(future.result().audio)


class RivaInstrumentor(Instrumentor):
    """Instrumentor of ``SpeechSynthesisService.synthesize`` and ``synthesize_online``."""

    requires = "nvidia-riva-client >= 2.16, < 3"
    targets = (
        Target("riva.client.tts", "SpeechSynthesisService.synthesize", functools.partial(_ask, stream=False), _whole),
        Target(
            "riva.client.tts",
            "SpeechSynthesisService.synthesize_online",
            functools.partial(_ask, stream=True),
            chunks(lambda response: response.audio),
        ),
    )
