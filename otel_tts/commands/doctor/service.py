"""The service: one synthesis with a trace id of our own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import grpc

from otel_tts import formatting
from otel_tts.commands.doctor.finding import HopAbsentError, HopBrokenError
from otel_tts.commands.doctor.start import start_service
from otel_tts.commands.security import PLAIN, TLS_FAILED, Security
from otel_tts.grpc import TRACE_RESPONSE

_TEXT = "1, 2, 3."
"""Every voice can say it, whatever its language."""
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A synthesis that succeeded. ``trace_id``: empty when the service has no tracing. ``sampled``: whether its spans are kept."""

    trace_id: str
    sampled: bool
    message: str


def speak(target: str, security: Security = PLAIN) -> Spoken:
    """Synthesize a text at the reference service, past its cache.

    Args:
        target: ``HOST:PORT``; empty: where `otel-tts serve` would be with the same environment.
        security: of the channel.

    Raises:
        HopAbsentError: there is no service to send a request to.
        HopBrokenError: it does not, or the extra ``service`` is not installed.
    """
    try:
        from otel_tts.commands.verify.command import own_target
        from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("otel_tts"):
            raise
        raise HopAbsentError(
            f"to send a request needs the Python module {error.name}, which is not installed",
            "Install it with: pip install 'otel-tts[service]'. Or follow a request of your own service: --wait, --trace-id.",
        ) from None
    target = target or own_target()
    parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    with security.channel(target) as channel:
        synthesize = tts_pb2_grpc.TextToSpeechStub(channel).Synthesize
        try:
            answer, call = synthesize.with_call(
                tts_pb2.SynthesizeRequest(text=_TEXT, no_cache=True), timeout=_PATIENCE_S, metadata=(("traceparent", parent),)
            )
        except grpc.RpcError as error:
            raise _broken(target, error, security) from None
    spoken = f"{answer.rendition.provider} spoke {formatting.duration(answer.audio_duration_seconds)} of audio"
    response = dict(call.trailing_metadata() or ()).get(TRACE_RESPONSE)
    if not response:
        return Spoken("", False, f"{spoken}; the service has no tracing")
    _, trace_id, _, flags = str(response).split("-")
    return Spoken(trace_id, bool(int(flags, 16) & 1), f"{spoken}, trace {trace_id}")


def _broken(target: str, error: Any, security: Security) -> HopBrokenError:
    """``error``: an RpcError, which also is the call that failed."""
    if any(key == TRACE_RESPONSE for key, _ in error.trailing_metadata() or ()):  # the service's own answer
        return HopBrokenError(
            f"it answered {error.code().name}: {error.details()}", "See its log. Without an engine there is no audio."
        )
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return HopAbsentError(
            f"what listens at {target} is not the speech service yap.tts.v1",
            "Give another --target, or follow a request of your own service: --wait, --trace-id.",
        )
    if security.credentials is not None:
        return HopAbsentError(f"{target} does not answer by TLS ({error.code().name}: {error.details()})", TLS_FAILED)
    return HopAbsentError(
        f"{target} does not answer ({error.code().name})",
        start_service(),
    )
