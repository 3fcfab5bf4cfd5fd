"""Target: one function of an engine or SDK, and the one wrapper that observes it, whatever kind of function it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from otel_tts.core.guard import guard
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.result import Extractor
from otel_tts.instrumentation.utterance import Asked, Utterance, begin

Begin = Callable[[], Utterance | None]
Call = Callable[[Utterance | None], Any]


@dataclass(frozen=True, slots=True)
class ObservedArgument:
    """An argument that is an iterator, synchronous or not, of what shall be spoken."""

    name: str
    observe: Callable[[Utterance, Any], None]
    inline: bool = False
    """Whether the function takes the pieces while it is asked for audio: then it waits for text, and not for the engine."""

    def through(self, utterance: Utterance, pieces: Any) -> Any:
        """The same pieces, each observed when it is taken."""

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
    """Where it is defined. Nothing is imported before the host does."""
    name: str
    """``function`` or ``Class.method``, whatever it returns: a value, a generator, a coroutine, an asynchronous generator."""
    ask: Callable[[Any, Mapping[str, Any]], Asked | None]
    """What a call asks for, told from the object (None of a function) and the arguments by their names; None: no speech."""
    extract: Extractor
    """How audio is in the result."""
    text_argument: ObservedArgument | None = None
    """The argument that brings the text in pieces, if there is one."""

    def patch(self, telemetry: Telemetry) -> Patch:
        """Observe it."""
        return Patch(self.module, self.name, functools.partial(self._wrapper, telemetry))

    def _wrapper(self, telemetry: Telemetry, function: Any) -> Wrapper:
        function = inspect.unwrap(function)
        signature = inspect.signature(function)
        observe: Callable[[Call, Begin, Extractor], Any] = _value
        if inspect.isgeneratorfunction(function):
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
                return wrapped(*args, **kwargs)  # the function itself says what is wrong

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
    utterance = begin()  # with the first pull: a generator that is never pulled asks for nothing
    if utterance is None:
        return (yield from call(None))
    try:
        return (yield from _extracted(call(utterance), utterance, extract))
    finally:
        utterance.finished(None, None)  # something was thrown into it, if it is not over by now


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
