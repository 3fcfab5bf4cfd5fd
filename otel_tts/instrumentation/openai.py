"""Instrumentor of OpenAI's speech API (``audio.speech``), and of other servers that its SDK is used with."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from otel_tts.core.audio import PCM16, AudioFormat, Encoded, Wav
from otel_tts.core.container import OPENAI_RATE, is_openai
from otel_tts.core.formats import stated
from otel_tts.core.outcome import OK, Cause
from otel_tts.instrumentation.compression import is_read
from otel_tts.instrumentation.events import events
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import body
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked, Utterance
from otel_tts.semconv import ErrorType, Outcome

_logger = logging.getLogger(__name__)
_RATES = ("sample_rate", "sample_rate_hertz", "sampling_rate")  # parameters of other servers, in addition to the API's own
_RAW = "X-Stainless-Raw-Response"  # how the SDK marks a call through `with_streaming_response`


def _ask(speech: Any, arguments: Mapping[str, Any]) -> Asked:
    voice = arguments["voice"]
    beyond = {**_given(arguments, "extra_query"), **_given(arguments, "extra_body")}  # the SDK puts them over its own arguments
    asked = beyond.get("response_format", arguments.get("response_format", "mp3"))
    return Asked(
        provider="openai",
        model=arguments["model"],
        voice=voice["id"] if isinstance(voice, Mapping) else voice,
        text=arguments["input"],
        audio=_audio(speech, asked, beyond),
        stream=(arguments.get("extra_headers") or {}).get(_RAW) == "stream",
    )


def _given(arguments: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = arguments.get(name)
    return value if isinstance(value, Mapping) else {}


def _audio(speech: Any, asked: Any, beyond: Mapping[str, Any]) -> AudioFormat:
    if asked == "wav":
        return Wav()
    if asked != "pcm":
        return Encoded(asked if isinstance(asked, str) else "mp3")
    rate = next((beyond[name] for name in _RATES if name in beyond), None)
    if rate is None and is_openai(_host(speech)):
        rate = OPENAI_RATE
    try:
        return stated(PCM16, int(rate)) if rate is not None else Encoded(PCM16.name)
    except (TypeError, ValueError):  # no number
        return Encoded(PCM16.name)


def _host(speech: Any) -> str:
    url = getattr(getattr(speech, "_client", None), "base_url", "")
    return urlsplit(str(url)).hostname or ""


def _response(result: Any) -> Any:
    return getattr(result, "http_response", None) or result.response


def _read_event(event: Mapping[str, Any]) -> bytes | Cause | None:
    """Read an event of ``stream_format="sse"``: its audio, or how the request ended."""
    match event.get("type"):
        case "speech.audio.delta":
            return base64.b64decode(event["audio"])
        case "speech.audio.done":
            return OK
        case "error":
            return Cause(Outcome.ERROR, ErrorType.SERVER_ERROR)
    return None


def _extract(result: Any, utterance: Utterance) -> Any:
    """Measure a response: its ``Content-Type`` says whether the audio is in events, since not every server knows them."""
    response = _response(result)
    is_events = response.headers.get("content-type", "").startswith("text/event-stream")
    extracted = (_EVENTS if is_events else _BODY)(result, utterance)
    if utterance.audio == Encoded(PCM16.name) and is_read(response.headers):
        _warn_of_rate(str(response.url.host))
    return extracted


@lru_cache(64)
def _warn_of_rate(host: str) -> None:
    """Say once for each host that its audio cannot be measured, and what to do."""
    _logger.warning(
        "The audio that %s answers to response_format='pcm' has no sample rate, and is not OpenAI's: its duration, first audio and "
        "loudness are unknown. Let the server answer with Content-Type: audio/pcm;rate=24000 (its rate), pass "
        "extra_body={'sample_rate': 24000} if the server knows that, or ask for 'wav'.",
        host,
    )


_EVENTS, _BODY = events(_response, _read_event), body(_response)


class OpenAIInstrumentor(Instrumentor):
    """Instrumentor of ``audio.speech.create`` of both clients, also through ``with_raw_response`` and ``with_streaming_response``."""

    requires = "openai >= 1.60, < 4"
    targets = tuple(
        Target("openai.resources.audio.speech", f"{kind}.create", _ask, _extract) for kind in ("Speech", "AsyncSpeech")
    )
