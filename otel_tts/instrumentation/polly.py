"""Instrumentor of Amazon Polly, through boto3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, MuLaw
from otel_tts.core.container import declared_format
from otel_tts.core.formats import Samples, stated
from otel_tts.core.guard import guarded
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import file
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked, Utterance

_SAMPLES: Mapping[str, tuple[type[Samples], int]] = {
    "pcm": (PCM16, 16000),
    "mulaw": (MuLaw, 8000),
    "alaw": (ALaw, 8000),
}  # with the API's default rates


def _audio(format: str, rate: str | None) -> AudioFormat:
    if format in _SAMPLES:
        kind, usual = _SAMPLES[format]
        return stated(kind, int(rate) if rate else usual)
    return stated(format.removeprefix("ogg_"), int(rate) if rate else None)


def asked(client: Any, arguments: Mapping[str, Any]) -> Asked | None:
    """Return what a call of Polly's client asks for; None for an operation that gives no audio.

    Args:
        client: of botocore or aiobotocore, for any service.
        arguments: of its ``_make_api_call``.
    """
    parameters = arguments["api_params"]
    if (client.meta.service_model.service_name, arguments["operation_name"]) != ("polly", "SynthesizeSpeech"):
        return None
    if parameters["OutputFormat"] == "json":  # speech marks, which are no audio: what is spoken at which time
        return None
    return Asked(
        provider="aws.polly",
        model=parameters.get("Engine", "standard"),
        voice=parameters["VoiceId"],
        language=parameters.get("LanguageCode"),
        text=parameters["Text"],
        audio=_audio(parameters["OutputFormat"], parameters.get("SampleRate")),
        stream=True,
    )


@guarded
def declared(result: Mapping[str, Any], utterance: Utterance) -> None:
    """Note the format of an answer's audio by its ``Content-Type``.

    Args:
        result: of the call.
        utterance: whose audio it is.
    """
    utterance.audio = declared_format(result.get("ContentType", ""), utterance.audio)


# All ways of reading the stream use this attribute, which has no public name.
_file = file(lambda result: result["AudioStream"], "_raw_stream")


def _stream(result: Any, utterance: Utterance) -> Any:
    declared(result, utterance)
    return _file(result, utterance)


class PollyInstrumentor(Instrumentor):
    """Instrumentor of ``synthesize_speech`` of Polly's client, to the end of its ``AudioStream``."""

    requires = "botocore >= 1.35, < 2"
    targets = (Target("botocore.client", "BaseClient._make_api_call", asked, _stream),)
