"""Whatever an application does, in whatever order: one outcome, one set of points, every span ended, nothing left over."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.context import attach, detach, get_current, set_value
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tts import PCM16, Telemetry
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.guard import guard
from otel_tts.semconv import ERROR_TYPES, FAILURES, Outcome
from otel_tts.testing.capture import FakeClock

FORMAT = PCM16(16000)
RAISED = (ValueError, ConnectionError, asyncio.CancelledError, KeyboardInterrupt)

PROVIDERS = st.sampled_from(["piper", "openai"])
AUDIO = st.sampled_from([b"", b"\x00", bytes(3200), b"\x00\x40\x00\xc0" * 1600])  # none, no sample, silence, sound
ERRORS = st.none() | st.sampled_from(RAISED)
SECONDS = st.sampled_from([0.0, 0.1, 2.5])
OUTCOMES = st.sampled_from([outcome.value for outcome in Outcome])

STEPS = st.one_of(
    st.tuples(st.just("add_text"), st.sampled_from(["", "a", "bc"])),
    st.tuples(st.just("queued"), SECONDS),
    st.tuples(st.just("score"), SECONDS),
    st.tuples(st.just("lookup"), st.booleans(), ERRORS),
    st.tuples(st.just("coalesced"), st.none() | PROVIDERS),
    st.tuples(st.just("skipped"), PROVIDERS),
    st.tuples(st.just("fail"), st.none() | OUTCOMES, st.sampled_from([None, "queue_full", "timeout"])),
    st.tuples(st.just("enter")),
    st.tuples(st.just("leave"), ERRORS),
    st.tuples(st.just("attempt"), PROVIDERS, AUDIO, ERRORS, st.none() | OUTCOMES),
    st.tuples(st.just("start"), st.sampled_from(["stream", "attempt", "deliver"]), PROVIDERS),
    st.tuples(st.just("pull"), SECONDS, AUDIO | ERRORS),
    st.tuples(st.just("pull"), SECONDS, AUDIO),
    st.tuples(st.just("close")),
    st.tuples(st.just("drop")),
    st.tuples(st.just("forget")),
    st.tuples(st.just("collect")),
    st.tuples(st.just("end_rpc"), st.sampled_from(["OK", "INVALID_ARGUMENT", "UNKNOWN"]), ERRORS),
    st.tuples(st.just("cut_off"), st.sampled_from([None, 0.0])),
)


class Engine(Iterator[bytes]):
    """Gives what it is told to give: audio, an exception, or with None its end."""

    gives: bytes | BaseException | None = None

    def __next__(self) -> bytes:
        if self.gives is None:
            raise StopIteration
        if isinstance(self.gives, BaseException):
            raise self.gives
        return self.gives


class Application:
    """Makes one request, step by step, and keeps count of what it did. Steps that cannot be taken are left out."""

    def __init__(self, tts: Telemetry, clock: FakeClock, *, stream: bool, inside: bool, text: str) -> None:
        self.tts, self.clock = tts, clock
        self.remaining: float | None = None
        self.call = Call(RequestClock(clock), lambda: self.remaining) if inside else None
        token = attach(set_value(CALL, self.call))
        self.s: Any = tts.synthesis(text, "amy", stream=stream)
        detach(token)
        self.context = get_current()
        self.depth = 0
        self.stream: Any = None
        self.engine = Engine()
        self.asks = False  # whether the next pull asks the provider
        self.attempts = 0
        self.lookups: Counter[str] = Counter()
        self.characters = len(text)

    def take(self, step: tuple[Any, ...]) -> None:
        """Take one step; whatever it is, the context is the application's afterwards."""
        name, *arguments = step
        of_request = {
            "add_text",
            "queued",
            "score",
            "lookup",
            "coalesced",
            "skipped",
            "fail",
            "enter",
            "leave",
            "attempt",
            "start",
        }
        if self.s is not None or name not in of_request:
            ended = name in ("enter", "start") and self.s.outcome is not None  # strict mode refuses what it is used for then
            with suppress(*(a for a in arguments if isinstance(a, type)), *([ValueError] if ended else [])):
                getattr(self, name)(*arguments)
        assert get_current() is self.context

    def add_text(self, delta: str) -> None:
        self.characters += len(delta) if self.s.outcome is None else 0
        self.s.add_text(delta)

    def queued(self, seconds: float) -> None:
        self.s.queued(seconds)

    def score(self, value: float) -> None:
        self.s.score("mos", value)

    def lookup(self, is_hit: bool, error: type[BaseException] | None) -> None:
        failed = error is not None and issubclass(error, Exception)
        self.lookups["error" if failed else "hit" if is_hit else "miss"] += 1
        with self.s.lookup("memory") as lookup:
            lookup.found(b"...." if is_hit else None, "piper", audio=FORMAT)
            if error is not None:
                raise error

    def coalesced(self, provider: str | None) -> None:
        self.s.coalesced(provider)

    def skipped(self, provider: str) -> None:
        self.s.skipped(provider)

    def fail(self, outcome: str | None, error_type: str | None) -> None:
        self.s.fail(outcome=outcome, error_type=error_type)

    def enter(self) -> None:
        self.s.__enter__()
        self.depth += 1

    def leave(self, error: type[BaseException] | None) -> None:
        if self.depth:
            self.depth -= 1
            self.s.__exit__(error, error() if error is not None else None, None)

    def attempt(self, provider: str, audio: bytes, error: type[BaseException] | None, declared: str | None) -> None:
        self.attempts += 1
        with self.s.attempt(provider) as attempt:
            assert attempt.audio(audio, FORMAT) is audio
            if declared is not None:
                attempt.fail(outcome=declared)
            if error is not None:
                raise error

    def start(self, kind: str, provider: str) -> None:
        if kind == "stream":
            self.stream = self.s.stream(self.engine, provider, audio=FORMAT)
        elif kind == "attempt":
            self.attempts += 1
            self.stream = self.s.attempt(provider).stream(self.engine, FORMAT)
        else:
            self.stream = self.s.deliver(self.engine, FORMAT)
        self.asks = kind == "stream"

    def pull(self, seconds: float, gives: Any) -> None:
        self.clock.advance(seconds)
        if self.stream is None:
            return
        self.attempts += self.asks
        self.asks = False
        self.engine.gives = gives() if isinstance(gives, type) else gives
        if gives is None:
            assert next(self.stream, None) is None
        else:
            assert next(self.stream) is gives

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def drop(self) -> None:
        self.stream = None

    def forget(self) -> None:
        self.s = None

    def collect(self) -> None:
        self.tts.run_deferred()

    def end_rpc(self, code: str, error: type[BaseException] | None) -> None:
        if self.call is not None:
            self.call.end(code, error=error() if error is not None else None)

    def cut_off(self, remaining: float | None) -> None:
        if self.call is not None:
            self.remaining = remaining
            self.call.end("CANCELLED", interruption=self.call.interruption())


