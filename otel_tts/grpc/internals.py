"""Private state of grpc: facts about an RPC before its handler starts, and about the delivery of its status.

grpc has no public API for these: the caller's deadline before there is a context, whether the server is stopping or has too many RPCs,
and whether the status of a handler was sent. They are read here, never written, once for each RPC. If a release of grpc stores them
elsewhere, they are unknown, and an RPC that is cut off counts as cancelled.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from otel_tts.grpc.status import code_of

_FOREVER_S = 1e8  # more than any deadline: grpc has one in the far future for callers that give none


class Internals:
    """Private state of one RPC. In this base class, all of it is unknown."""

    context: Any = None
    """A servicer context of grpc, like that of a handler, also before one has started."""
    refused = False
    """Whether grpc itself rejects the RPC, because too many are running."""
    numbers = False
    """Whether a handler may set a code by its number."""
    illegal = False
    """Whether the handler has sent initial metadata that is not legal: then grpc cuts the RPC off."""

    unsent = False
    """Whether grpc could not send the status with which the handler aborted under ``grpc.aio``, since the RPC had ended before."""
    none_set = False
    """Whether the handler has set None as its code under ``grpc.aio``."""

    def code(self) -> str | None:
        """Return the name of the status code that was set, by a handler or by an interceptor; None: none, or unknown."""
        if self.none_set:
            return "UNKNOWN"
        return None if self.context is None else code_of(self.context, None, numbers=self.numbers)

    def when_over(self, callback: Callable[..., None]) -> None:
        """Call a function once grpc is done with the RPC, if that becomes known.

        Args:
            callback: the function; grpc and asyncio pass different arguments.
        """

    def remaining_s(self) -> float | None:
        """Return the seconds to the caller's deadline; None without one, or if unknown."""
        return None

    def stopping(self) -> bool:
        """Return whether the server accepts no more RPCs."""
        return False

    def send_limit(self) -> int | None:
        """Return the most bytes of a response; None without a limit."""
        return None

    def limits_rpcs(self) -> bool:
        """Return whether the server has a limit of concurrent RPCs."""
        return False

    def sent(self) -> bool | None:
        """Return whether the status of an RPC that is over was sent; None: unknown."""
        return None

    def watch_receiving(self) -> None:
        """Note the operation that the RPC begins next, to receive a message."""

    def watch_sending(self) -> None:
        """Note the operation that the RPC begins next, to send a response or its status."""

    def request_failed(self) -> bool:
        """Return whether a request could not be received, so that grpc sends a status by itself."""
        return False

    def response_failed(self) -> bool:
        """Return whether a status or response was passed to grpc, and could not be sent."""
        return False


class SyncInternals(Internals):
    """Private state of an RPC of ``grpc``: its event has the deadline, its state the end, the server's state the rest.

    Args:
        event: of grpc, with the deadline.
        state: of the RPC, in grpc.
        server: of grpc.
        refused: whether the RPC is refused because the server is full.
    """

    def __init__(self, event: Any, state: Any, server: Any, refused: bool) -> None:
        self.context = _server._Context(event, state, None)  # noqa: SLF001
        self.refused = refused
        self._state = state
        self._server = weakref.ref(server)

    def when_over(self, callback: Callable[..., None]) -> None:  # noqa: D102
        self.context.add_callback(callback)

    def remaining_s(self) -> float | None:  # noqa: D102
        remaining_s: float = self.context.time_remaining()
        return None if remaining_s > _FOREVER_S else remaining_s

    def stopping(self) -> bool:  # noqa: D102
        server = self._server()
        return server is None or server.stage.name != "STARTED"

    def send_limit(self) -> int | None:  # noqa: D102
        server = self._server()
        return None if server is None else _send_limit(server.server)

    def sent(self) -> bool:  # noqa: D102
        return bool(self._state.client != "cancelled")


