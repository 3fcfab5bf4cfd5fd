"""The whole picture of a request: all its spans and points, and the audio and errors of the tests that compare it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from opentelemetry.context import attach, detach, set_value
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.trace import ReadableSpan

from otel_tts import PCM16, Synthesis
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.testing.capture import Capture, FakeClock

RATE = 16000
FORMAT = PCM16(RATE)
TEXT = "Hello"
P = {"gen_ai.provider.name": "piper", "gen_ai.request.model": "joe"}
NOBODY = {"gen_ai.provider.name": "_NONE", "gen_ai.request.model": "_NONE"}
SPEECH = {"gen_ai.operation.name": "text_to_speech", "gen_ai.output.type": "speech"}
ASKED = {"tts.voice": "amy", "tts.language": "en"}
PRICES = {"piper": 10.0}
COST = 5e-05


def tone(seconds: float) -> bytes:
    """A square wave at half of full scale: 6.02 dB below it, voiced from the first sample to the last."""
    return np.resize(np.array([16384, -16384], "<i2"), round(seconds * RATE)).tobytes()


class HttpError(Exception):
    """An error of an HTTP client."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status_code = status


def tree(capture: Capture) -> list[Any]:
    """All spans: name, kind, status, names of events, attributes, children."""
    spans = sorted(capture.spans, key=lambda span: span.start_time or 0)

    def node(span: ReadableSpan) -> list[Any]:
        children = [s for s in spans if s.parent is not None and s.parent.span_id == span.context.span_id]
        events = [event.name for event in span.events]
        return [span.name, span.kind, span.status.status_code, events, dict(span.attributes or {}), [node(s) for s in children]]

    return [node(span) for span in spans if span.parent is None]


def points(capture: Capture) -> dict[str, list[Any]]:
    """All points of all metrics: attributes with the value, of histograms with count and sum; in an order of their own."""
    return {
        name: ordered(
            (dict(p.attributes or {}), (p.count, p.sum) if isinstance(p, HistogramDataPoint) else p.value) for p in matching
        )
        for name in capture.metrics()
        if (matching := capture.points(name))
    }


def ordered(matching: Iterable[tuple[dict[str, Any], Any]]) -> list[Any]:
    """Points of one metric in an order of their own."""
    return sorted(((sorted(attributes.items()), value) for attributes, value in matching), key=lambda point: str(point[0]))


def roughly(metrics: dict[str, list[tuple[dict[str, Any], Any]]]) -> dict[str, list[Any]]:
    """What `points` has to be, but for the last digits."""
    return {
        name: [(key, pytest.approx(value, rel=1e-5)) for key, value in ordered(matching)] for name, matching in metrics.items()
    }


@contextmanager
def rpc(clock: FakeClock, remaining: Callable[[], float | None] = lambda: None) -> Iterator[Call]:
    """What an interceptor does around a handler."""
    call = Call(RequestClock(clock), remaining)
    token = attach(set_value(CALL, call))
    try:
        yield call
    finally:
        detach(token)


Steps = Sequence[float | bytes | BaseException]
HALF = tone(0.5)


def play(steps: Steps, clock: FakeClock) -> Iterator[bytes]:
    """An engine."""
    for step in steps:
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, bytes):
            yield step
        else:
            clock.advance(step)


async def aplay(steps: Steps, clock: FakeClock) -> AsyncIterator[bytes]:
    """An asynchronous one."""
    for chunk in play(steps, clock):
        yield chunk


CONVENTION = P | {"gen_ai.operation.name": "text_to_speech"}


def attempted(s: Synthesis, provider: str, fault: Exception | None = None, audio: bytes = HALF, **arguments: Any) -> None:
    """One attempt that raises, if it has something to raise, and is got over by the application."""
    with suppress(*([type(fault)] if fault else [])), s.attempt(provider, "joe", **arguments) as attempt:
        if fault is not None:
            raise fault
        attempt.audio(audio, FORMAT)


def summarize(capture: Capture) -> tuple[str, str | None, list[tuple[str, str, str, str | None]]]:
    """Outcome and error type of the one request, and of its attempts: provider, reason, outcome, error type."""
    s = capture.synthesis()
    return s.outcome, s["error.type"], [(a.provider, a.reason, a.outcome, a.error_type) for a in s.attempts]
