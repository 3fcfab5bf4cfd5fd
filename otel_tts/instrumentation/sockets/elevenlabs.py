"""ElevenLabs' WebSocket protocols: one utterance per connection (``stream-input``), or many at the same time (``multi-stream-input``).

https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-stream-input. Messages of dialogues are those of the
types ``TextToDialogueWebsocket...`` of its SDK.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from otel_tts.core.outcome import Cause
from otel_tts.instrumentation.elevenlabs import MODEL, audio_format
from otel_tts.instrumentation.sockets.messages import Audio, End, Flush, Message, Text
from otel_tts.instrumentation.utterance import Asked
from otel_tts.semconv import ErrorType, Outcome

_FAILED = Cause(Outcome.ERROR, ErrorType.SERVER_ERROR)


class ElevenLabs:
    """A connection to ``/v1/text-to-speech/VOICE/stream-input`` or ``multi-stream-input``.

    Args:
        path: of the socket's address.
        query: of the socket's address.
    """

    provider: ClassVar[str] = "elevenlabs"

    def __init__(self, path: str, query: Mapping[str, str]) -> None:
        self._asked = Asked(
            provider=self.provider,
            model=query.get("model_id") or MODEL,
            voice=path.split("/")[-2],
            language=query.get("language_code"),
            audio=audio_format(query.get("output_format")),
            stream=True,
        )
        self._multi = path.endswith("/multi-stream-input")
        self._begun: set[str] = set()

    def sent(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.sent`.

        Args:
            data: the message.
        """
        message: dict[str, Any] = json.loads(data)
        utterance = str(message.get("context_id") or "")
        text = message.get("text")
        if text and (
            text.strip() or utterance in self._begun
        ):  # a blank opens the connection or context, and is not text to speak
            self._begun.add(utterance)
            yield Text(utterance, text, self._asked)
        ended = bool(message.get("close_context")) or (text == "" and not self._multi)
        if ended or message.get("flush") or message.get("try_trigger_generation"):
            yield Flush(utterance, last=ended)

    def received(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.received`.

        Args:
            data: the message.
        """
        message: dict[str, Any] = json.loads(data)
        utterance = str(message.get("contextId") or message.get("context_id") or "")
        if message.get("error"):
            yield End(utterance if self._multi and utterance else None, _FAILED)
            return
        if message.get("audio"):
            yield Audio(utterance, base64.b64decode(message["audio"]))
        if message.get("isFinal") or message.get("is_final"):
            self._begun.discard(utterance)
            yield End(utterance)


class Dialogue:
    """A connection to ``/v1/text-to-dialogue/stream-input`` or ``multi-stream-input``: lines of several voices are one utterance.

    Args:
        path: of the socket's address.
        query: of the socket's address.
    """

    provider: ClassVar[str] = "elevenlabs"

    def __init__(self, path: str, query: Mapping[str, str]) -> None:
        self._asked = Asked(
            provider=self.provider,
            model=query.get("model_id"),
            language=query.get("language_code"),
            audio=audio_format(query.get("output_format")),
            stream=True,
        )
        self._multi = path.endswith("/multi-stream-input")
        self._contexts: dict[str, Asked] = {}

    def sent(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.sent`.

        Args:
            data: the message.
        """
        message: dict[str, Any] = json.loads(data)
        if message.get("close_socket") and self._multi:
            yield from [Flush(context, last=True) for context in self._contexts]
            return
        context = str(message.get("context_id") or "")
        voices, lines = message.get("voices") or [], message.get("inputs") or []
        if context not in self._contexts and (voices or lines):
            self._contexts[context] = replace(self._asked, voice=voices[0] if len(voices) == 1 else None)
        for line in lines:
            if line.get("new_turn"):
                yield Flush(context)
            if line["text"]:
                yield Text(context, line["text"], self._contexts[context])
        ended = bool(message.get("close_context") or message.get("close_socket"))
        if ended or message.get("flush"):
            yield Flush(context, last=ended)

    def received(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.received`.

        Args:
            data: the message.
        """
        message: dict[str, Any] = json.loads(data)
        context = str(message.get("context_id") or "")
        if message.get("error"):
            yield End(None, _FAILED)  # the provider closes the connection after it, with all contexts
            return
        if message.get("audio"):
            yield Audio(context, base64.b64decode(message["audio"]))
        if message.get("is_final"):
            self._contexts.pop(context, None)
            yield End(context)
