"""Exchange: one RPC of a known method, whose messages contain the facts of a request to speak that its handler does not report.

The handler's own telemetry, and that of the engine that it calls, has priority: what they measure is not measured here again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio
from opentelemetry.context import attach, get_current

from otel_tts.core.audio import AudioFacts, AudioMeter, NoAudio
from otel_tts.core.call import CALL, Call
from otel_tts.core.enclosing import begin_request
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import EMPTY, Cause
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.semconv import Outcome

if TYPE_CHECKING:
    from otel_tts.core.request import SynthesisRequest
    from otel_tts.instrumentation.messages import Method, Values

_GOOD = (None, 0, grpc.StatusCode.OK)
_FAILED = Cause.from_outcome(Outcome.ERROR)


class Exchange:
    """The messages of one RPC, in both directions.

    A request message of the known type starts a Synthesis, or joins the open one. As a block around the handler, the Exchange keeps that
    open: what the handler or an engine's instrumentation starts inside is part of it. The end of the RPC decides its outcome.

    Args:
        method: the RPC's method, and where its messages have what.
        telemetry: the Telemetry that records.
        request_streaming: whether the caller sends several messages.
        response_streaming: whether the handler sends several messages.
    """

    def __init__(self, method: Method, telemetry: Telemetry, *, request_streaming: bool, response_streaming: bool) -> None:
        """``request_streaming``, ``response_streaming``: whether requests and responses are streams."""
        self._method = method
        self._telemetry = telemetry
        self._request_streaming = request_streaming
        self._response_streaming = response_streaming
        self._clock = telemetry.emitter.clock
        self._context = get_current()
        self._speech: SynthesisRequest | None = None
        self._encoding: str | None = None
        self._sample_rate: int | None = None
        self._maker: tuple[str | None, str | None] = (None, None)
        self._failed = False
        self._stated_s = 0.0  # of audio, as the responses say
        self._other_type = False  # whether a response is of a type without audio
        self._measured_inside = False
        self._meter: AudioMeter | None = None
        self._chunks = 0
        self._waited_ns = 0  # for the handler, since the last audio
        self._since_ns = self._clock.monotonic()

    def __enter__(self) -> Self:
        return self

    @guarded
    def __exit__(self, *error: object) -> None:
        if self._speech is not None:
            self._speech.exit_block(None)  # the RPC reports the error

    def monotonic(self) -> int:
        """Return the clock's reading, in nanoseconds."""
        return self._clock.monotonic()

    # -- requests ------------------------------------------------------------------------------------------------------------

    def requests(self, request: Any) -> Any:
        """Return the request for the handler, or an iterator of requests that reads each one as the handler takes it.

        Args:
            request: the message, or the iterator of messages.
        """
        if self._request_streaming:
            return self._each(request)
        self.read_request(request)
        return request

    def requests_async(self, request: Any) -> Any:
        """Return the request or requests for an asynchronous handler.

        Args:
            request: the message, or the iterator of messages.
        """
        return self._each_async(request) if self._request_streaming else self.requests(request)

    def _each(self, requests: Iterable[Any]) -> Iterator[Any]:
        since_ns = self._clock.monotonic()
        for request in requests:
            self.read_awaited(request, since_ns)
            yield request
            since_ns = self._clock.monotonic()

    async def _each_async(self, requests: AsyncIterable[Any]) -> AsyncIterator[Any]:
        since_ns = self._clock.monotonic()
        async for request in requests:
            self.read_awaited(request, since_ns)
            yield request
            since_ns = self._clock.monotonic()

    @guarded
    def read_awaited(self, request: Any, since_ns: int) -> None:
        """Read one request of a stream, which was waited for since ``since_ns``.

        Args:
            request: the message, or the iterator of messages.
            since_ns: since when it was waited for, in nanoseconds.
        """
        first = self._speech is None or not self._speech.record.characters
        if self._speech is not None:
            self._speech.text_input.waited(since_ns, first=first)
        self.read_request(request)
        if first and self._speech is not None:
            self._speech.text_input.waited(since_ns, first=True)

    @guarded
    def read_request(self, request: Any) -> None:
        """Read a request.

        Args:
            request: the message, or the iterator of messages.
        """
        values = self._method.request.read(request)
        if values is None:
            return
        text = "".join(values.get("text", ()))
        self._read_format(values)
        if self._speech is not None:
            self._speech.text_input.add_message(text)
        elif isinstance(call := self._context.get(CALL), Call) and not call.over:
            self._begin(values, text)

    def _begin(self, values: Values, text: str) -> None:
        whole = None if self._request_streaming else text
        with Current(self._context):
            speech = begin_request(
                self._telemetry.emitter,
                whole,
                _first(values, "voice"),
                _first(values, "language"),
                stream=self._response_streaming,
            )
        speech.enter_block()
        self._speech = speech
        speech.text_input.add_message("" if whole else text)
        if get_current() is self._context:  # a context that the handler has made current is not replaced
            attach(speech.context)  # this context ends with the RPC, so there is nothing to restore

    # -- responses -----------------------------------------------------------------------------------------------------------

    @guarded
    def read_response(self, response: Any) -> None:
        """Read a response of the handler.

        Args:
            response: the message.
        """
        now_ns = self._clock.monotonic()
        speech = self._speech
        text_ns = speech.text_input.take_waits_ns(self._since_ns) if speech is not None else 0
        self._waited_ns += max(0, now_ns - self._since_ns - text_ns)
        if speech is None:
            return
        values = self._method.response.read(response)
        if values is None:
            self._other_type = True
            return
        self._read_format(values)
        self._maker = (_first(values, "provider") or self._maker[0], _first(values, "model") or self._maker[1])
        self._failed = self._failed or False in values.get("success", ())
        self._stated_s += sum(values.get("seconds", ())) + sum(values.get("milliseconds", ())) / 1000
        if audio := b"".join(values.get("audio", ())):
            self._deliver(speech, audio, now_ns)
        elif not self._other_type:
            self._other_type = not self._method.response.has_essential(response)

    @guarded
    def sent(self) -> None:
        """Note that the response was sent, and that the handler works again."""
        self._since_ns = self._clock.monotonic()

    @guarded
    def returned(self, context: Any) -> None:
        """Note that the handler has ended without an exception.

        Args:
            context: grpc's servicer context.
        """
        speech = self._speech
        if speech is None or context.code() not in _GOOD:
            return
        record = speech.record
        no_audio = self._meter is None or self._meter.empty
        if self._failed or (self._meter is not None and isinstance(self._meter.format, NoAudio)):
            # The caller has the audio of a message that says failure, too.
            speech.answer_failed(_FAILED.as_partial() if record.playback.chunks else _FAILED)
        elif no_audio and not self._other_type and record.duration_s is None and not record.playback.chunks:
            speech.answer_failed(EMPTY)
        else:
            facts = AudioFacts() if self._meter is None or self._measured_inside else self._meter.facts()
            record.sample_rate = record.sample_rate or facts.sample_rate
            if record.duration_s is None:
                speech.sources.set_audio(facts.duration_s or self._stated_s or None, None)

    def _deliver(self, speech: SynthesisRequest, audio: bytes, now_ns: int) -> None:
        record = speech.record
        if record.provider is None and not record.attempts:
            record.provider, record.model = self._maker
        measured = record.playback.chunks != self._chunks if self._response_streaming else record.duration_s is not None
        self._measured_inside = self._measured_inside or measured
        whole_failed = self._failed and not self._response_streaming
        if self._measured_inside and not whole_failed:
            return
        if self._meter is None:
            self._meter = AudioMeter(self._method.audio_format(self._encoding, self._sample_rate))
        pieces = self._meter.pieces
        total_s = self._meter.feed(audio)
        if record.format is None:
            speech.sources.set_audio(None, self._meter.format)
        if (self._response_streaming or whole_failed) and self._meter.pieces > pieces:
            record.played().chunk(self._meter, total_s, now_ns, self._waited_ns)
            self._waited_ns = 0
            self._chunks += 1

    def _read_format(self, values: Values) -> None:
        """Read what a message states about the audio; a later message replaces it."""
        self._encoding = _first(values, "encoding") or self._encoding
        self._sample_rate = _first(values, "sample_rate") or self._sample_rate


