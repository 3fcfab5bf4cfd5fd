"""The door: whatever is passed in, every export carries plain text and finite numbers, and no batch is lost."""

from __future__ import annotations

import json
import logging
import threading
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from otel_tts import PCM16, Telemetry, semconv
from otel_tts.core import callback, clean
from otel_tts.core.guard import guard
from otel_tts.core.prices import Prices
from otel_tts.semconv.identifiers import LONGEST_NAME
from otel_tts.settings import Settings

TONE = b"\x00\x40\x00\xc0" * 400
UNPAIRED = json.loads('"\\ud83d"')


class Voice(str, Enum):  # noqa: UP042 - what a StrEnum writes differently
    AMY = "amy"


class Plain(Enum):
    AMY = "amy"


class Modern(StrEnum):
    AMY = "amy"


class Broken:
    """Says nothing of itself."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __float__ = __index__ = __bool__ = __len__ = __hash__ = __repr__  # type: ignore[assignment]


class Exported:
    """A Telemetry and all that is exported from it, by every encoder in use."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.registry = CollectorRegistry()
        pull = PrometheusMetricReader(registry=self.registry)
        meters = MeterProvider([self.reader, pull], shutdown_on_exit=False)
        self.spans = InMemorySpanExporter()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        settings = Settings.load({"OTEL_TTS_CAPTURE_TEXT": "true"})
        self.tts = Telemetry(meter_provider=meters, tracer_provider=tracers, settings=settings)

    def points(self) -> dict[str, list[Any]]:
        """By metric; and on the way everything is encoded as OTLP and for Prometheus, and every attribute is looked at."""
        generate_latest(self.registry)
        data = self.reader.get_metrics_data()
        assert data is not None
        encode_metrics(data).SerializeToString()
        encode_spans(self.spans.get_finished_spans()).SerializeToString()
        exported_points = {
            m.name: list(m.data.data_points) for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics
        }
        attributes = [span.attributes or {} for span in self.spans.get_finished_spans()]
        attributes += [point.attributes for points in exported_points.values() for point in points]
        attributes += [event.attributes or {} for span in self.spans.get_finished_spans() for event in span.events]
        for value in (value for one in attributes for value in one.values()):
            assert type(value) in (str, bool, int, float)
            if isinstance(value, str):
                assert len(value) <= clean.LONGEST_TEXT + 1
                assert not any(c in value.encode() for c in b"\x00\x07\x1b\x7f")
            msgspec.json.decode(msgspec.json.encode(value))
        names = [span.name for span in self.spans.get_finished_spans()]
        assert all(name.isprintable() for name in names)
        return exported_points


def speak_as(tts: Telemetry, value: Any) -> None:
    """One request in which every name is ``value``."""
    with tts.synthesis("Hello", value, value, stream=True) as s:
        with s.lookup(value):
            pass
        s.skipped(value)
        with s.attempt(value, value, remote=True) as attempt:
            list(attempt.stream([TONE], PCM16(16000)))
        with s.cache_write(value):
            pass
        s.score(value, 4.5)
        s.encoded(value, 0.1)
    with tts.synthesis("Hello") as s:
        with s.lookup("memory") as lookup:
            lookup.found(TONE, value, value, audio=PCM16(16000))
        s.deliver(TONE, PCM16(16000))
    with tts.synthesis("Hello") as s:
        s.coalesced(value, value)
    with tts.probe(value, value):
        pass
    tts.provider(value).available(True)
    tts.cache_evicted(value, value)
    tts.observe_cache(value, entries=lambda: 1)
    with tts.synthesis(f"{value}" if isinstance(value, str) else "Hello") as s, pytest.raises(RuntimeError):
        raise RuntimeError(value)


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())


NAMES = [
    UNPAIRED, "\x1b]52;c;aGk=\x07", "a\nb\tc\r", "\u202egpj", "\x00", "\x9b31m", "x" * 10**6, 7, 7.5, True, ["x"], {"a": 1}, b"amy\xff",
    Voice.AMY, Plain.AMY, Modern.AMY, Broken(), object, np.str_("amy"), np.array([1, 2]), ("amy",), 10**5000,
]  # fmt: skip


