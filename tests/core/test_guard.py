"""Telemetry that fails costs telemetry: whatever of it raises, the host's audio, exceptions and context stay as they are."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.context import attach, detach, get_current, set_value
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Span, SpanContext

import otel_tts.core.attempt
import otel_tts.core.attempt_span
import otel_tts.core.cache
import otel_tts.core.emitter
import otel_tts.core.enclosing
import otel_tts.core.invocation
import otel_tts.core.playback
import otel_tts.core.providers
import otel_tts.core.record
import otel_tts.core.request
import otel_tts.core.result
import otel_tts.core.sources
import otel_tts.core.streams
import otel_tts.core.telemetry
import otel_tts.core.texts
from otel_tts import PCM16, Telemetry, Wav
from otel_tts.core import enclosing, invocation, outcome
from otel_tts.core.attribute_sets import AttributeSets
from otel_tts.core.audio import AudioMeter
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import run_deferred
from otel_tts.core.guard import MisuseError, caller, guard, guarded, guarded_or
from otel_tts.core.histogram import Histogram
from otel_tts.core.labels import Labels, LabelSets
from otel_tts.core.prices import Prices
from otel_tts.core.total import Total
from otel_tts.semconv import METRICS, Instrument
from otel_tts.testing.capture import FakeClock
from tests.core.signals import wav

FORMAT = PCM16(16000)
CHUNK = b"\x00\x40\x00\xc0" * 800  # 100 ms
TEXT = "the canary sings"


_SPEAKERS = ("otel_tts.core.guard", "otel_tts.core.prices")
"""Who warns here: of a fault, and once that the cost of a text spoken by several providers is not known."""


class FaultError(Exception):
    """Raised inside of telemetry. Its message holds what no log line may hold."""

    def __init__(self) -> None:
        super().__init__(TEXT)


def fault(*_: object, **__: object) -> Any:
    """In place of any function of ours."""
    raise FaultError


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Faults are caught and reported, and none has been reported yet; what a test drops ends here, not in a later one."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    caplog.set_level(logging.DEBUG)
    yield
    gc.collect()
    run_deferred()


# -- a host ------------------------------------------------------------------------------------------------------------


class EngineError(Exception):
    """The host's own."""


Transcript = list[Any]


