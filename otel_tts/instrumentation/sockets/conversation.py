"""Conversation: one connection to a provider, and its utterances. Messages may be sent and received in different threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock

from otel_tts.core.guard import guard, guarded
from otel_tts.core.outcome import CANCELLED, Cause
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.sockets.messages import Audio, End, Flush, Interrupt, Message, SpeechProtocol, Text
from otel_tts.instrumentation.speech import Speech
from otel_tts.instrumentation.utterance import observed
from otel_tts.semconv import ErrorType, Outcome

_LOST = Cause(Outcome.ERROR, ErrorType.CONNECTION)
_BROKEN = 1011
"""The close code of a server that has failed: https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1."""


class Conversation:
    """The state of a connection, by its messages. It never raises, and changes no message.

    Args:
        telemetry: the Telemetry that records.
        protocol: reads the vendor's messages.
    """

    def __init__(self, telemetry: Telemetry, protocol: SpeechProtocol) -> None:
        self._telemetry = telemetry
        self._protocol = protocol
        self._speeches: dict[str, Speech] = {}
        self._uses = 0
        self._lock = RLock()

    def sent(self, data: str | bytes) -> None:
        """Read a message to the provider.

        Args:
            data: the message.
        """
        if not observed():
            self._read(lambda: list(self._protocol.sent(data)), None)

    def received(self, data: str | bytes, since_ns: int | None) -> None:
        """Read a message of the provider, for which the host has waited since ``since_ns``.

        Args:
            data: the message.
            since_ns: since when the host has waited for it, in nanoseconds; None: unknown.
        """
        if self._speeches:
            self._read(lambda: list(self._protocol.received(data)), since_ns)

    def _read(self, messages: Callable[[], Sequence[Message]], since_ns: int | None) -> None:
        try:
            with self._lock:
                for message in messages():
                    self._take(message, since_ns)
        except Exception as error:  # noqa: BLE001 - the boundary: messages are the host's and the provider's
            guard.caught("reading a message", error)

    def _take(self, message: Message, since_ns: int | None) -> None:
        if isinstance(message, Text):
            self._text(message)
            return
        if isinstance(message, End) and message.utterance is None:
            self._end_all(message.cause)
            return
        speech = self._speeches.get(message.utterance or "")
        if speech is None:
            return
        match message:
            case Flush():
                speech.flush()
            case Interrupt():
                speech.interrupt()
            case Audio():
                speech.made(message.data, since_ns)
            case End():
                del self._speeches[message.utterance or ""]
                speech.finish(None if speech.interrupted else message.cause)

    def _text(self, message: Text) -> None:
        speech = self._speeches.get(message.utterance)
        if speech is None:
            for earlier in [name for name, other in self._speeches.items() if other.interrupted]:
                self._speeches.pop(earlier).finish(None)  # the provider was told to stop, and may send no end for it
            speech = self._speeches[message.utterance] = Speech(self._telemetry, message.asked)
            speech.ask(message.asked, delivers=True)
            speech.connection(reused=self._uses > 0)
            self._uses += 1
        speech.text(message.text)
        speech.given()

    @guarded
    def lost(self, code: int | None) -> None:
        """Note that the connection was lost, not closed by the host: utterances that have not ended failed.

        Args:
            code: with which the socket closed; None: it broke.
        """
        with self._lock:
            self._end_all(Cause(Outcome.ERROR, ErrorType.SERVER_ERROR) if code == _BROKEN else _LOST)

    @guarded
    def closed(self) -> None:
        """Note that the host closed the connection: utterances that have not ended are cancelled."""
        with self._lock:
            self._end_all(CANCELLED)

    def _end_all(self, cause: Cause) -> None:
        speeches, self._speeches = self._speeches, {}
        for speech in speeches.values():
            speech.finish(None if speech.interrupted else cause)