def _first(values: Values, key: str) -> Any:
    return next(iter(values.get(key, ())), None)


class _ObservedContext:
    """Wrapper of the context of an asynchronous handler, which may read requests from it and write responses to it."""

    def __init__(self, context: Any, exchange: Exchange) -> None:
        self._context = context
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        since_ns = self._exchange.monotonic()
        request = await self._context.read()
        if request is not grpc.aio.EOF:
            self._exchange.read_awaited(request, since_ns)
        return request

    async def write(self, response: Any) -> None:
        self._exchange.read_response(response)
        await self._context.write(response)
        self._exchange.sent()


def observe(behavior: Any, method: Method, telemetry: Telemetry, *, request_streaming: bool, response_streaming: bool) -> Any:
    """Wrap the function of a handler with an Exchange around each call; the result is a function of the same kind.

    Args:
        behavior: the handler's function.
        method: the RPC's method, and where its messages have what.
        telemetry: the Telemetry that records.
        request_streaming: whether the caller sends several messages.
        response_streaming: whether the handler sends several messages.
    """
    begin = functools.partial(
        Exchange, method, telemetry, request_streaming=request_streaming, response_streaming=response_streaming
    )
    if getattr(behavior, "experimental_non_blocking", False):
        return behavior  # it responds through a callback, after its return
    if inspect.isasyncgenfunction(behavior):
        return _generator(behavior, begin)
    if inspect.iscoroutinefunction(behavior):
        return _coroutine(behavior, begin, response_streaming=response_streaming)
    return _synchronous(behavior, begin, response_streaming=response_streaming)


