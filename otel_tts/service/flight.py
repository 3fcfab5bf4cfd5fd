"""Single flight: identical requests at the same time share one engine call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_tts import Synthesis


class Flight:
    """One engine call, which any number of requests follow from its beginning, each at its own pace.

    Nobody owns it: it goes on while anybody follows, also when the request that started it is gone. The engine is pulled only
    when a request has heard all there is, so that nothing is made for callers who have stopped listening, and the time that a
    request waits here is the engine's. A pull runs in the context of the request that asks for it.

    ``slot`` gives the seconds it was waited for and is held until ``source`` ends.

    Args:
        slot: is held while the engine works; it gives the seconds that were waited for it.
        source: gives the audio.
        leader: the request that started it; None: none has.
    """

    def __init__(
        self, slot: AbstractAsyncContextManager[float], source: AsyncGenerator[bytes, None], leader: Synthesis | None = None
    ) -> None:
        self.leader = leader
        """The request that started it."""
        self.passengers = 0
        self.landed = False
        self._slot = slot
        self._source = source
        self._held = AsyncExitStack()
        self._waited_s: float | None = None
        self._chunks: list[bytes] = []
        self._error: Exception | None = None
        self._step: asyncio.Task[None] | None = None

    async def admitted(self) -> float:
        """Wait for the slot; gives the seconds that the flight waited for it.

        Raises:
            QueueFullError: there is no place in the queue.
        """
        while self._waited_s is None:
            if self._error is not None:
                raise self._error
            await self._together(self._admit)
        return self._waited_s

    async def begun(self) -> bool:
        """Wait for the first audio; False when there is none.

        Raises:
            Exception: what the engine raised before it.
        """
        while not self._chunks and not self.landed:
            await self._together(self._pull)
        if self._error is not None and not self._chunks:
            raise self._error
        return bool(self._chunks)

    async def read(self) -> AsyncGenerator[bytes, None]:
        """The audio from the beginning, with what has been made already at once.

        Raises:
            Exception: what the engine raised, after the audio that it made before.
        """
        position = 0
        while True:
            if position < len(self._chunks):
                yield self._chunks[position]
                position += 1
            elif self._error is not None:
                raise self._error
            elif self.landed:
                return
            else:
                await self._together(self._pull)

    async def close(self) -> None:
        """Stop the engine and give the slot back. Finishes in the background when it is cancelled itself."""
        await asyncio.shield(asyncio.create_task(self._close()))

    async def _together(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the step under way, or start ``step``; one that stops waiting does not stop it for the others."""
        if self._step is None or self._step.done():  # awaiting a task that is done would not give way to anybody
            self._step = asyncio.create_task(step())
        await asyncio.shield(self._step)

    async def _admit(self) -> None:
        try:
            self._waited_s = await self._held.enter_async_context(self._slot)
        except Exception as error:  # noqa: BLE001 - raised to each passenger, in `admitted`
            self._error = error
            self.landed = True

    async def _pull(self) -> None:
        try:
            self._chunks.append(await anext(self._source))
        except StopAsyncIteration:
            await self._land()
        except Exception as error:  # noqa: BLE001 - the engine's, whatever it is; raised to each passenger, in `read`
            self._error = error
            await self._land()

    async def _land(self) -> None:
        self.landed = True
        await self._held.aclose()

    async def _close(self) -> None:
        if self._step is not None and not self._step.done():
            self._step.cancel()
            await asyncio.wait((self._step,))
        await self._source.aclose()
        await self._land()


class Flights:
    """The flights under way, by what is asked for."""

    def __init__(self) -> None:
        self._under_way: dict[str, Flight] = {}

    @asynccontextmanager
    async def join(self, key: str | None, start: Callable[[], Flight]) -> AsyncIterator[tuple[Flight, bool]]:
        """The flight for ``key``, and whether this request started it. The last one to leave ends it.

        ``key`` None: a flight of one's own.

        Args:
            key: of the audio; None: a flight of its own.
            start: starts a flight, if none is under way.
        """
        flight = self._under_way.get(key) if key is not None else None
        leads = flight is None or flight.landed
        if flight is None or flight.landed:
            flight = start()
            if key is not None:
                self._under_way[key] = flight
        flight.passengers += 1
        try:
            yield flight, leads
        finally:
            flight.passengers -= 1
            if not flight.passengers:
                if key is not None and self._under_way.get(key) is flight:
                    del self._under_way[key]
                await flight.close()
