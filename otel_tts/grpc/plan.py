"""Plan: the series, and the attributes of spans, of RPCs of one method that end with the same status, looked up once and then reused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from otel_tts import semconv
from otel_tts.core.emitter import Emitter
from otel_tts.core.repeated import RepeatedAttributes
from otel_tts.semconv import OTHER, RequestKind

_KEPT = 512
"""The most sets of attributes at the start: one a method, and those are bounded."""


@dataclass(frozen=True, slots=True)
class MethodSpeech:
    """What a request to speak of a method is like.

    Attributes:
        stream: whether audio is delivered in pieces.
        kind: who waits for it.
    """

    stream: bool
    kind: RequestKind = RequestKind.INTERACTIVE


class RpcPlan:
    """The series of RPCs of one method that end with the same status.

    Args:
        emitter: what all requests of its Telemetry share.
        method: the bounded name of the method.
        code: the name of the status code.

    Attributes:
        attributes: of the end of their spans.
        duration: records how long an RPC took, seconds.
        error_type: the status code, if it is a failure of the server.
        speech: what the first of them spoke; None while none did.
        silent: whether one of them spoke nothing.
    """

    __slots__ = ("attributes", "duration", "error_type", "silent", "speech")

    def __init__(self, emitter: Emitter, method: str, code: str) -> None:
        failed = code in semconv.GRPC_SERVER_ERRORS or (code == "CANCELLED" and emitter.settings.cancelled_is_error)
        self.error_type = code if failed else None
        self.speech: MethodSpeech | None = None
        self.silent = False
        self.duration = emitter.instruments.rpc_duration.at(("grpc", method, code, self.error_type))
        self.attributes = RepeatedAttributes(
            {semconv.RPC_RESPONSE_STATUS_CODE.key: code, semconv.ERROR_TYPE.key: self.error_type}
        )


def plan_of(emitter: Emitter, method: str, code: str) -> RpcPlan:
    """Return the plan of RPCs that end like this one. Methods and codes are bounded, so that it may be kept.

    Args:
        emitter: what all requests of its Telemetry share.
        method: the bounded name of the method.
        code: the name of the status code.
    """
    plan: RpcPlan | None = emitter.plans.get((method, code))
    if plan is None:
        plan = RpcPlan(emitter, method, code)
        emitter.plans.keep((method, code), plan)
    return plan


def speech_of(emitter: Emitter, method: str) -> MethodSpeech | None:
    """Return what RPCs of a method speak; None if they do not, or not always, as far as is known.

    Each that ended with OK had a request to speak. Then one whose handler never started was one, too: its caller asked for speech.

    Args:
        emitter: what all requests of its Telemetry share.
        method: the bounded name of the method.
    """
    plan: RpcPlan | None = emitter.plans.get((method, "OK"))
    return None if plan is None or plan.silent or method == OTHER else plan.speech


@lru_cache(_KEPT)
def attributes_at_start(method: str) -> RepeatedAttributes:
    """Return the attributes that the span of an RPC has from its start.

    Args:
        method: the bounded name of the method.
    """
    return RepeatedAttributes({semconv.RPC_SYSTEM_NAME.key: "grpc", semconv.RPC_METHOD.key: method})
