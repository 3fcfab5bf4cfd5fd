"""Requester: what the call of a provider needs of the request for which it is made."""

from __future__ import annotations

from typing import Protocol

from opentelemetry.context import Context

from otel_tts.core.clock import RequestClock
from otel_tts.core.emitter import Emitter
from otel_tts.core.outcome import Cause
from otel_tts.core.record import Record
from otel_tts.core.sources import AudioSources
from otel_tts.core.texts import TextInput
from otel_tts.core.turn import Turn
from otel_tts.semconv import Outcome


class Requester(Protocol):
    """The request for which a provider is called."""

    emitter: Emitter
    timeline: RequestClock
    record: Record
    context: Context
    turn: Turn
    sources: AudioSources
    outcome: Outcome | None
    declared: Cause | None
    implicit: bool

    @property
    def text_input(self) -> TextInput:
        """Its text, for what arrives in pieces."""

    def interruption(self) -> Cause:
        """Return why work for this request was cut off."""

    def rpc_status(self) -> str | None:
        """Return the name of the status that the handler of its RPC has set; None without one."""


def cut_off(request: Requester | None) -> bool:
    """Return whether nobody wants the audio of a request any more, though an attempt may still be running.

    Args:
        request: the request; None for a probe.
    """
    if request is None:
        return False
    return request.record.interrupted_ns is not None or request.outcome in (Outcome.CANCELLED, Outcome.DEADLINE)