class Host:
    """A service that uses everything there is, and writes down what it gets."""

    def __init__(self, tts: Telemetry, call: Call) -> None:
        self.tts = tts
        self.call = call
        self.transcript: Transcript = []
        self.context = get_current()

    def note(self, *what: Any) -> None:
        """Write down, with whether the context is the host's own."""
        self.transcript.append((*what, get_current() is self.context))

    def engine(self, *, fails: bool = False) -> Iterator[bytes]:
        """Gives two chunks."""
        self.transcript.append("engine")
        try:
            yield CHUNK
            if fails:
                raise EngineError(TEXT)
            yield CHUNK
        finally:
            self.transcript.append("engine closed")

    async def aengine(self, *, fails: bool = False) -> AsyncIterator[bytes]:
        """Gives them after a while."""
        for chunk in self.engine(fails=fails):
            await asyncio.sleep(0)
            yield chunk

    def unary(self) -> None:
        """Look up, fail, fall back, be done."""
        with self.tts.synthesis(TEXT, "amy", "en") as s:
            _ = (s.trace_id, s.sampled, s.outcome)
            s.queued(0.1)
            with s.lookup("memory") as lookup:
                self.transcript.append(lookup.found(None))
            with suppress(EngineError), s.lookup("redis"):
                raise EngineError
            s.skipped("azure")
            with pytest.raises(EngineError) as raised, s.attempt("openai", "tts-1", remote=True):
                raise EngineError(TEXT)
            self.note(raised.value.args)
            with s.attempt("piper", "joe") as attempt:
                self.transcript.append(attempt.audio(CHUNK, FORMAT))
            with s.attempt("hibari") as attempt:
                attempt.fail(EngineError(TEXT))
            s.encoded("wav", 0.1)
            s.score("mos", 4)
            s.add_text("!")
            with suppress(EngineError), s.cache_write("redis"):
                raise EngineError(TEXT)
        self.note("unary")

    def hit(self) -> None:
        """Cached and coalesced audio, whole and in pieces; layers that ask twice."""
        with self.tts.synthesis(TEXT, stream=True) as s:
            with s.lookup("memory") as lookup:
                self.transcript.append(lookup.found(wav(CHUNK, rate=16000), "piper", audio=Wav()))
            self.transcript.append(s.deliver(CHUNK, FORMAT))
            s.coalesced("piper")
            with s.lookup("redis"), self.tts.synthesis(TEXT) as inner:
                self.transcript.append(list(inner.deliver(self.engine(), FORMAT)))
        self.note("found")

    def streams(self) -> None:
        """Whole, failing, closed, dropped."""
        s = self.tts.synthesis(TEXT, stream=True)
        self.note(list(s.stream(self.engine(), "piper", "joe", audio=FORMAT)))
        with self.tts.synthesis(TEXT, stream=True) as s:
            chunks = s.attempt("openai").stream(self.engine(fails=True), FORMAT, payload=lambda chunk: chunk[:4])
            try:
                for chunk in chunks:
                    self.note(chunk)
            except EngineError as error:
                self.note(error.args)
            closed = s.attempt("piper").stream(self.engine(), FORMAT)
            self.note(next(closed))
            closed.close()
            self.note(list(closed))
        for s in (self.tts.synthesis(TEXT, stream=True), self.tts.synthesis(TEXT, stream=True)):
            for dropped in (s.stream(self.engine(), "piper", audio=FORMAT), s.attempt("piper").stream(self.engine(), FORMAT)):
                self.note(next(dropped))
            del dropped

    def conversation(self) -> None:
        """Text in pieces over a connection, an interruption, and something made ahead."""
        with self.tts.conversation("call 1", attributes={"app.tenant": "acme"}), self.tts.connection("cartesia"):
            self.transcript.append("open")
        with self.tts.synthesis(stream=True, conversation="call 1") as s:
            self.transcript += s.text_from([TEXT, "!"])
            s.flush()
            attempt = s.attempt("cartesia", remote=True)
            attempt.connection(reused=False)
            for chunk in attempt.stream(self.engine(), FORMAT):
                self.note(chunk)
                s.interrupt(heard=0.01)
            s.heard(0.02)
        with self.tts.synthesis(TEXT, kind="prefetch") as s, s.attempt("piper") as attempt:
            self.transcript.append(attempt.audio(CHUNK, FORMAT))
        self.note("conversation")

    def refused(self) -> None:
        """Said, and raised."""
        with self.tts.synthesis(TEXT) as s:
            s.fail(outcome="rejected", error_type="invalid_input")
        with pytest.raises(EngineError) as raised, self.tts.synthesis(TEXT):
            raise EngineError(TEXT)
        self.note(raised.value.args)

    async def asynchronous(self) -> None:
        """The same in a loop, with a cancellation."""
        async with self.tts.synthesis(TEXT) as s:
            async with s.lookup("redis") as lookup:
                lookup.found(None)
            async with s.attempt("piper") as attempt:
                self.transcript.append(attempt.audio(CHUNK, FORMAT))
        s = self.tts.synthesis(TEXT, stream=True)
        self.transcript.append([chunk async for chunk in s.stream(self.aengine(), "piper", audio=FORMAT)])
        try:
            async with self.tts.synthesis(TEXT, stream=True) as s:
                async for chunk in s.attempt("piper").stream(self.aengine(fails=True), FORMAT):
                    self.transcript.append(chunk)
        except EngineError as error:
            self.transcript.append(error.args)

        async def speak() -> None:
            async with self.tts.synthesis(TEXT, stream=True) as s, s.attempt("piper"):
                self.transcript.append("waiting")
                await asyncio.sleep(60)

        task = asyncio.create_task(speak())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self.transcript.append(task.cancelled())

    def around(self) -> None:
        """What is not part of a request."""
        with self.tts.probe("piper", remote=True) as probe:
            self.transcript.append(probe.audio(CHUNK, FORMAT))
        self.tts.provider("piper").available(True)
        self.tts.observe_cache("memory", entries=lambda: 1, size=lambda: 1)
        self.tts.cache_evicted("memory", "size")
        self.transcript.append(self.tts.carry(lambda number: number + 1)(1))
        self.tts.run_deferred()
        self.note("around")

    def live(self) -> Transcript:
        """All of it, in a context that is thrown away."""
        return contextvars.copy_context().run(self._live)

    def _live(self) -> Transcript:
        """Outside of an RPC and inside one."""
        self.unary()
        self.hit()
        self.streams()
        self.conversation()
        self.refused()
        self.around()
        asyncio.run(self.asynchronous())
        token = attach(set_value(CALL, self.call))
        self.context = get_current()
        try:
            self.unary()
            self.streams()
        finally:
            detach(token)
        self.tts.run_deferred()
        return self.transcript


