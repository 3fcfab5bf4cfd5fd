"""What one request records: characters, cost, waiting, scores, and attributes of their types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from opentelemetry import trace

from otel_tts import PCM16, Settings, semconv
from otel_tts.testing.capture import Capture
from tests.core.picture import (
    FORMAT,
    HALF,
    NOBODY,
    PRICES,
    RATE,
    TEXT,
    HttpError,
    P,
    attempted,
    ordered,
    play,
    points,
    roughly,
    summarize,
)


def test_characters_are_code_points_once_a_request(capture_tts: Capture) -> None:
    """Code points of the text as received, however many providers were asked for it."""
    tts = capture_tts.telemetry()
    with tts.synthesis("Grüße 👋🏽 ", "amy") as s:
        attempted(s, "openai", HttpError(500))
        attempted(s, "piper")
    assert capture_tts.synthesis()["tts.text.length"] == 9
    assert points(capture_tts)["tts.synthesis.characters"] == ordered([(P | {"tts.characters.state": "synthesized"}, 9)])


def test_text_in_pieces(capture_tts: Capture) -> None:
    """The clock starts at the first piece that holds text, and all pieces count."""
    tts = capture_tts.telemetry()
    with tts.synthesis(stream=True) as s:
        capture_tts.clock.advance(5)
        s.add_text("")
        capture_tts.clock.advance(5)
        s.add_text("Hel")
        capture_tts.clock.advance(0.25)
        s.add_text("lo")
        list(s.attempt("piper", "joe").stream([HALF], FORMAT))
    assert capture_tts.synthesis()["tts.text.length"] == 5
    assert capture_tts.synthesis().first_byte == pytest.approx(0.25)
    assert [p.sum for p in capture_tts.points("tts.synthesis.duration")] == [pytest.approx(0.25)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prices", "cost", "total", "unpriced"),
    [
        ({"openai": {"tts-1": 15.0}, "piper": 0.0}, 75e-6, 75e-6, 0),
        ({"openai": {"*": 15.0, "tts-1": 30.0}, "piper": {"joe": 1.0}}, 155e-6, 155e-6, 0),
        ({"openai": {"hd": 15.0}, "piper": 2.0}, None, 10e-6, 1),
        ({}, None, 0, 1),
    ],
)
def test_cost(capture_tts: Capture, prices: Any, cost: float | None, total: float, unpriced: int) -> None:
    """Every attempt that made audio costs; one unknown price makes the request's cost unknown, never lower."""
    tts = capture_tts.telemetry(prices=prices)
    with tts.synthesis(TEXT, stream=True) as s:
        attempted(s, "azure", HttpError(500))
        with pytest.raises(ConnectionError):
            list(s.attempt("openai", "tts-1").stream(play([HALF, ConnectionError()], capture_tts.clock), FORMAT))
        list(s.attempt("piper", "joe").stream([HALF], FORMAT))
    assert capture_tts.synthesis()["tts.usage.cost"] == (None if cost is None else pytest.approx(cost))
    assert capture_tts.total("tts.usage.cost") == pytest.approx(total)
    assert capture_tts.total("tts.usage.unpriced", P) == unpriced


def test_a_rejected_request_costs_nothing(capture_tts: Capture) -> None:
    """Nobody was asked: its text is wasted, and neither priced nor unpriced."""
    tts = capture_tts.telemetry(prices=PRICES)
    with tts.synthesis(TEXT) as s:
        s.fail(outcome="rejected")
    metrics = points(capture_tts)
    assert metrics["tts.synthesis.characters"] == ordered([(NOBODY | {"tts.characters.state": "wasted"}, 5)])
    assert {"tts.usage.cost", "tts.usage.cost_avoided", "tts.usage.unpriced"}.isdisjoint(metrics)


def test_queue_encoding_and_score(capture_tts: Capture) -> None:
    """What the application knows and we cannot see: waiting, encoding, the verdict of its quality model."""
    tts = capture_tts.telemetry()
    half: Any = np.float32(0.5)
    with tts.synthesis(TEXT, "amy", "en") as s:
        s.queued(1)
        s.queued(half)
        s.encoded("opus", 0.25)
        s.encoded("tape", 0.5)
        s.score("mos", 4.5)
    assert capture_tts.synthesis()["tts.queue.wait"] == 1.5
    metrics = points(capture_tts)
    assert {name: metrics[name] for name in ("tts.queue.wait", "tts.encode.duration", "tts.audio.score")} == roughly(
        {
            "tts.queue.wait": [({}, (2, 1.5))],
            "tts.encode.duration": [({"tts.audio.format": "opus"}, (1, 0.25)), ({"tts.audio.format": "_OTHER"}, (1, 0.5))],
            "tts.audio.score": [({"tts.score.name": "mos", "tts.voice": "amy"}, (1, 4.5))],
        }
    )


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_score_that_is_none(capture_tts: Capture, value: float) -> None:
    """A score is a number of 0 or more: the fault names the value."""
    with capture_tts.telemetry().synthesis(TEXT) as s, pytest.raises(ValueError, match=f"{value:g}"):
        s.score("mos", value)


def test_attribute_types(capture_tts: Capture) -> None:
    """Values are plain strings, booleans, integers and floats as the registry says: an exporter sees no enumeration, no numpy."""
    tts = capture_tts.telemetry(prices=PRICES)
    one: Any = np.float32(1)
    rate: Any = np.int64(RATE)
    with tts.synthesis(TEXT, "amy", "en", stream=True) as s:
        s.queued(one)
        with s.lookup("memory") as lookup:
            lookup.found(HALF, audio=FORMAT, duration=one)
        attempted(s, "openai", HttpError(500))
        list(s.attempt("piper", "joe").stream([np.frombuffer(HALF, "<i2")], PCM16(rate)))
    with tts.synthesis(TEXT) as s:
        with s.lookup("memory") as lookup:
            lookup.found("...", duration=1)
        s.fail(error_type="queue_full")
    types = {"string": str, "int": int, "double": float, "boolean": bool, "string[]": tuple}
    registry = {a.key: types[a.type] for a in vars(semconv).values() if isinstance(a, semconv.Attribute)}
    matching = [(key, type(value)) for span in capture_tts.spans for key, value in (span.attributes or {}).items()]
    matching += [
        (key, type(value))
        for points in map(capture_tts.points, semconv.METRICS)
        for p in points
        for key, value in (p.attributes or {}).items()
    ]
    assert {(key, kind) for key, kind in matching if kind is not registry[key]} == set()
    assert {"error.type", "tts.queue.wait", "tts.audio.duration", "tts.audio.sample_rate", "tts.usage.cost"} <= {
        key for key, _ in matching
    }


def test_the_trace_id_is_there_for_the_caller(capture_tts: Capture) -> None:
    """As 32 digits, from the beginning, with whether the trace is kept; both empty where nothing is traced."""
    with capture_tts.telemetry().synthesis(TEXT) as s:
        assert (len(s.trace_id), s.sampled) == (32, True)
    assert f"{capture_tts.synthesis().span.context.trace_id:032x}" == s.trace_id
    with capture_tts.telemetry(tracer_provider=trace.NoOpTracerProvider()).synthesis(TEXT) as s:
        assert (s.trace_id, s.sampled) == ("", False)


def test_without_metrics_traces_stay(capture_tts: Capture) -> None:
    """`METRICS_ENABLED=false` switches metrics off and nothing else."""
    tts = capture_tts.telemetry(settings=Settings.load(environ={"METRICS_ENABLED": "false"}))
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper")
    assert summarize(capture_tts)[0] == "ok"
    assert points(capture_tts) == {}