@pytest.mark.parametrize("value", NAMES, ids=range(len(NAMES)))
def test_a_request_is_counted_whatever_its_names_are(value: Any) -> None:
    """All requests are counted, every encoder takes every point and span, and nothing that reaches a terminal controls it."""
    exported = Exported()
    speak_as(exported.tts, value)
    exported_points = exported.points()
    assert sum(point.value for point in exported_points[semconv.SYNTHESIS_REQUESTS.name]) == 4
    assert len(exported.spans.get_finished_spans()) == 4 + 1 + 1 + 1


@given(st.text(st.characters(categories=None), max_size=300))
def test_any_text_becomes_a_name_and_a_text(value: str) -> None:
    """A cleaned string is exactly str, can be encoded, is bounded, and cleaning it again changes nothing but an ellipsis."""
    for cleaned in (clean.name(value), clean.text(value)):
        assert type(cleaned) is str
        cleaned.encode()
        assert len(cleaned) <= len(value) + 1
    assert "\n" not in clean.name(value)
    assert clean.text(clean.text(value)) == clean.text(value)
    if value.isprintable() and len(value) <= LONGEST_NAME:
        assert clean.name(value) == clean.text(value) == value


IDS = st.text(st.characters(categories=None), min_size=1, max_size=200) | st.text("ab", min_size=126, max_size=132)


@given(st.lists(IDS, min_size=2, max_size=6, unique=True), st.text("x", min_size=118, max_size=130))
def test_any_text_becomes_an_id_and_different_ones_stay_different(ids: list[str], beginning: str) -> None:
    """On one line, at most 128 code points, found by what was given and by what is recorded."""
    different = {*ids, *(beginning + one for one in ids)}
    recorded = {clean.identifier(one) for one in different}
    assert len(recorded) == len(different)
    for one in recorded:
        assert one is not None
        assert type(one) is str
        assert len(one) <= LONGEST_NAME
        assert clean.name(one) == clean.identifier(one) == one
        one.encode()


@pytest.mark.parametrize(
    ("given_", "id"),
    [
        (7, "7"),
        (b"call", "call"),
        (Voice.AMY, "amy"),
        (PurePosixPath("a/b"), "a/b"),
        (True, "True"),
        (None, "around"),
        ("", None),
    ],
)
def test_an_id_of_any_type_is_a_text(given_: Any, id: str | None) -> None:
    """As `str` makes it; None leaves the conversation around, and an empty one means none."""
    exported = Exported()
    with (
        exported.tts.conversation("around"),
        exported.tts.conversation(given_),
        exported.tts.synthesis("Hello", conversation=given_),
    ):
        pass
    assert (exported.spans.get_finished_spans()[0].attributes or {}).get("gen_ai.conversation.id") == id


def test_an_enumeration_is_one_label_however_it_is_written() -> None:
    """The member of any kind of enumeration, its value and numpy's string are the same voice."""
    exported = Exported()
    for voice in (Voice.AMY, Plain.AMY, Modern.AMY, np.str_("amy"), b"amy", "amy"):
        with exported.tts.synthesis("Hello", voice):  # type: ignore[arg-type]
            pass
    [point] = exported.points()[semconv.SYNTHESIS_REQUESTS.name]
    assert (point.attributes["tts.voice"], point.value) == ("amy", 6)


NUMBERS: list[tuple[Any, float | None]] = [
    (np.float32(2), 2), (np.float64(2), 2), (np.int64(2), 2), (np.uint8(2), 2), (np.array(2), 2), (np.array(2.0), 2), (Decimal(2), 2),
    (Fraction(4, 2), 2), (True, 1), (2, 2), (2.0, 2), (np.bool_(True), 1),
    (2**70, None), (10**400, None), (Decimal("1e999"), None), (Decimal("NaN"), None), (Fraction(10**400, 3), None), (1e300, None),
    (float("nan"), None), (float("inf"), None), (float("-inf"), None), (-1, None), (np.float32("nan"), None), ("2", None), (b"2", None),
    ([2], None), (np.array([2]), None), (np.array([1, 2]), None), (2j, None), (Broken(), None), (object(), None),
]  # fmt: skip