@pytest.fixture(scope="module")
def spans() -> tuple[TracerProvider, InMemorySpanExporter]:
    """Where spans go."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


@pytest.fixture(scope="module", autouse=True)
def _strictly() -> Iterator[None]:
    """A fault of ours fails the test."""
    strict, guard.strict = guard.strict, True
    yield
    guard.strict = strict


@given(steps=st.lists(STEPS, max_size=15), stream=st.booleans(), inside=st.booleans(), text=st.sampled_from(["", "Hello"]))
@example(
    steps=[("enter",), ("start", "stream", "piper"), ("pull", 0.1, b"...."), ("leave", ValueError)],
    stream=True,
    inside=False,
    text="",
)
@example(
    steps=[("start", "attempt", "piper"), ("pull", 0.1, b"...."), ("drop",), ("forget",)], stream=True, inside=False, text=""
)
@example(
    steps=[("enter",), ("end_rpc", "OK", None), ("start", "attempt", "piper"), ("pull", 0.1, b"....")],
    stream=True,
    inside=True,
    text="",
)
@example(
    steps=[("start", "stream", "piper"), ("drop",), ("pull", 2.5, b""), ("add_text", "a")], stream=True, inside=False, text=""
)
@example(
    steps=[("start", "stream", "piper"), ("drop",), ("pull", 2.5, b""), ("start", "attempt", "piper")],
    stream=True,
    inside=False,
    text="",
)
@settings(max_examples=150)
def test_whatever_happens_is_told_once(
    spans: tuple[TracerProvider, InMemorySpanExporter], steps: list[Any], stream: bool, inside: bool, text: str
) -> None:
    """Any steps in any order, let go of at any time: one outcome, one point for it, and as many attempts as were made."""
    provider, exporter = spans
    exporter.clear()
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    clock = FakeClock()
    tts = Telemetry(tracer_provider=provider, meter_provider=meters, clock=clock, prices={"piper": 1.0})
    application = Application(tts, clock, stream=stream, inside=inside, text=text)
    for step in steps:
        application.take(step)
    stated = application.s.outcome if application.s is not None else None
    application.stream = application.s = application.call = application.engine.gives = None  # whose traceback holds the request
    for _ in range(2):  # a dropped stream first, and then the request that it kept
        gc.collect()
        tts.run_deferred()

    data = reader.get_metrics_data()
    assert data is not None
    points: dict[str, list[Any]] = {
        m.name: list(m.data.data_points) for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics
    }

    def total(name: str, **attributes: str) -> float:
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}.items()
        matching = [p for p in points.get(name, []) if wanted <= p.attributes.items()]
        return sum(p.count if isinstance(p, HistogramDataPoint) else p.value for p in matching)

    ended: list[Any] = list(exporter.get_finished_spans())
    (request,) = [span for span in ended if span.name == "tts.synthesize"]
    attempts = [span for span in ended if span is not request]
    span_attributes = dict(request.attributes)
    outcome = Outcome(span_attributes["tts.outcome"])
    assert stated in (None, outcome)
    assert span_attributes.get("error.type") in (ERROR_TYPES[outcome] or (None,))
    assert (total("tts.synthesis.duration"), total("tts.synthesis.requests"), total("tts.synthesis.active")) == (1, 1, 0)
    assert total("tts.synthesis.failures") == (outcome in FAILURES)
    assert total("tts.synthesis.characters") == span_attributes["tts.text.length"] == application.characters
    assert total("tts.attempt.duration") == len(attempts) == application.attempts >= span_attributes["tts.attempt.count"]
    assert {p.attributes["tts.cache.lookup.result"]: p.value for p in points.get("tts.cache.lookups", [])} == application.lookups
    assert total("tts.synthesis.audio", tts__audio__state="delivered") == (
        span_attributes.get("tts.audio.delivered_duration") or 0
    )
    assert total("tts.synthesis.time_to_first_audio") <= total("tts.synthesis.time_to_first_byte") <= stream
    assert all(point.min >= 0 for matching in points.values() for point in matching if isinstance(point, HistogramDataPoint))
    assert all(span.end_time >= span.start_time for span in ended)
    meters.shutdown()
