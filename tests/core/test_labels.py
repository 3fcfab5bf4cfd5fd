"""Bounded labels: whatever callers send, metrics keep a known number of series, and memory with them."""

from __future__ import annotations

import contextvars
import gc
import tracemalloc
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, MeterProvider
from opentelemetry.trace import NoOpTracerProvider

from otel_tts import PCM16, Telemetry, semconv
from otel_tts.core.labels import Labels, LabelSets
from otel_tts.semconv import METRICS, SYNTHESIS_REQUESTS, VOICE, Metric
from otel_tts.testing.capture import Capture

DISTINCT = 100_000
TONE = b"\x00\x40\x00\xc0" * 400  # 50 ms, the shortest that is heard


def test_the_first_values_seen_are_kept() -> None:
    """Without a declaration the first 50 values have a label of their own; a missing value has one too."""
    labels = Labels(VOICE)
    seen = [labels.bound(f"voice-{i}") for i in range(60)]
    assert seen == [f"voice-{i}" for i in range(50)] + ["_OTHER"] * 10
    assert [labels.bound(value) for value in ("voice-3", "voice-55", None, "", "_OTHER", "_NONE")] == [
        "voice-3", "_OTHER", "_NONE", "_NONE", "_OTHER", "_NONE",
    ]  # fmt: skip


def test_declared_values_are_kept_and_no_others() -> None:
    """A declaration closes the set, also an empty one."""
    labels = Labels(VOICE, ["amy"])
    assert [labels.bound(value) for value in ("amy", "joe", None)] == ["amy", "_OTHER", "_NONE"]
    assert Labels(VOICE, []).bound("amy") == "_OTHER"


def test_a_value_that_is_no_name_takes_no_place() -> None:
    """A label is a name; a whole text that came as a voice is none."""
    labels = Labels(VOICE)
    assert labels.bound("x" * 129) == "_OTHER"
    assert labels.bound("x" * 128) == "x" * 128


def test_a_refused_request_proves_no_voice_to_exist(capture_tts: Capture) -> None:
    """Voices and languages of rejected requests take no places, but are told apart once a good request has named them."""
    tts = capture_tts.telemetry()
    for i in range(100):
        with tts.synthesis("Hello", f"made up {i}", "xx") as s:
            s.fail(outcome="rejected")
    for outcome in (None, "rejected"):
        with tts.synthesis("Hello", "amy", "en") as s:
            if outcome:
                s.fail(outcome=outcome)
    made_up = {"tts.voice": "_OTHER", "tts.language": "_OTHER", "tts.outcome": "rejected"}
    amy = {"tts.voice": "amy", "tts.language": "en"}
    assert sorted(capture_tts.metrics()["tts.synthesis.requests"], key=str) == sorted(
        [(made_up, 100), (amy | {"tts.outcome": "ok"}, 1), (amy | {"tts.outcome": "rejected"}, 1)], key=str
    )


def test_span_names_are_bounded(capture_tts: Capture) -> None:
    """The model in a span's name is the bounded label, in its attribute what was asked for."""
    tts = capture_tts.telemetry(models=["joe"])
    with tts.synthesis("Hello") as s:
        for model in ("joe", "made up", None):
            with s.attempt("piper", model):
                pass
    assert [(span.name, (span.attributes or {}).get("gen_ai.request.model")) for span in capture_tts.spans[:-1]] == [
        ("text_to_speech joe", "joe"),
        ("text_to_speech _OTHER", "made up"),
        ("text_to_speech", None),
    ]


