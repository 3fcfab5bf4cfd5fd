"""Instrumentor of Amazon Polly, through aiobotocore (and aioboto3, which is made of it)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from otel_tts.core.outcome import OK
from otel_tts.core.streams import MeasuredAsyncIterator
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.polly import asked, declared
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Utterance

Read = Callable[[], Awaitable[bytes]]


class _BodyReads(AsyncIterator[bytes]):
    """What a body gives, until an empty read. Each read is set before it is pulled, and not kept: it would keep the body alive."""

    read: Read | None = None

    async def __anext__(self) -> bytes:
        read, self.read = self.read, None
        data = await read() if read is not None else b""
        if not data:
            raise StopAsyncIteration
        return data


class _BodyReading:
    """The measured reading of one body.

    Args:
        utterance: whose audio it is.
    """

    def __init__(self, utterance: Utterance) -> None:
        self._utterance = utterance
        self._reads = _BodyReads()
        self._measured = MeasuredAsyncIterator(self._reads, utterance)

    async def pull(self, read: Read, *, whole: bool) -> bytes:
        """Read once, to the end of the body if this reads ``whole``."""
        self._reads.read = read
        data: bytes = await anext(self._measured, b"")
        if whole:
            self._utterance.finished(OK, None)
        return data

    def left(self) -> None:
        """Note that the body was closed: if that was before its end, the caller has gone away."""
        self._utterance.finished(None, None, self._utterance.monotonic())


@functools.cache
def _measured(kind: Any) -> Any:
    """Return a class of bodies like this one, whose reading is measured. All other ways of reading use these methods."""

    class MeasuredBody(kind):  # type: ignore[misc]  # of whichever HTTP client
        _otel_tts: _BodyReading

        async def read(self, amt: int | None = None) -> bytes:
            read = functools.partial(super().read, amt)
            return await (read() if amt == 0 else self._otel_tts.pull(read, whole=amt is None or amt < 0))

        async def readinto(self, b: Any) -> int:
            data = await self.read(len(b))
            b[: len(data)] = data
            return len(data)

        if inspect.iscoroutinefunction(kind.close):

            async def close(self) -> None:
                try:
                    await super().close()
                finally:
                    self._otel_tts.left()

            aclose = close

        else:

            def close(self) -> None:  # type: ignore[misc]  # the other kind; `aclose` calls it
                try:
                    super().close()
                finally:
                    self._otel_tts.left()

    MeasuredBody.__name__, MeasuredBody.__qualname__, MeasuredBody.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    return MeasuredBody


def _body(result: Any, utterance: Utterance) -> Any:
    """Measure the body of an answer while the host reads it. The object stays the same, since hosts keep it for as long as they read."""
    declared(result, utterance)
    body = result["AudioStream"]
    kind: Any = type(body)
    body._otel_tts = _BodyReading(utterance)  # noqa: SLF001 - an attribute of our own
    body.__class__ = _measured(kind)
    return result


class AiobotocoreInstrumentor(Instrumentor):
    """Instrumentor of ``synthesize_speech`` of Polly's asynchronous client, to the end of its ``AudioStream``."""

    requires = "aiobotocore >= 3.8, < 4"
    targets = (Target("aiobotocore.client", "AioBaseClient._make_api_call", asked, _body),)