class AioInternals(Internals):
    """Private state of an RPC of ``grpc.aio``: a context can be created from its state, which also has the server.

    That a send or receive failed is not reported to the handler, but known from the future for which the task of the RPC waits. It waits
    from the next step of the event loop on.

    Args:
        task: that handles the RPC.
    """

    numbers = True

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        """The task that handles the RPC."""
        self._receiving: Any = None  # the futures of the last receive and send that were watched
        self._sending: Any = None
        self._state: Any = None
        try:
            for referent in gc.get_referents(*gc.get_referents(task.get_coro())):
                if type(referent) is cygrpc.RPCState:
                    self.context = cygrpc._ServicerContext(referent, None, None, None)  # noqa: SLF001
                    self._state = referent
                    break
        except (AttributeError, TypeError):
            pass

    def when_over(self, callback: Callable[..., None]) -> None:  # noqa: D102
        self.task.add_done_callback(callback)

    def remaining_s(self) -> float | None:  # noqa: D102
        remaining_s: float | None = None if self.context is None else self.context.time_remaining()
        return remaining_s

    def stopping(self) -> bool:  # noqa: D102
        server = self._server()
        return server is not None and not server.is_running()

    def send_limit(self) -> int | None:  # noqa: D102
        return _send_limit(next((r for r in gc.get_referents(self._server()) if type(r) is cygrpc.Server), None))

    def limits_rpcs(self) -> bool:  # noqa: D102
        return any(type(r).__name__ == "_ConcurrentRpcLimiter" for r in gc.get_referents(self._server()))

    def _server(self) -> Any:
        return next((r for r in gc.get_referents(self._state) if type(r) is cygrpc.AioServer), None)

    def watch_receiving(self) -> None:  # noqa: D102
        self.task.get_loop().call_soon(self._note_receiving)

    def watch_sending(self) -> None:  # noqa: D102
        self.task.get_loop().call_soon(self._note_sending)

    def _note_receiving(self) -> None:
        self._receiving = getattr(self.task, "_fut_waiter", None)

    def _note_sending(self) -> None:
        self._sending = getattr(self.task, "_fut_waiter", None)

    def request_failed(self) -> bool:  # noqa: D102
        return _has_failed(self._receiving)

    def response_failed(self) -> bool:  # noqa: D102
        return self.unsent or _has_failed(self._sending)


def of_sync_rpc() -> Internals:
    """Return the private state of the RPC whose method is being looked up in this thread."""
    try:
        frame = sys._getframe()  # noqa: SLF001 - the only way to the caller of an interceptor
        while frame.f_code.co_name != "_find_method_handler":
            frame = frame.f_back  # type: ignore[assignment]  # without such a frame: AttributeError
        event, state = frame.f_locals["rpc_event"], frame.f_locals["state"]
        frame = frame.f_back  # type: ignore[assignment]
        refused = bool(frame.f_locals["concurrency_exceeded"])
        return SyncInternals(event, state, frame.f_back.f_locals["state"], refused)  # type: ignore[union-attr]
    except (AttributeError, KeyError, TypeError):
        return Internals()


def of_aio_rpc() -> Internals:
    """Return the private state of the RPC of the current task."""
    task = asyncio.current_task()
    return Internals() if task is None else AioInternals(task)


def _has_failed(operation: asyncio.Future[Any] | None) -> bool:
    """Return whether an operation of grpc is over and failed."""
    return (
        operation is not None
        and operation.done()
        and not operation.cancelled()
        and isinstance(operation.exception(), cygrpc.ExecuteBatchError)
    )


def _send_limit(core: Any) -> int | None:
    """Return the option ``grpc.max_send_message_length`` of a server; None without it."""
    references = [element for reached in gc.get_referents(core) if isinstance(reached, list) for element in reached]
    for options in (element for element in references if isinstance(element, list | tuple)):
        for option in options:
            if isinstance(option, tuple) and option[0] == "grpc.max_send_message_length" and option[1] >= 0:
                return int(option[1])
    return None
