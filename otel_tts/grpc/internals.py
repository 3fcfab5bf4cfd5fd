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
from functools import partial
from typing import Any

from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

_FOREVER_S = 1e8  # more than any deadline: grpc has one in the far future for callers that give none


class Internals:
    """Private state of one RPC. In this base class, all of it is unknown but the task of ``grpc.aio`` that handles it."""

    task: asyncio.Task[Any] | None = None

    context: Any = None
    """A servicer context of grpc, like that of a handler, also before one has started."""
    refused = False
    """Whether grpc itself rejects the RPC, because too many are running."""

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

    Args:
        state: of the RPC, in grpc.
        server: of grpc.
    """

    def __init__(self, state: Any, server: Any) -> None:
        self.context = cygrpc._ServicerContext(state, None, None, None)  # noqa: SLF001
        self._server = server

    def remaining_s(self) -> float | None:  # noqa: D102
        remaining_s: float | None = self.context.time_remaining()
        return remaining_s

    def stopping(self) -> bool:  # noqa: D102
        return not self._server.is_running()

    def send_limit(self) -> int | None:  # noqa: D102
        return _send_limit(next((r for r in gc.get_referents(self._server) if type(r) is cygrpc.Server), None))

    def limits_rpcs(self) -> bool:  # noqa: D102
        return any(type(r).__name__ == "_ConcurrentRpcLimiter" for r in gc.get_referents(self._server))


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
    internals = Internals()
    try:
        coroutine = task.get_coro()  # type: ignore[union-attr]  # without a task: AttributeError
        for state in gc.get_referents(*gc.get_referents(coroutine)):
            if type(state) is cygrpc.RPCState:
                (server,) = (r for r in gc.get_referents(state) if type(r) is cygrpc.AioServer)
                internals = AioInternals(state, server)
                break
    except (AttributeError, TypeError, ValueError):
        pass
    internals.task = task
    return internals


def on_failure(task: asyncio.Task[Any], failed: Callable[[], None]) -> None:
    """Call ``failed`` if the next send or receive of ``task`` fails in grpc, which does not report it to the handler.

    The callback is set in the next step of the event loop: only then does the task wait for the future of that operation.
    """
    task.get_loop().call_soon(_watch_wait, task, failed)


def _watch_wait(task: asyncio.Task[Any], failed: Callable[[], None]) -> None:
    waited_for = getattr(task, "_fut_waiter", None)
    if waited_for is not None:
        waited_for.add_done_callback(partial(_wait_ended, failed))


def _wait_ended(failed: Callable[[], None], future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and isinstance(future.exception(), cygrpc.ExecuteBatchError):
        failed()


def _send_limit(core: Any) -> int | None:
    """Return the option ``grpc.max_send_message_length`` of a server; None without it."""
    references = [element for reached in gc.get_referents(core) if isinstance(reached, list) for element in reached]
    for options in (element for element in references if isinstance(element, list | tuple)):
        for option in options:
            if isinstance(option, tuple) and option[0] == "grpc.max_send_message_length" and option[1] >= 0:
                return int(option[1])
    return None