def host(**arguments: Any) -> Host:
    """A host whose Telemetry works, so far."""
    working: dict[str, Any] = {
        "clock": FakeClock(),
        "meter_provider": NoOpMeterProvider(),
        "prices": {"piper": 1.0},
        "tracer_provider": TracerProvider(shutdown_on_exit=False),
    }
    return Host(Telemetry(**working | arguments), Call(RequestClock(FakeClock()), lambda: None))


HEALTHY: Transcript = []


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    """What a host gets when nothing of ours fails."""
    if not HEALTHY:
        monkeypatch.setattr(guard, "strict", True)
        HEALTHY.extend(host().live())
        monkeypatch.setattr(guard, "strict", False)
    return HEALTHY


def reports(caplog: pytest.LogCaptureFixture) -> None:
    """Some fault was reported; each site warned once and then logged for debugging only; no line tells the message."""
    levels: dict[str, list[str]] = {}
    for record in caplog.records:
        if record.name == "otel_tts.core.guard":
            message = record.getMessage()
            assert "(FaultError), called at " in message
            assert message.endswith(". The service is not affected; this telemetry is missing.")
            levels.setdefault(str(record.args[0] if isinstance(record.args, tuple) else None), []).append(record.levelname)
    assert levels
    for site, log_levels in levels.items():
        assert log_levels == ["WARNING"] + ["DEBUG"] * (len(log_levels) - 1), site
    assert TEXT not in caplog.text
    assert "canary" not in caplog.text
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING and record.name not in _SPEAKERS] == []


# -- whatever of ours raises -------------------------------------------------------------------------------------------