def _generator(behavior: Any, begin: Any) -> Any:
    @functools.wraps(behavior)
    async def observed(request: Any, context: Any) -> AsyncIterator[Any]:
        with begin() as exchange:
            requests = exchange.requests_async(request)
            async with aclosing(behavior(requests, _ObservedContext(context, exchange))) as responses:
                async for response in responses:
                    exchange.read_response(response)
                    yield response
                    exchange.sent()
            exchange.returned(context)

    return observed


def _coroutine(behavior: Any, begin: Any, *, response_streaming: bool) -> Any:
    @functools.wraps(behavior)
    async def observed(request: Any, context: Any) -> Any:
        with begin() as exchange:
            response = await behavior(exchange.requests_async(request), _ObservedContext(context, exchange))
            if not response_streaming:
                exchange.read_response(response)
            exchange.returned(context)
            return response

    return observed


def _synchronous(behavior: Any, begin: Any, *, response_streaming: bool) -> Any:
    @functools.wraps(behavior)
    def observed(request: Any, context: Any) -> Any:
        with begin() as exchange:
            response = behavior(exchange.requests(request), context)
            exchange.read_response(response)
            exchange.returned(context)
            return response

    @functools.wraps(behavior)
    def observed_stream(request: Any, context: Any) -> Any:
        with ExitStack() as stack:
            exchange = stack.enter_context(begin())
            responses = _responses(behavior(exchange.requests(request), context), exchange, context)
            stack.pop_all()  # the generator of responses leaves the block
            return responses

    return observed_stream if response_streaming else observed


def _responses(responses: Any, exchange: Exchange, context: Any) -> Iterator[Any]:
    with exchange:
        while True:
            try:
                response = next(responses)  # as grpc does: what a handler returns needs only `__next__`
            except StopIteration:
                break
            exchange.read_response(response)
            yield response
            exchange.sent()
        exchange.returned(context)
