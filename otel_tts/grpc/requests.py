"""The request messages of a streaming RPC, noted as the handler receives them. They may contain the text of a request to speak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import grpc
import grpc.aio

from otel_tts.core.guard import guarded, guarded_or
from otel_tts.grpc.rpc import Rpc

T = TypeVar("T")


class Requests(Iterator[T]):
    """The request messages of a synchronous handler. All other attributes are those of grpc's own iterator.

    Args:
        requests: grpc's iterator of messages.
        rpc: the RPC.
    """

    def __init__(self, requests: Any, rpc: Rpc) -> None:
        self._requests = requests
        self._rpc = rpc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._requests, name)

    def __next__(self) -> T:
        since_ns = _now(self._rpc)
        try:
            request: T = next(self._requests)
        except StopIteration:
            _ended(self._rpc, since_ns)
            raise
        _came(self._rpc, since_ns)
        return request

    next = __next__


class AsyncRequests(AsyncIterator[T]):
    """The request messages of an asynchronous handler.

    Args:
        requests: grpc's iterator of messages.
        rpc: the RPC.
    """

    def __init__(self, requests: Any, rpc: Rpc) -> None:
        self._requests = requests
        self._rpc = rpc

    async def __anext__(self) -> T:
        _watch(self._rpc)
        since_ns = _now(self._rpc)
        try:
            request: T = await anext(self._requests)
        except StopAsyncIteration:
            _ended(self._rpc, since_ns)
            raise
        _came(self._rpc, since_ns)
        return request


async def read(context: Any, rpc: Rpc) -> Any:
    """Receive the next message, or grpc's end-of-stream marker, from a servicer context.

    Args:
        context: grpc's servicer context.
        rpc: the RPC.
    """
    _watch(rpc)
    since_ns = _now(rpc)
    request = await context.read()
    (_ended if request is grpc.aio.EOF else _came)(rpc, since_ns)
    return request


@guarded_or(lambda _: None)
def _now(rpc: Rpc) -> int | None:
    return rpc.now_ns()


@guarded
def _watch(rpc: Rpc) -> None:
    """Note whether the next message cannot be received."""
    rpc.internals.watch_receiving()


@guarded
def _came(rpc: Rpc, since_ns: int | None) -> None:
    if since_ns is not None:
        rpc.message_came(since_ns)


@guarded
def _ended(rpc: Rpc, since_ns: int | None) -> None:
    if since_ns is not None:
        rpc.messages_ended(since_ns)