SITES: list[tuple[Any, str]] = [
    (outcome, "from_exception"),
    (outcome.Cause, "from_outcome"),
    (AudioMeter, "__init__"),
    (AudioMeter, "feed"),
    (AudioMeter, "facts"),
    (AudioMeter, "onset_s"),
    (AudioMeter, "empty"),
    (Call, "adopt"),
    (Call, "interruption"),
    (Call, "start"),
    (Call, "current"),
    (Histogram, "record"),
    (invocation, "defer"),
    (enclosing, "run_deferred"),
    (Labels, "bound"),
    (LabelSets, "fold"),
    (Prices, "cost"),
    (AttributeSets, "at"),
    (RequestClock, "__init__"),
    (RequestClock, "timestamp"),
    (Total, "add"),
    (Total, "call"),
    (Total, "observe"),
    (outcome.Cause, "declared"),
    (otel_tts.core.attempt.Attempt, "__init__"),
    (otel_tts.core.emitter, "exception_attributes"),
    (otel_tts.core.invocation.Invocation, "__init__"),
    (otel_tts.core.attempt_span, "describe"),
    (otel_tts.core.invocation.Invocation, "declare"),
    (otel_tts.core.invocation.Invocation, "_final_cause"),
    (otel_tts.core.invocation.Invocation, "_meter_for"),
    (otel_tts.core.invocation.Invocation, "_record"),
    (otel_tts.core.invocation.Invocation, "dropped"),
    (otel_tts.core.invocation.Invocation, "chunk"),
    (otel_tts.core.invocation.Invocation, "finished"),
    (otel_tts.core.invocation.Invocation, "waiting"),
    (otel_tts.core.cache.CachedAudio, "__init__"),
    (otel_tts.core.cache.CachedAudio, "chunk"),
    (otel_tts.core.cache.CachedAudio, "finished"),
    (otel_tts.core.cache.CacheWrite, "__init__"),
    (otel_tts.core.cache.CacheWrite, "_end"),
    (otel_tts.core.cache.Lookup, "__init__"),
    (otel_tts.core.cache.Lookup, "_end"),
    (otel_tts.core.emitter.Emitter, "maker"),
    (otel_tts.core.emitter.Emitter, "add_exception"),
    (otel_tts.core.emitter.Emitter, "describe_failure"),
    (otel_tts.core.outcome, "explained"),
    (otel_tts.core.emitter.Emitter, "start_span"),
    (otel_tts.core.playback.Playback, "chunk"),
    (otel_tts.core.playback.Playback, "first_audio"),
    (otel_tts.core.providers.Providers, "get"),
    (otel_tts.core.providers.ProviderStates, "get"),
    (otel_tts.core.providers.ProviderState, "attempted"),
    (otel_tts.core.providers.ProviderState, "_set"),
    (otel_tts.core.record.Record, "__init__"),
    (otel_tts.core.record.Record, "delivered_s"),
    (otel_tts.core.record.Record, "emit"),
    (otel_tts.core.record.Record, "handed_out"),
    (otel_tts.core.record.Record, "start_attributes"),
    (otel_tts.core.record.Record, "discard_lookup"),
    (otel_tts.core.streams, "attach"),
    (otel_tts.core.streams, "detach"),
    (otel_tts.core.request.SynthesisRequest, "__init__"),
    (otel_tts.core.texts.TextInput, "add"),
    (otel_tts.core.sources.AudioSources, "attempt_reason"),
    (otel_tts.core.request.SynthesisRequest, "declare"),
    (otel_tts.core.sources.AudioSources, "invocation_began"),
    (otel_tts.core.sources.AudioSources, "_serve_from_cache"),
    (otel_tts.core.sources.AudioSources, "delivered"),
    (otel_tts.core.sources.AudioSources, "__init__"),
    (otel_tts.core.sources.AudioSources, "end_unfinished"),
    (otel_tts.core.sources.AudioSources, "skip_provider"),
    (otel_tts.core.texts.TextInput, "__init__"),
    (otel_tts.core.result.InvocationResult, "__init__"),
    (otel_tts.core.result.InvocationResult, "emit"),
    (otel_tts.core.record.Record, "emit_quality"),
    (otel_tts.core.result.InvocationResult, "attributes"),
    (otel_tts.core.record.Record, "add_invocation"),
    (otel_tts.core.request.SynthesisRequest, "_final_cause"),
    (otel_tts.core.request.SynthesisRequest, "_finish"),
    (otel_tts.core.request.SynthesisRequest, "_apparent_cause"),
    (otel_tts.core.sources.AudioSources, "invocation_ended"),
    (otel_tts.core.sources.AudioSources, "cache_hit"),
    (otel_tts.core.request.SynthesisRequest, "interruption"),
    (otel_tts.core.request.SynthesisRequest, "update"),
    (otel_tts.core.sources.AudioSources, "cache_miss"),
    (otel_tts.core.enclosing, "get_current"),
]


def name_of(site: Any) -> str | None:
    """A site as a test's id."""
    return getattr(site, "__qualname__", getattr(site, "__name__", None)) if not isinstance(site, str) else site


@pytest.mark.parametrize(("owner", "name"), SITES, ids=name_of)
def test_no_fault_of_ours_reaches_the_host(
    healthy: Transcript, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: Any, name: str
) -> None:
    """Any part of telemetry may raise, each time it is used, and the host gets what it gets without a fault."""
    service = host()
    monkeypatch.setattr(owner, name, property(fault) if isinstance(getattr(owner, name), property) else fault)
    transcript = service.live()
    monkeypatch.undo()
    if name == "detach":  # then the context cannot be restored, by anybody
        transcript, healthy = [[e[:-1] if isinstance(e, tuple) else e for e in t] for t in (transcript, healthy)]
    assert transcript == healthy
    reports(caplog)


class FailingClock(FakeClock):
    """Raises at one reading, or from one on."""

    def __init__(self, at: int, *, only: bool) -> None:
        super().__init__()
        self.left = at
        self._only = only

    def monotonic(self) -> int:
        self.left -= 1
        if self.left == 0 or (self.left < 0 and not self._only):
            raise FaultError
        return super().monotonic()

    wall = monotonic