def test_a_callers_voice_is_cut_on_the_span(capture_tts: Capture) -> None:
    """A span keeps 128 code points of what the caller calls a voice and a language, and shows that there was more."""
    with capture_tts.telemetry().synthesis("Hello", "v" * 1000, "l" * 1000):
        pass
    view = capture_tts.synthesis()
    assert (view["tts.voice"], view["tts.language"]) == ("v" * 128 + "…", "l" * 128 + "…")


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric.label_sets], ids=lambda metric: metric.name)
def test_combinations_are_bounded(metric: Metric) -> None:
    """Every metric's attribute sets stay within its worst case, whatever values its labels and its closed attributes take."""
    sets = LabelSets(metric)
    closed = [attribute.values or (None,) for attribute in metric.attributes]
    attribute_sets = set()
    for i in range(3000):
        values = tuple(
            f"{i}" if attribute.limit else values[0] for attribute, values in zip(metric.attributes, closed, strict=True)
        )
        folded = sets.fold(values)
        attribute_sets.add(folded)
        assert [f == v for f, v, a in zip(folded, values, metric.attributes, strict=True) if not a.limit].count(False) == 0
    assert len(attribute_sets) <= metric.label_sets + 1
    assert metric.worst_case <= semconv.MAX_ATTRIBUTE_SETS


