"""Connection: the enclosure of an HTTP request that may become a WebSocket connection, and of its messages."""

from __future__ import annotations

import weakref
from collections.abc import MutableSet

from otel_tts.core.enclosure import CURRENT, Enclosure
from otel_tts.core.guard import guarded

_LEFT = frozenset(("ConnectionClosed", "StreamClosedError", "WebSocketClosedError", "WebSocketDisconnect", "ClientDisconnected"))
"""Classes of exceptions by which servers and frameworks say that the caller is gone."""
_PATIENCE_S = 30.0
"""How long a request that failed in a task of an earlier message may be continued, in seconds."""


class Message(Enclosure):
    """A message of a WebSocket connection: it lasts until its task receives the next one, and as long as tasks that it started run."""

    __slots__ = ("connection",)

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.host_failure = connection.host_failure  # what its handler raises leaves the connection


class Connection(Enclosure):
    """An HTTP request, or the WebSocket connection that it becomes.

    A task that receives a message is in a `Message` until it receives the next one; so are the tasks that it starts in between, as long
    as they run. Everything else is in the connection itself, where each message ends the failed requests before it.
    """

    __slots__ = ("_messages", "left")

    def __init__(self) -> None:
        super().__init__()
        self.left = False
        """Whether the caller was seen to have gone away before its end."""
        self._messages: MutableSet[Message] | None = None

    def message_came(self) -> None:
        """Begin a message, in the task or thread that received it."""
        if self._messages is None:
            self._messages = weakref.WeakSet()
        self.settle()
        for earlier in tuple(self._messages):
            earlier.settle(_PATIENCE_S)
        message = Message(self)
        self._messages.add(message)
        CURRENT.set(message)

    def fail(self, error: BaseException) -> None:
        """Note that its own code raised, unless that says that the caller is gone, or is what came of it."""
        if has_left(error):
            self.left = True
        elif not self.left:
            super().fail(error)

    def close(self) -> None:
        """End it, and all its messages."""
        super().close()
        for message in tuple(self._messages or ()):
            message.close()


def has_left(error: BaseException) -> bool:
    """Return whether an exception of a server or framework says that the caller is gone.

    Args:
        error: the exception.
    """
    return any(kind.__name__ in _LEFT for kind in type(error).__mro__)


def current_connection() -> Connection | None:
    """Return the connection of the current task or thread; None without one."""
    enclosure = CURRENT.get()
    connection = enclosure.connection if isinstance(enclosure, Message) else enclosure
    return connection if isinstance(connection, Connection) and not connection.over else None


@guarded
def message_came() -> None:
    """Begin a message of the current connection; nothing without one."""
    connection = current_connection()
    if connection is not None:
        connection.message_came()