@pytest.mark.parametrize("only", [True, False])
def test_a_clock_that_raises(healthy: Transcript, caplog: pytest.LogCaptureFixture, only: bool) -> None:
    """At any one of its readings, or from any of them on."""
    readings = FailingClock(0, only=True)
    host(clock=readings).live()
    for at in range(1, -readings.left + 1, 3 if only else 7):
        caplog.clear()
        guard._warned.clear()
        assert host(clock=FailingClock(at, only=only)).live() == healthy, f"reading {at}"
        reports(caplog)


# -- whatever of OpenTelemetry raises ----------------------------------------------------------------------------------

SPAN_METHODS = ("add_event", "end", "get_span_context", "is_recording", "set_attributes", "set_status")


class FailingSpan(Span):
    """A span some of whose methods raise."""

    def __init__(self, failing: tuple[str, ...]) -> None:
        for name in failing:
            object.__setattr__(self, name, fault)

    def end(self, end_time: int | None = None) -> None: ...
    def get_span_context(self) -> SpanContext:
        return INVALID_SPAN_CONTEXT

    def set_attributes(self, attributes: Any) -> None: ...
    def set_attribute(self, key: str, value: Any) -> None: ...
    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None: ...
    def update_name(self, name: str) -> None: ...
    def is_recording(self) -> bool:
        return True

    def set_status(self, status: Any, description: str | None = None) -> None: ...
    def record_exception(self, *arguments: Any, **keywords: Any) -> None: ...


class FailingTracing:
    """A tracer provider and its tracer."""

    def __init__(self, failing: tuple[str, ...] | None) -> None:
        self._failing = failing

    def get_tracer(self, *_: Any, **__: Any) -> Any:
        """Itself."""
        return self

    def start_span(self, *_: Any, **__: Any) -> Span:
        """A span, or a fault."""
        return fault() if self._failing is None else FailingSpan(self._failing)


@pytest.mark.parametrize(
    "failing", [None, SPAN_METHODS, *((name,) for name in SPAN_METHODS)]
)  # fmt: skip
def test_tracing_that_raises(healthy: Transcript, caplog: pytest.LogCaptureFixture, failing: tuple[str, ...] | None) -> None:
    """No span can be started, or a started one cannot be used."""
    tracing: Any = FailingTracing(failing)
    assert host(tracer_provider=tracing).live() == healthy
    reports(caplog)


@pytest.mark.parametrize("method", ["on_start", "on_end"])
def test_a_span_processor_that_raises(healthy: Transcript, caplog: pytest.LogCaptureFixture, method: str) -> None:
    """The host's own processors run in our calls of the SDK."""

    class Failing(SpanProcessor): ...

    setattr(Failing, method, fault)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Failing())
    assert host(tracer_provider=provider).live() == healthy
    reports(caplog)


class FailingMeters(NoOpMeterProvider):
    """A meter provider, its meter and its histograms; the one that is named raises."""

    def __init__(self, failing: str) -> None:
        self._failing = failing

    def get_meter(self, *_: Any, **__: Any) -> Any:
        """Itself."""
        return self

    def create_histogram(self, name: str, *_: Any, **__: Any) -> Any:
        """A histogram."""
        record = fault if self._failing in (name, "all") else lambda *_: None
        return type("Histogram", (), {"record": staticmethod(record)})()

    def create_observable_counter(self, *_: Any, **__: Any) -> None:
        """Nothing reads it."""

    create_observable_up_down_counter = create_observable_gauge = create_observable_counter


UNUSED = {"rpc.server.call.duration"}


