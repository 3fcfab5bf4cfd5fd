"""Cartesia's WebSocket protocol: many utterances on one connection, each with a context id.

https://docs.cartesia.ai/api-reference/tts/websocket
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from otel_tts.core.outcome import Cause
from otel_tts.instrumentation.cartesia import PROVIDER, asked, read_event
from otel_tts.instrumentation.sockets.messages import Audio, End, Flush, Interrupt, Message, Text


class Cartesia:
    """A connection to ``/tts/websocket``.

    Args:
        path: of the socket's address.
        query: of the socket's address.
    """

    provider: ClassVar[str] = PROVIDER

    def __init__(self, path: str, query: Mapping[str, str]) -> None:
        self._begun: set[str] = set()

    def sent(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.sent`.

        Args:
            data: the message.
        """
        message: dict[str, Any] = json.loads(data)
        utterance = str(message["context_id"])
        if message.get("cancel"):
            yield Interrupt(utterance)
            return
        text = message["transcript"]
        if text and (text.strip() or utterance in self._begun):
            self._begun.add(utterance)
            yield Text(utterance, text, replace(asked(message, stream=True), text=None))
        last = not message.get("continue")
        if last or message.get("flush"):
            yield Flush(utterance, last=last)

    def received(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.received`.

        Args:
            data: the message.
        """
        message: dict[str, Any] = json.loads(data)
        utterance = str(message.get("context_id") or "")
        match read_event(message):
            case bytes(audio):
                yield Audio(utterance, audio)
            case Cause() as cause:
                self._begun.discard(utterance)
                yield End(utterance if cause.good else utterance or None, cause)
