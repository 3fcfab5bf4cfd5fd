"""Instrumentor of the WebSockets of the package ``aiohttp``, for clients of a known speech protocol."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from otel_tts.core.guard import guard
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch
from otel_tts.instrumentation.sockets.conversation import Conversation
from otel_tts.instrumentation.sockets.messages import SpeechProtocol
from otel_tts.instrumentation.sockets.websockets import protocol_of

_FRAMEWORKS = ("livekit.", "pipecat.")
"""Modules whose speech is observed as a whole: of their connections only the opening is."""
_CALLERS = 40
"""Frames that are looked through for one of these."""
_ENDS = ("CLOSE", "CLOSING", "CLOSED")


class AiohttpSocketsInstrumentor(Instrumentor):
    """Instrumentor of ``ClientSession.ws_connect`` and of the connection that it returns."""

    requires = "aiohttp >= 3.14, < 4"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches of the functions that open, use and close a connection."""
        sockets, client, connection = _AiohttpSockets(telemetry), "aiohttp.client", "aiohttp.client_ws"
        return [
            Patch(client, "ClientSession._ws_connect", lambda _: sockets.connect),
            Patch(connection, "ClientWebSocketResponse.send_str", lambda _: sockets.send),
            Patch(connection, "ClientWebSocketResponse.send_bytes", lambda _: sockets.send),
            Patch(connection, "ClientWebSocketResponse.receive", lambda _: sockets.receive),
            Patch(connection, "ClientWebSocketResponse.close", lambda _: sockets.close),
        ]


class _AiohttpSockets:
    """The wrappers, and the state of all connections to providers. References are weak: connections are freed as without us."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._conversations: MutableMapping[Any, Conversation] = WeakKeyDictionary()
        self._receiving: MutableMapping[Any, Any] = WeakKeyDictionary()
        """The task that receives from a connection at the moment."""

    async def connect(self, wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Measure a connection being opened."""
        protocol = _protocol(args[0] if args else kwargs.get("url"), kwargs.get("params"))
        if protocol is None:
            return await wrapped(*args, **kwargs)
        belongs_to_framework = _called_by_framework()
        with self._telemetry.connection(protocol.provider):
            connection = await wrapped(*args, **kwargs)
        if not belongs_to_framework:
            self._conversations[connection] = Conversation(self._telemetry, protocol)
        return connection

    async def send(self, wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Read a message that is sent."""
        conversation = self._conversations.get(connection)
        data = args[0] if args else kwargs.get("data")
        if conversation is not None and isinstance(data, str | bytes):
            conversation.sent(data)
        return await wrapped(*args, **kwargs)

    async def receive(self, wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Read the next message that is received; each way of receiving uses this one."""
        conversation = self._conversations.get(connection)
        if conversation is None:
            return await wrapped(*args, **kwargs)
        since_ns = self._telemetry.emitter.clock.monotonic()
        self._receiving[connection] = asyncio.current_task()
        try:
            message = await wrapped(*args, **kwargs)
        finally:
            self._receiving.pop(connection, None)
        kind = getattr(message.type, "name", "")
        if kind in ("TEXT", "BINARY"):
            conversation.received(message.data, since_ns)
        elif kind in _ENDS or kind == "ERROR":
            conversation.lost(connection.close_code)
        return message

    async def close(self, wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that the host closes it."""
        conversation = self._conversations.get(connection)
        if conversation is not None and self._receiving.get(connection) is not asyncio.current_task():
            conversation.closed()  # else aiohttp closes it, which has just received that it was closed
        return await wrapped(*args, **kwargs)


def _protocol(url: object, params: Any) -> SpeechProtocol | None:
    try:
        return protocol_of(_with_query(str(url), params) if params else url)
    except Exception as error:  # noqa: BLE001 - the boundary: the address is the host's
        guard.caught("reading an address", error)
        return None


def _with_query(address: str, params: Any) -> str:
    """Return the address with these parameters, in each form that ``aiohttp`` takes: text, a mapping, or pairs."""
    pairs = params.items() if isinstance(params, Mapping) else params
    query = params if isinstance(params, str) else urlencode(list(pairs), doseq=True)
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, query)))))


def _called_by_framework() -> bool:
    """Return whether an observed framework opens the connection. It may send from a task that knows nothing of the utterance."""
    frame = sys._getframe(1)  # noqa: SLF001 - there is no other way that costs as little
    for _ in range(_CALLERS):
        if str(frame.f_globals.get("__name__", "")).startswith(_FRAMEWORKS):
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