@pytest.mark.parametrize(
    "name", ["all", *(m.name for m in METRICS if m.instrument is Instrument.HISTOGRAM and m.name not in UNUSED)]
)
def test_an_instrument_that_raises(healthy: Transcript, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """Any histogram, and all of them."""
    assert host(meter_provider=FailingMeters(name)).live() == healthy
    reports(caplog)


# -- whatever the host gets wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda tts: tts.synthesis(TEXT).attempt("piper", reason="whim").__enter__(),
        lambda tts: tts.synthesis(TEXT).skipped("piper", "whim"),
        lambda tts: tts.synthesis(TEXT).fail(outcome="okay"),
        lambda tts: tts.synthesis(TEXT).score("mos", -1),
        lambda tts: tts.synthesis(TEXT).queued("long"),
        lambda tts: tts.synthesis(TEXT).add_text(b"no text".hex),
        lambda tts: tts.synthesis(TEXT).attempt("piper").audio(5, FORMAT),
        lambda tts: tts.probe("piper").__enter__().audio(CHUNK, "pcm"),
        lambda tts: tts.synthesis(TEXT).deliver(CHUNK, "pcm"),
        lambda tts: tts.cache_evicted("memory", "size", "many"),
        lambda tts: tts.observe_cache([], entries=1),
    ],
)
def test_arguments_that_make_no_sense(caplog: pytest.LogCaptureFixture, use: Callable[[Telemetry], Any]) -> None:
    """A mistake in a call of ours is reported, and is no reason to fail a request."""
    service = host()
    contextvars.copy_context().run(use, service.tts)  # some enter a block that they never leave
    service.tts.run_deferred()
    reporting = ("otel_tts.core.guard", "otel_tts.core.clean")
    assert [record.levelname for record in caplog.records if record.name in reporting][:1] == ["WARNING"]
    assert TEXT not in caplog.text


@pytest.mark.parametrize("chunk", [5, "text", object(), {"audio": CHUNK}])
def test_chunks_that_cannot_be_measured(caplog: pytest.LogCaptureFixture, chunk: Any) -> None:
    """A chunk of a kind that we do not understand reaches the caller; without a `payload` nothing more can be told of it."""
    tts = host().tts
    s = tts.synthesis(TEXT, stream=True)
    assert list(s.stream([chunk, chunk], "piper", audio=FORMAT)) == [chunk, chunk]
    with tts.synthesis(TEXT) as s, s.attempt("piper") as attempt:
        assert attempt.audio(chunk, FORMAT) is chunk
    assert [record.levelname for record in caplog.records][:1] == ["WARNING"]
    assert s.outcome == "ok"


