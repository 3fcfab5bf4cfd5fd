"""Engines in this process: blocking iterators run in worker threads and arrive on the event loop as async iterators."""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from otel_tts.service.providers.base import Provider, chunks
from otel_tts.service.speech import EngineRequest, Voice
from otel_tts.service.text import pieces

T = TypeVar("T")
Source = Callable[[], Generator[bytes, None, None]]

BUFFERED = 4
"""Chunks an engine may be ahead of its reader: it works on while the reader sends, and stops soon when the reader stops."""


class LocalProvider(Provider):
    """A blocking engine in ``concurrency`` threads of this process, given one piece of text at a time."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._workers = Workers(self.name, concurrency)

    @abstractmethod
    def load(self) -> None:
        """Load the models and speak once, so that the first request is as fast as the others. Called in a worker thread."""

    @abstractmethod
    def speak(self, text: str, speech: EngineRequest, voice: Voice) -> Iterator[bytes]:
        """PCM16 of ``text``, which is a piece of ``speech.text`` or all of it. Called in a worker thread, several at once.

        Args:
            text: the text.
            speech: what is to be spoken.
            voice: the voice.
        """

    async def start(self) -> None:
        """Load the models without holding up the event loop."""
        await self._workers.run(self.load)

    async def close(self) -> None:
        """Stop all streams at their next chunk, and the threads with them."""
        self._workers.close()

    def stream(self, speech: EngineRequest) -> AsyncGenerator[bytes, None]:
        """The text's pieces one after the other; SSML in one, since its elements may hold several sentences."""
        return self._workers.stream(partial(self._audio, speech))

    def _audio(self, speech: EngineRequest) -> Generator[bytes, None, None]:
        self.accept(speech)
        voice = self._voice(speech)
        for text in (speech.text,) if speech.ssml else pieces(speech.text):
            yield from self.speak(text, speech, voice)


class Workers:
    """The threads of one engine.

    Args:
        name: of the processes.
        count: how many processes.
    """

    def __init__(self, name: str, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=f"tts-{name}")
        self._feeds: set[_Feed] = set()

    async def run(self, function: Callable[[], T]) -> T:
        """Call ``function`` in a worker thread, in a copy of the current context."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, function)

    async def stream(self, source: Source) -> AsyncGenerator[bytes, None]:
        """Iterate ``source()`` in a worker thread, which starts at the first pull, in a copy of the context current then.

        Empty chunks are left out, long ones cut. ``aclose()`` does not wait for the engine: the thread stops when it has its
        next chunk. What ``source`` raises arrives here as the same object.

        Raises:
            ConnectionAbortedError: :meth:`close` was called meanwhile.
        """
        feed = _Feed(asyncio.get_running_loop())
        self._feeds.add(feed)
        done = self._threads.submit(copy_context().run, feed.run, source)
        done.add_done_callback(feed.end)
        try:
            while (chunk := await feed.chunks.get()) is not None:
                feed.free.release()
                yield chunk
            if feed.stopped:
                raise ConnectionAbortedError("The engine was shut down while it spoke.")
            done.result()
        finally:
            self._feeds.discard(feed)
            feed.stop()
            done.cancel()  # when it has not begun

    def close(self) -> None:
        """Stop all streams at their next chunk; does not wait for them."""
        for feed in tuple(self._feeds):
            feed.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Feed:
    """What the thread of one stream hands to its event loop, at most :data:`BUFFERED` chunks ahead of the reader."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: the thread has ended
        self.free = threading.Semaphore(BUFFERED)
        self.stopped = False
        self._loop = loop

    def stop(self) -> None:
        self.stopped = True
        self.free.release()  # the thread may be waiting for its reader

    def run(self, source: Source) -> None:
        with closing(source()) as audio:
            for chunk in audio:
                for part in chunks(chunk):
                    self.free.acquire()
                    if self.stopped:
                        return
                    self._put(part)
                if self.stopped:
                    return

    def end(self, _: Future[None]) -> None:
        self._put(None)

    def _put(self, chunk: bytes | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self.chunks.put_nowait, chunk)
        except RuntimeError:  # the loop is closed: nobody is left to read
            self.stopped = True
