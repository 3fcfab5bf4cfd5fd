"""Instrumentor of Cartesia's SDK."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, Encoded, MuLaw, PCMFloat32, Wav
from otel_tts.core.formats import Samples, stated
from otel_tts.core.outcome import OK, Cause, from_http_status
from otel_tts.instrumentation.events import events
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import body
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked
from otel_tts.semconv import OTHER, ErrorType, Outcome

_SAMPLES: Mapping[str, type[Samples]] = {
    "pcm_f32le": PCMFloat32,
    "pcm_s16le": PCM16,
    "pcm_mulaw": MuLaw,
    "pcm_alaw": ALaw,
}
PROVIDER = "cartesia"
_RAW = "X-Stainless-Raw-Response"  # how the SDK marks a call through `with_streaming_response`


def _audio(asked: Mapping[str, Any]) -> AudioFormat:
    if asked["container"] == "raw":
        return stated(_SAMPLES[asked["encoding"]], asked["sample_rate"])
    return Wav() if asked["container"] == "wav" else stated(asked["container"], asked.get("sample_rate"))


def _ask(_: Any, arguments: Mapping[str, Any]) -> Asked:
    return asked(arguments, stream=(arguments.get("extra_headers") or {}).get(_RAW) == "stream")


def asked(arguments: Mapping[str, Any], *, stream: bool) -> Asked:
    """Return what a call or a WebSocket message requests; both have the same names.

    Args:
        arguments: of the call.
        stream: whether audio is delivered in pieces.
    """
    voice, language = arguments["voice"], arguments.get("language") or arguments.get("locale")
    return Asked(
        provider=PROVIDER,
        model=arguments["model_id"],
        voice=voice if isinstance(voice, str) else voice["id"],
        language=language if isinstance(language, str) else None,
        text=arguments["transcript"],
        audio=_audio(arguments["output_format"]),
        stream=stream,
    )


def _ask_events(_: Any, arguments: Mapping[str, Any]) -> Asked:
    return asked(arguments, stream=True)


def _ask_infill(_: Any, arguments: Mapping[str, Any]) -> Asked:
    """Return what a call requests whose audio goes between two pieces of audio; all its arguments may be left out."""
    return Asked(
        provider=PROVIDER,
        model=_text(arguments.get("model_id")),
        voice=_text(arguments.get("voice_id")),
        language=_text(arguments.get("language")),
        text=_text(arguments.get("transcript")),
        audio=_audio(output_format) if isinstance(output_format := arguments.get("output_format"), Mapping) else Encoded(OTHER),
        stream=(arguments.get("extra_headers") or {}).get(_RAW) == "stream",
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None  # an argument that is left out is a marker object of the SDK


def read_event(event: Mapping[str, Any]) -> bytes | Cause | None:
    """Read an event, of a stream of events or of a WebSocket: its audio, or how the request ended.

    Args:
        event: a JSON message of the API.
    """
    match event["type"]:
        case "chunk" if event.get("data"):
            return base64.b64decode(event["data"])
        case "done":
            return OK
        case "error":
            status = event.get("status_code")
            return from_http_status(status) if isinstance(status, int) else Cause(Outcome.ERROR, ErrorType.SERVER_ERROR)
    return None


def _response(result: Any) -> Any:
    """Return the response of httpx in a stream of events, or in what ``with_raw_response`` and ``with_streaming_response`` give."""
    return getattr(result, "http_response", None) or result.response


class CartesiaInstrumentor(Instrumentor):
    """Instrumentor of ``tts.generate``, ``.generate_sse`` and ``.infill`` of both clients.

    Also through ``with_raw_response`` and ``with_streaming_response``.
    """

    requires = "cartesia >= 3, < 5"
    targets = tuple(
        Target("cartesia.resources.tts", f"{kind}.{name}", ask, extract)
        for kind in ("TTSResource", "AsyncTTSResource")
        for name, ask, extract in (
            ("generate", _ask, body(_response)),
            ("generate_sse", _ask_events, events(_response, read_event)),
            ("sse", _ask_events, events(_response, read_event)),  # the same by its older name
            ("infill", _ask_infill, body(_response)),
        )
    )
