"""Target: one function of an engine or SDK, and the wrapper that observes it, for every kind of function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from otel_tts.core.guard import guard
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.managed import managed
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.result import Extractor
from otel_tts.instrumentation.utterance import Asked, Utterance, begin

Begin = Callable[[], Utterance | None]
Call = Callable[[Utterance | None], Any]


@dataclass(frozen=True, slots=True)
class ObservedArgument:
    """An argument that is an iterator, synchronous or not, of the text to speak."""

    name: str
    observe: Callable[[Utterance, Any], None]
    inline: bool = False
    """Whether the function takes the pieces while its audio is pulled: that time is a wait for text, not for the engine."""

    def through(self, utterance: Utterance, pieces: Any) -> Any:
        """Return an iterator of the same pieces that observes each one when it is taken.

        Args:
            utterance: the utterance.
            pieces: the text as it comes.
        """

        def observed(piece: Any) -> Any:
            try:
                self.observe(utterance, piece)
            except Exception as error:  # noqa: BLE001 - the boundary: the host's pieces may be anything
                guard.caught(f"reading {self.name}", error)
            return piece

        if hasattr(pieces, "__aiter__"):
            return (observed(piece) async for piece in pieces)
        return map(observed, self._timed(utterance, pieces) if self.inline else pieces)

    @staticmethod
    def _timed(utterance: Utterance, pieces: Iterable[Any]) -> Iterator[Any]:
        iterator = iter(pieces)
        while True:
            began_ns = utterance.monotonic()
            try:
                piece = next(iterator)
            except StopIteration:
                return
            finally:
                utterance.waited_for_text(utterance.monotonic() - began_ns)
            yield piece


@dataclass(frozen=True, slots=True)
class Target:
    """A function to observe."""

    module: str
    """The module in which it is defined. It is only imported by the host."""
    name: str
    """``function`` or ``Class.method``. It may return a value, a generator, a coroutine or an asynchronous generator."""
    ask: Callable[[Any, Mapping[str, Any]], Asked | None]
    """A function that returns what a call requests, by its object (None for a function) and arguments by name; None: no speech."""
    extract: Extractor
    """The extractor of the audio in the result."""
    text_argument: ObservedArgument | None = None
    """The argument with the text in pieces, if there is one."""
    managed: bool = False
    """Whether it returns a context manager, whose block is entered with the result."""
    optional: bool = False
    """Whether some of the supported versions lack it."""

    def patch(self, telemetry: Telemetry) -> Patch:
        """Create the patch that observes it.

        Args:
            telemetry: the Telemetry that records.
        """
        return Patch(self.module, self.name, functools.partial(self._wrapper, telemetry), optional=self.optional)

    def _wrapper(self, telemetry: Telemetry, function: Any) -> Wrapper:
        function = inspect.unwrap(function)
        signature = inspect.signature(function)
        observe: Callable[[Call, Begin, Extractor], Any] = _value
        if self.managed:
            observe = _managed
        elif inspect.isgeneratorfunction(function):
            observe = _generator
        elif inspect.isasyncgenfunction(function):
            observe = _async_generator
        elif inspect.iscoroutinefunction(function):
            observe = _coroutine

        def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            itself = () if instance is None else (instance,)
            try:
                bound = signature.bind(*itself, *args, **kwargs)
            except TypeError:
                return wrapped(*args, **kwargs)  # the function itself raises the error

            def call(utterance: Utterance | None) -> Any:
                argument = self.text_argument
                if utterance is None or argument is None or bound.arguments.get(argument.name) is None:
                    return wrapped(*args, **kwargs)
                bound.arguments[argument.name] = argument.through(utterance, bound.arguments[argument.name])
                return wrapped(*bound.args[len(itself) :], **bound.kwargs)

            return observe(call, lambda: self._begin(telemetry, instance, bound.arguments), self.extract)

        return wrapper

    def _begin(self, telemetry: Telemetry, instance: Any, arguments: Mapping[str, Any]) -> Utterance | None:
        try:
            asked = self.ask(instance, arguments)
        except Exception as error:  # noqa: BLE001 - the boundary: the host's arguments may be anything, and its own to check
            guard.caught(f"reading the arguments of {self.module}.{self.name}", error)
            return None
        return None if asked is None else begin(telemetry, asked)


def _value(call: Call, begin: Begin, extract: Extractor) -> Any:
    utterance = begin()
    if utterance is None:
        return call(None)
    with utterance:
        result = call(utterance)
    if inspect.isawaitable(result):
        return _awaited(result, utterance, extract)
    return _extracted(result, utterance, extract)


def _managed(call: Call, begin: Begin, extract: Extractor) -> Any:
    return managed(call(None), begin, extract)  # the call itself does nothing: all happens where the block is entered


async def _coroutine(call: Call, begin: Begin, extract: Extractor) -> Any:
    utterance = begin()
    if utterance is None:
        return await call(None)
    return await _awaited(call(utterance), utterance, extract)


async def _awaited(result: Any, utterance: Utterance, extract: Extractor) -> Any:
    with utterance:
        result = await result
    return _extracted(result, utterance, extract)


def _generator(call: Call, begin: Begin, extract: Extractor) -> Generator[Any, Any, Any]:
    utterance = begin()  # with the first pull: a generator that is never pulled requests nothing
    if utterance is None:
        return (yield from call(None))
    try:
        return (yield from _extracted(call(utterance), utterance, extract))
    finally:
        # If it has not ended by now, the generator was closed, perhaps by the garbage collector: `finished` then defers the end.
        utterance.finished(None, None)


async def _async_generator(call: Call, begin: Begin, extract: Extractor) -> AsyncIterator[Any]:
    utterance = begin()
    chunks = call(None) if utterance is None else aiter(_extracted(call(utterance), utterance, extract))
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
    finally:
        if utterance is not None:
            utterance.finished(None, None)


def _extracted(result: Any, utterance: Utterance, extract: Extractor) -> Any:
    try:
        return extract(result, utterance)
    except Exception as error:  # noqa: BLE001 - the boundary: the result goes to the host, measured or not
        guard.caught("measuring a result", error)
        return result
