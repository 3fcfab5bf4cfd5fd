"""Instrumentor of the package ``websockets``, which the SDKs of vendors use, and programs without an SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakKeyDictionary

from otel_tts.core.guard import guard
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.sockets.cartesia import Cartesia
from otel_tts.instrumentation.sockets.conversation import Conversation
from otel_tts.instrumentation.sockets.deepgram import Deepgram, Flux
from otel_tts.instrumentation.sockets.elevenlabs import Dialogue, ElevenLabs
from otel_tts.instrumentation.sockets.messages import SpeechProtocol

_RENAMED = 17
"""The first version of ``websockets`` in which the methods that open a connection have their new names."""
_PROTOCOLS: Mapping[str, Callable[[str, Mapping[str, str]], SpeechProtocol]] = {
    "/text-to-dialogue/stream-input": Dialogue,
    "/text-to-dialogue/multi-stream-input": Dialogue,
    "/stream-input": ElevenLabs,
    "/multi-stream-input": ElevenLabs,
    "/tts/websocket": Cartesia,
    "/v1/speak": Deepgram,
    "/v2/speak": Flux,
}
"""The protocols, by the end of the path of an address; the first that fits."""


def protocol_of(address: object) -> SpeechProtocol | None:
    """Return the speech protocol of an address; None if it has none.

    Args:
        address: of the socket.
    """
    parts = urlsplit(str(address))
    path = parts.path.rstrip("/")
    conversation = next((protocol for end, protocol in _PROTOCOLS.items() if path.endswith(end)), None)
    return None if conversation is None else conversation(path, dict(parse_qsl(parts.query)))


class WebSocketsInstrumentor(Instrumentor):
    """Instrumentor of ``websockets.sync``, ``websockets.asyncio`` and ``websockets.legacy``, for clients of a known protocol."""

    requires = "websockets >= 15, < 18"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches of the functions that open, use and close a connection."""
        sockets = _Sockets(telemetry)
        sync, asynchronous, legacy = "websockets.sync.client", "websockets.asyncio.client", "websockets.legacy.client"
        newer = int(version("websockets").partition(".")[0]) >= _RENAMED
        return [
            Patch(sync, "reconnect.connect" if newer else "connect", lambda _: sockets.connect),
            Patch(asynchronous, "connect.connect" if newer else "connect.__await_impl__", lambda _: sockets.connect_async),
            Patch(legacy, "Connect.__await_impl__", lambda _: sockets.connect_async),
            *(Patch(sync, f"ClientConnection.{name}", wrapper) for name, wrapper in sockets.sync.items()),
            *(Patch(asynchronous, f"ClientConnection.{name}", wrapper) for name, wrapper in sockets.asynchronous.items()),
            *(Patch(legacy, f"WebSocketClientProtocol.{name}", wrapper) for name, wrapper in sockets.asynchronous.items()),
        ]


class _Sockets:
    """The wrappers, and the state of all connections to providers. References are weak: connections are freed as without us."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._conversations: MutableMapping[Any, Conversation] = WeakKeyDictionary()
        self.sync: Mapping[str, Callable[[Any], Wrapper]] = {
            "send": lambda _: self.send, "recv": lambda _: self.recv, "close": lambda _: self.close,
        }  # fmt: skip
        self.asynchronous: Mapping[str, Callable[[Any], Wrapper]] = {
            "send": lambda _: self.send, "recv": lambda _: self.recv_async, "close": lambda _: self.close_async,
        }  # fmt: skip

    # -- opened -----------------------------------------------------------------------------------------------------------------------

    def connect(self, wrapped: Any, connecting: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Measure a connection being opened."""
        protocol = self._protocol(getattr(connecting, "uri", None) or (args[0] if args else kwargs.get("uri")))
        if protocol is None:
            return wrapped(*args, **kwargs)
        with self._telemetry.connection(protocol.provider):
            connection = wrapped(*args, **kwargs)
        return self._opened(connection, protocol)

    async def connect_async(self, wrapped: Any, connecting: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Measure a connection being opened in an event loop."""
        protocol = self._protocol(getattr(connecting, "uri", None) or getattr(connecting, "_uri", None))
        if protocol is None:
            return await wrapped(*args, **kwargs)
        with self._telemetry.connection(protocol.provider):
            connection = await wrapped(*args, **kwargs)
        return self._opened(connection, protocol)

    def _protocol(self, address: object) -> SpeechProtocol | None:
        try:
            return protocol_of(address)
        except Exception as error:  # noqa: BLE001 - the boundary: the address is the host's
            guard.caught("reading an address", error)
            return None

    def _opened(self, connection: Any, protocol: SpeechProtocol) -> Any:
        self._conversations[connection] = Conversation(self._telemetry, protocol)
        return connection

    # -- used -------------------------------------------------------------------------------------------------------------------------

    def send(self, wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Read a message that is sent, at once or by an awaitable."""
        conversation = self._conversations.get(connection)
        data = args[0] if args else kwargs.get("message")
        if conversation is not None and isinstance(data, str | bytes):
            conversation.sent(data)
        return wrapped(*args, **kwargs)

    def recv(self, wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Read the next message that is received."""
        conversation = self._conversations.get(connection)
        if conversation is None:
            return wrapped(*args, **kwargs)
        since_ns = self._now_ns()
        try:
            data = wrapped(*args, **kwargs)
        except Exception as error:
            self._failed(conversation, error)
            raise
        conversation.received(data, since_ns)
        return data

    async def recv_async(self, wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Read the next message that is received, in an event loop."""
        conversation = self._conversations.get(connection)
        if conversation is None:
            return await wrapped(*args, **kwargs)
        since_ns = self._now_ns()
        try:
            data = await wrapped(*args, **kwargs)
        except Exception as error:
            self._failed(conversation, error)
            raise
        conversation.received(data, since_ns)
        return data

    def close(self, wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that the host closes it, or that it was lost before."""
        self._closing(connection)
        return wrapped(*args, **kwargs)

    async def close_async(self, wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that the host closes it, or that it was lost before, in an event loop."""
        self._closing(connection)
        return await wrapped(*args, **kwargs)

    def _closing(self, connection: Any) -> None:
        conversation = self._conversations.get(connection)
        if conversation is None:
            return
        code = getattr(connection, "close_code", None)
        if code is None:
            conversation.closed()
        else:
            conversation.lost(code)  # it was lost before, and the host has not noticed

    @staticmethod
    def _failed(conversation: Conversation, error: Exception) -> None:
        """Note that the connection was lost, if it was closed; after a timeout of the host, more messages may come."""
        if any(kind.__name__ == "ConnectionClosed" for kind in type(error).__mro__):
            received = getattr(error, "rcvd", None)
            conversation.lost(getattr(received, "code", None))

    def _now_ns(self) -> int:
        return self._telemetry.emitter.clock.monotonic()
