"""Deepgram's WebSocket protocols: one utterance after another on one connection, each up to a flush.

https://developers.deepgram.com/docs/tts-websocket and https://developers.deepgram.com/docs/flux-tts/server-messages
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from otel_tts.core.audio import AudioFormat, Encoded
from otel_tts.core.outcome import CANCELLED, OK, Cause, from_http_status
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


_IGNORED = ("NO_AUDIO_GENERATED", "INVALID_INTERRUPT_OFFSET")
"""Warnings of Flux that it has ignored an interruption: the turn goes on."""


class Flux:
    """A connection to ``/v2/speak``. The provider works on one turn; what is asked meanwhile waits. Its audio is that of this turn.

    Args:
        path: of the socket's address.
        query: of the socket's address.
    """

    provider: ClassVar[str] = "deepgram"

    def __init__(self, path: str, query: Mapping[str, str]) -> None:
        model = query.get("model")
        self._asked = Asked(provider=self.provider, model=model, voice=model, audio=_flux_audio(query), stream=True)
        self._number = 0  # the turn that the next text is of
        self._open = False  # whether it has begun
        self._active = 0  # the turn that the provider works on
        self._cut: int | None = None  # the turn that an interruption ended, not a flush
        self._speech_id: object = None  # the provider's name of the active turn, once it has said it
        self._ended_id: object = None  # that of the turn before

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
            case "Flush" | "Close" if self._open:  # without text, no turn: Flux responds with a warning only
                yield Flush(str(self._number), last=True)
                self._number, self._open = self._number + 1, False
            case "Interrupt" if self._active < self._number + self._open:
                yield Interrupt(str(self._active))
                if self._active == self._number:
                    self._cut, self._number, self._open = self._number, self._number + 1, False

    def received(self, data: str | bytes) -> Iterator[Message]:
        """See `SpeechProtocol.received`.

        Args:
            data: the message.
        """
        if isinstance(data, bytes):
            yield Audio(str(self._active), data)
            return
        message: dict[str, Any] = json.loads(data)
        match message["type"]:
            case "SpeechStarted":
                self._speech_id = message.get("speech_id")
            case "SpeechMetadata":
                yield self._end(message["speech_id"])
            case "SpeechInterrupted" if self._is_active(message["metadata"]["speech_id"]):
                yield Interrupt(str(self._active))
                yield self._end(message["metadata"]["speech_id"], CANCELLED)
            case "Warning" if message.get("code") in _IGNORED and self._cut == self._active:
                yield from self._goes_on()
            case "Error":
                yield End(None, _flux_cause(message.get("code")))

    def _is_active(self, speech_id: str) -> bool:
        """Return whether a turn is the active one. An interruption may arrive when its turn has ended: it is of none then."""
        begun = self._active < self._number + self._open
        return begun and speech_id != self._ended_id and self._speech_id in (None, speech_id)

    def _end(self, speech_id: str, cause: Cause = OK) -> End:
        ended = End(str(self._active), cause)
        self._active, self._speech_id, self._ended_id = self._active + 1, None, speech_id
        return ended

    def _goes_on(self) -> Iterator[Message]:
        """The interruption of an open turn was ignored: its text goes on, with that of the turn after it if that has begun."""
        turn, self._cut = self._active, None
        if self._number == turn + 1 and not self._open:
            self._number, self._open = turn, True
        else:
            yield End(str(turn), CANCELLED)
            self._active += 1


def _flux_audio(query: Mapping[str, str]) -> AudioFormat:
    """Return the format of raw audio; without a rate it is the model's own, which nobody says."""
    encoding, rate = query.get("encoding") or "linear16", query.get("sample_rate")
    return audio_format(encoding, "none", float(rate)) if rate else Encoded(encoding)


def _flux_cause(code: object) -> Cause:
    """Return the cause of an error, by its code: of the caller's messages, or of the provider."""
    return from_http_status(400 if str(code).startswith(("MESSAGE", "DATA", "BIG")) else 500)