@pytest.mark.parametrize(("given_", "exact"), NUMBERS, ids=range(len(NUMBERS)))
def test_a_number_of_any_library_is_recorded_or_left_out(
    caplog: pytest.LogCaptureFixture, given_: Any, exact: float | None
) -> None:
    """Through every call that takes one: what is finite and in range counts exactly, all else costs itself, with a warning."""
    exported = Exported()
    with exported.tts.synthesis("Hello") as s:
        s.queued(given_)
        s.score("mos", given_)
        s.encoded("mp3", given_)
        with s.lookup("memory") as lookup:
            lookup.found(object(), duration=given_)
    exported.tts.cache_evicted("memory", "size", given_)
    exported.tts.observe_cache("memory", entries=lambda: given_, size=lambda: 2)
    exported_points = exported.points()
    for metric in (semconv.QUEUE_WAITING, semconv.QUALITY_SCORE, semconv.ENCODE_DURATION):
        assert [point.sum for point in exported_points.get(metric.name, [])] == ([] if exact is None else [exact])
    for metric in (semconv.CACHE_EVICTIONS, semconv.CACHE_ENTRIES):
        assert [(point.value, type(point.value)) for point in exported_points.get(metric.name, [])] in (
            [] if exact is None else [(exact, int)], [] if exact is None else [(exact, float)],
        )  # fmt: skip
    assert [point.value for point in exported_points[semconv.CACHE_SIZE.name]] == [2]
    assert [point.value for point in exported_points[semconv.SYNTHESIS_REQUESTS.name]] == [1]
    assert bool(caplog.records) is (exact is None)


def test_sums_stay_in_range() -> None:
    """However often the largest amount is added, the total is a number that OTLP carries, or is left out."""
    exported = Exported()
    for _ in range(1100):
        exported.tts.cache_evicted("memory", "size", 2**53)
    exported.tts.cache_evicted("disk", "size", 1)
    assert [point.value for point in exported.points()[semconv.CACHE_EVICTIONS.name]] == [1]


def test_a_metric_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the metric, the value and what is allowed; the second value that is no use says nothing."""
    exported = Exported()
    with exported.tts.synthesis("Hello") as s:
        s.queued(float("nan"))
        s.queued(-2)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert all(words in record.getMessage() for words in ("nan", semconv.QUEUE_WAITING.name, "0 or more"))


@pytest.mark.parametrize("price", [-1, True, "2", 10**400, float("inf"), np.float32("nan"), None, [1], 2**60])
def test_a_price_that_is_none_is_refused(price: Any) -> None:
    """Whatever it is: with the provider, the model and the value."""
    with pytest.raises(ValueError, match="The price of piper / joe is"):
        Prices({"piper": {"joe": price}})
    assert Prices({"piper": Decimal(2)}).cost("piper", "joe", 10**6) == 2


class TestCallbacks:
    """A callback of the host's costs its own point only."""

    @pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit])
    def test_one_that_raises(self, caplog: pytest.LogCaptureFixture, error: type[BaseException]) -> None:
        """Whatever it raises, everything else is exported, and again the next time."""
        exported = Exported()

        def fail() -> float:
            raise error

        exported.tts.observe_cache("broken", entries=fail)
        exported.tts.observe_cache("memory", entries=lambda: 3)
        for _ in range(2):
            assert [point.value for point in exported.points()[semconv.CACHE_ENTRIES.name]] == [3]
        assert [r.levelno for r in caplog.records if r.levelno >= logging.WARNING] == [logging.WARNING]

    def test_one_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is waited for once, is not called again before it has returned, and has its point back afterwards."""
        monkeypatch.setattr(callback, "PATIENCE_S", 0.05)
        exported, go_on, calls = Exported(), threading.Event(), []

        def hang() -> float:
            calls.append(1)
            go_on.wait()
            return 5

        exported.tts.observe_cache("slow", entries=hang)
        exported.tts.observe_cache("memory", entries=lambda: 3)
        for _ in range(3):
            assert [point.value for point in exported.points()[semconv.CACHE_ENTRIES.name]] == [3]
        assert len(calls) == 1
        go_on.set()
        while sorted(point.value for point in exported.points()[semconv.CACHE_ENTRIES.name]) != [3, 5]:
            pass  # as long as the thread takes to return

    def test_one_that_hangs_is_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A new callback for the same tier does not wait behind the old one."""
        monkeypatch.setattr(callback, "PATIENCE_S", 0.05)
        exported, go_on = Exported(), threading.Event()
        exported.tts.observe_cache("memory", entries=lambda: go_on.wait() and 5.0)
        generate_latest(exported.registry)
        monkeypatch.setattr(callback, "PATIENCE_S", 30)
        exported.tts.observe_cache("memory", entries=lambda: 3)
        assert [point.value for point in exported.points()[semconv.CACHE_ENTRIES.name]] == [3]
        go_on.set()