def test_an_attempt_with_two_formats(caplog: pytest.LogCaptureFixture) -> None:
    """The audio passes; what is told stays that of the first format."""
    with host().tts.synthesis(TEXT) as s, s.attempt("piper") as attempt:
        assert attempt.audio(CHUNK, FORMAT) is CHUNK
        assert attempt.audio(CHUNK, Wav()) is CHUNK
        assert list(attempt.stream([CHUNK], Wav())) == [CHUNK]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_payload_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It takes the audio out of a chunk for us only: the chunk reaches the caller anyway."""
    s = host().tts.synthesis(TEXT, stream=True)
    assert list(s.stream([CHUNK, CHUNK], "piper", audio=FORMAT, payload=fault)) == [CHUNK, CHUNK]
    reports(caplog)


# -- the guard itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit])
def test_what_is_not_ours_to_catch(kind: type[BaseException]) -> None:
    """Cancellations and exits that come while telemetry is at work go on."""

    @guarded
    def procedure() -> None:
        raise kind

    @guarded_or(lambda: 5)
    def function() -> int:
        raise kind

    class Interrupted(FakeClock):
        interrupted = False

        def monotonic(self) -> int:
            if self.interrupted:
                raise kind
            return super().monotonic()

    for call in (procedure, function):
        with pytest.raises(kind):
            call()
    clock = Interrupted()
    s = host(clock=clock).tts.synthesis(TEXT, stream=True)
    chunks = s.stream([CHUNK], "piper", audio=FORMAT)
    clock.interrupted = True
    with pytest.raises(kind):
        next(chunks)
    clock.interrupted = False


def test_a_function_that_fails_has_another_result(caplog: pytest.LogCaptureFixture) -> None:
    """Which is made of the same arguments; name and documentation stay; a second fault is for debugging only."""

    @guarded_or(lambda a, b=0: a + b)
    def divided(a: int, b: int = 0) -> float:
        """Divides."""
        return a / b

    assert (divided(4, 2), divided(4), divided(4, b=0), divided.__name__, divided.__doc__) == (2, 4, 4, "divided", "Divides.")
    message = (
        "Telemetry failed in test_a_function_that_fails_has_another_result.<locals>.divided (ZeroDivisionError), called at HERE. "
        "The service is not affected; this telemetry is missing."
    )
    lines = [(record.levelname, re.sub(rf"{__file__}:\d+", "HERE", record.getMessage())) for record in caplog.records]
    assert lines == [("WARNING", message), ("DEBUG", message)]


def test_strict(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """In a test suite a fault of ours is a failure: it is raised as it is, and not logged."""
    monkeypatch.setattr(guard, "strict", True)
    with pytest.raises(FaultError):
        guarded(fault)()
    assert caplog.text == ""


def test_the_fixture_is_strict(capture_tts: Any) -> None:
    """`capture_tts` lets faults through."""
    assert guard.strict is True
    with pytest.raises(ValueError, match="okay"):
        capture_tts.telemetry().synthesis(TEXT).fail(outcome="okay")


class JobTimeoutError(Exception):
    """What a job queue raises in its signal handler, wherever the job is just then."""


def out_of_time(*_: object) -> None:
    """The handler."""
    raise JobTimeoutError


def interrupted(point: int, work: Callable[[], object], within: tuple[str, ...] = ("otel_tts.",)) -> bool:
    """Do some work; the signal comes where Python looks for the n-th time in some modules: a function begins, or one in C returns.

    Return whether it looks so often.
    """
    left = point

    def profile(frame: Any, event: str, _: object) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_globals.get("__name__", "").startswith(within):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGUSR1)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return left <= 0


def test_the_time_limit_of_a_job_reaches_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of a signal handler, anywhere in our code: it ends the host's work as without us, and the next request is counted."""
    tts = Telemetry(tracer_provider=TracerProvider(), meter_provider=NoOpMeterProvider())  # nothing that other tests use
    before = signal.signal(signal.SIGUSR1, out_of_time)
    lost: list[object] = []  # by Python, which ignores what is raised in a finaliser
    monkeypatch.setattr(sys, "unraisablehook", lost.append)

    def speak() -> None:
        with tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
            list(attempt.stream(iter([CHUNK, CHUNK]), FORMAT))

    try:
        speak()
        points = 1
        while True:
            try:
                if not contextvars.copy_context().run(interrupted, points, speak):  # the API itself may not have detached
                    break
                assert lost, f"The signal at {points} is lost."
                lost.clear()
            except JobTimeoutError:
                pass
            points += 1
            run_deferred()  # of the request that was left
    finally:
        signal.signal(signal.SIGUSR1, before)
        gc.collect()
    assert points > 60


def test_without_memory_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a MemoryError, signal handlers are not looked for: that takes memory, without which CPython may crash."""
    monkeypatch.setattr(signal, "valid_signals", lambda: pytest.fail("looked up"))
    guard.pass_on(MemoryError())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda tts: tts.synthesis(text=TEXT, langauge="en"),
            "Telemetry.synthesis() got an unexpected keyword argument 'langauge'. ",
        ),
        (lambda tts: tts.synthesis(TEXT).add_text(), "missing 1 required positional argument: "),
    ],
)
def test_an_argument_that_there_is_not_is_named(
    caplog: pytest.LogCaptureFixture, call: Callable[[Telemetry], object], words: str
) -> None:
    """The line has Python's own words, which name the keyword, and no value: the text stands in none."""
    call(Telemetry())
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert words in line
    assert TEXT not in caplog.text


def test_each_place_with_a_mistake_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each place in the application's code, as troubleshooting.md says; the same place again is for debugging only."""

    @guarded
    def measure(value: object) -> None:
        raise MisuseError(f"{type(value).__name__} is no audio.")

    for _ in range(3):
        measure(1)
        measure("two")
    levels = [(record.levelname, str(record.args[2]) if isinstance(record.args, tuple) else "") for record in caplog.records]
    places = [place for level, place in levels if level == "WARNING"]
    assert len(places) == len(set(places)) == 2
    assert len(levels) == 6


@pytest.mark.parametrize("package", ["httpx2._models", "openai._response", "contextlib"])
def test_the_place_of_a_mistake_is_the_application_s(package: str) -> None:
    """Its own line, also where audio is read through an HTTP client or a vendor's SDK."""
    between: dict[str, Any] = {"__name__": package}
    exec("def read(call):\n    return call()", between)
    assert between["read"](caller).startswith(f"{__file__}:")