def test_a_full_metric_keeps_the_first_label() -> None:
    """When most places are taken a new combination is still told by its first label; when all are, by none; known ones stay."""
    sets = LabelSets(SYNTHESIS_REQUESTS)
    places = SYNTHESIS_REQUESTS.label_sets
    fine = [sets.fold((f"l{i}", "v", "ok")) for i in range(places - places // 3)]
    assert fine[-1] == (f"l{len(fine) - 1}", "v", "ok")
    assert sets.fold(("en", "amy", "ok")) == ("en", "_OTHER", "ok")
    assert sets.fold(("l0", "v", "error")) == ("l0", "v", "error")
    for i in range(places):
        sets.fold((f"m{i}", "v", "ok"))
    assert sets.fold(("de", "amy", "ok")) == ("_OTHER", "_OTHER", "ok")
    assert sets.fold(("en", "joe", "ok")) == ("en", "_OTHER", "ok")


def request(tts: Telemetry, i: int) -> None:
    """A request of a caller who never sends the same thing twice; its attempt fails as none has failed before."""
    error: type[Exception] = type(f"Error{i}", (Exception,), {})
    with tts.synthesis("Hello", f"voice {i}", f"lang {i}") as s, suppress(error), s.attempt(f"provider {i}", f"model {i}"):
        raise error


def eventful_request(tts: Telemetry, i: int) -> None:
    """The same, with everything else that a caller can bring a value for."""
    with tts.synthesis("Hello", f"voice {i}", f"lang {i}", stream=True) as s:
        with s.lookup(f"tier {i}") as lookup:
            if i % 3 == 0:
                lookup.found(b"..", f"cached {i}", f"model {i}", duration=1.0)
                return
        with suppress(ConnectionError), s.attempt(f"first {i}", f"model {i}"):
            raise ConnectionError
        with s.attempt(f"second {i}", f"model {i}") as attempt:
            list(attempt.stream([TONE], PCM16(16000)))
        s.encoded(f"format {i}", 0.1)
        background_request(tts, i)
        s.score(f"score {i}", 1.0)
        if i % 3 == 1:
            s.fail(error_type=f"type {i}")
    tts.cache_evicted(f"tier {i}", f"reason {i}")
    tts.observe_cache(f"tier {i}", entries=lambda: 1, size=lambda: 1)
    tts.provider(f"reported {i}").available(True)


def background_request(tts: Telemetry, i: int) -> None:
    """A request of a conversation, over a connection, with attributes of the application's, interrupted."""
    own = {"app.tenant": f"tenant {i}", "app.user": i}
    with tts.connection(f"second {i}"), tts.conversation(f"call {i}", kind="batch", attributes=own):
        request = contextvars.Context().run(
            tts.synthesis, "Hello", stream=True, conversation=f"call {i}", kind="batch", attributes=own
        )
        with request as s:
            attempt = s.attempt("second 1", f"model {i}")
            attempt.connection(reused=bool(i % 2))
            next(attempt.stream(iter([TONE, TONE]), PCM16(16000)))
            s.interrupt(heard=0.0)


class Series(MeterProvider):
    """A meter provider and its meter, that keep every attribute set they are ever given, and nothing else."""

    def __init__(self) -> None:
        self.seen: dict[str, set[frozenset[Any]]] = {}
        self._observed: dict[str, Any] = {}

    def get_meter(self, *_: Any, **__: Any) -> Any:
        """Itself."""
        return self

    def create_histogram(self, name: str, *_: Any, **__: Any) -> Any:
        """Each record is noted."""
        add = self.seen.setdefault(name, set()).add
        return SimpleNamespace(record=lambda value, attributes, context: add(frozenset(attributes.items())))

    def create_observable_counter(self, name: str, callbacks: Any, *_: Any) -> None:
        """All are noted when they are read: sums are never taken back."""
        self._observed[name] = callbacks[0]

    create_observable_up_down_counter = create_observable_gauge = create_observable_counter

    def export(self) -> dict[str, list[dict[str, Any]]]:
        """By metric, the attributes of all its points."""
        for name, observe in self._observed.items():
            self.seen[name] = {frozenset((o.attributes or {}).items()) for o in observe(CallbackOptions())}
        return {name: [dict(attributes) for attributes in attribute_sets] for name, attribute_sets in self.seen.items()}


def test_no_caller_can_make_series() -> None:
    """100,000 voices, languages, models, providers and exception classes: bounded series of every metric, bounded memory."""
    meters = Series()
    prices = {"cached 0": 1.0, "second 1": 1.0}
    tts = Telemetry(
        meter_provider=meters, tracer_provider=NoOpTracerProvider(), prices=prices, attributes={"app.tenant": 20}
    )  # fmt: skip
    for i in range(2000):  # then everything has its place, or none
        eventful_request(tts, i)
    gc.collect()
    tracemalloc.start()
    for i in range(2000, 2500):
        eventful_request(tts, i)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 20_000, "500 more callers left something behind"
    for i in range(DISTINCT):
        request(tts, i)
    worst = {metric.name: metric.worst_case for metric in METRICS}
    points = meters.export()
    assert {name: len(attribute_sets) for name, attribute_sets in points.items() if len(attribute_sets) > worst[name]} == {}
    assert {name for name, attribute_sets in points.items() if not attribute_sets} == {
        "rpc.server.call.duration",
        "tts.queue.wait",
        "tts.text.wait",
    }
    for metric in METRICS:
        for attribute in metric.attributes:
            values = {attributes.get(attribute.key) for attributes in points.get(metric.name, [])} - {None, "_OTHER", "_NONE"}
            assert values <= set(attribute.values) if attribute.values else len(values) <= attribute.limit, attribute.key
    tenants = {
        attributes["app.tenant"]
        for attribute_sets in points.values()
        for attributes in attribute_sets
        if "app.tenant" in attributes
    }
    assert len(tenants) == 21
    assert not any(
        {"app.user", "gen_ai.conversation.id"} & set(attributes)
        for attribute_sets in points.values()
        for attributes in attribute_sets
    )


@pytest.mark.parametrize(
    ("argument", "label"),
    [
        ("voices", "tts.voice"),
        ("languages", "tts.language"),
        ("providers", "gen_ai.provider.name"),
        ("models", "gen_ai.request.model"),
    ],
)
def test_a_string_is_one_label(capture_tts: Capture, argument: str, label: str) -> None:
    """A name in place of a list of names is that name, not its letters."""
    tts = capture_tts.telemetry(**{argument: "ada"})
    with tts.synthesis("Hello.", "ada", "ada") as s, s.attempt("ada", "ada") as attempt:
        attempt.audio(bytes(3200), PCM16(16000))
    labels = {attributes[label] for points in capture_tts.metrics().values() for attributes, _ in points if label in attributes}
    assert labels <= {"ada", "_NONE"}
    assert "ada" in labels
