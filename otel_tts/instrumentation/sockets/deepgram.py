"""Deepgram's WebSocket protocol: one utterance after another on one connection, each up to a flush.

https://developers.deepgram.com/docs/tts-websocket
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from otel_tts.core.outcome import CANCELLED
from otel_tts.instrumentation.deepgram import MODEL, audio_format
from otel_tts.instrumentation.sockets.messages import Audio, End, Flush, Interrupt, Message, Text
from otel_tts.instrumentation.utterance import Asked


class Deepgram:
    """A connection to ``/v1/speak``. Its messages name no utterance: audio and end markers come in the order of the texts.

    Args:
        path: of the socket's address.
        query: of the socket's address.
    """

    provider: ClassVar[str] = "deepgram"

    def __init__(self, path: str, query: Mapping[str, str]) -> None:
        model = query.get("model") or MODEL
        rate = query.get("sample_rate")
        encoding = query.get("encoding") or "linear16"
        self._asked = Asked(
            provider=self.provider,
            model=model,
            voice=model,
            audio=audio_format(encoding, "none", float(rate) if rate else None),
            stream=True,
        )
        self._number = 0
        self._spoken = 0  # utterances for which no more audio will come
        self._cleared = 0  # utterances that the provider was told to stop
        self._open = False  # whether text has come since the last flush

    def sent(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.sent`.

        Args:
            data: the message.
        """
        message: dict[str, Any] = json.loads(data)
        match message["type"]:
            case "Speak" if message["text"]:
                self._open = True
                yield Text(str(self._number), message["text"], self._asked)
            case "Flush" if self._open:
                yield Flush(str(self._number), last=True)
                self._number, self._open = self._number + 1, False
            case "Flush":
                self._number += 1  # Deepgram responds to it all the same
            case "Clear":
                for number in range(self._spoken, self._number + self._open):
                    yield Interrupt(str(number))
                self._number += self._open
                self._cleared, self._open = self._number, False

    def received(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.received`.

        Args:
            data: the message.
        """
        if isinstance(data, bytes):
            yield Audio(str(self._spoken), data)
            return
        match json.loads(data)["type"]:
            case "Flushed":
                self._spoken += 1
                yield End(str(self._spoken - 1))
            case "Cleared":
                for number in range(self._spoken, self._cleared):
                    yield End(str(number), CANCELLED)
                self._spoken = max(self._spoken, self._cleared)
