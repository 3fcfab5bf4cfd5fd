"""The pytest plugin, as a team uses it that has nothing but this package."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from otel_tts import PCM16
from otel_tts.testing.capture import Capture

pytest_plugins = ["pytester"]

SECOND = b"\x00\x10" * 8000

SERVICE = """
import otel_tts

tts = otel_tts.Telemetry(voices=["joe"])
kept = []


def speak(text="hello", provider="piper"):
    with tts.synthesis(text=text, voice="joe") as synthesis:
        with synthesis.lookup("memory"):
            pass
        with synthesis.attempt(provider) as attempt:
            attempt.audio(bytes(16000), otel_tts.PCM16(8000))
"""

TEAM = """
import pytest
from opentelemetry import trace

import otel_tts
import service
from otel_tts.core.guard import guard


def whole_picture(capture_tts):
    (tree,) = capture_tts.tree()
    assert [tree[0], [child[0] for child in tree[2]]] == ["tts.synthesize", ["text_to_speech"]]
    metrics = capture_tts.metrics()
    assert {name: [value for _, value in points] for name, points in metrics.items() if name != "tts.provider.health.age"} == {
        "gen_ai.client.operation.duration": [1],
        "tts.attempt.duration": [1],
        "tts.attempt.real_time_factor": [1],
        "tts.audio.silence_ratio": [1],
        "tts.audio.clipping_ratio": [1],
        "tts.audio.trailing_silence": [1],
        "tts.cache.lookups": [1],
        "tts.provider.available": [1],
        "tts.synthesis.audio": [1.0, 1.0],
        "tts.synthesis.characters": [5],
        "tts.synthesis.duration": [1],
        "tts.synthesis.requests": [1],
        "tts.usage.unpriced": [1],
    }


def test_first(capture_tts):
    service.speak()
    whole_picture(capture_tts)


def test_second(capture_tts):
    service.speak()
    whole_picture(capture_tts)


def test_leaves_things_behind(capture_tts):
    service.kept.append(service.tts.synthesis(text="open", stream=True))
    service.tts.synthesis(text="dropped")
    dropped = service.tts.synthesis(text="dropped", stream=True)
    stream = dropped.stream(iter([bytes(100)] * 3), "piper", audio=otel_tts.PCM16(8000))
    next(stream)
    with trace.get_tracer("host").start_as_current_span("the host's"):
        pass
    own = capture_tts.telemetry(voices=["ann"])
    own.provider("polly").available(False)
    own.observe_cache("memory", entries=lambda: 7, size=lambda: 7)
    own.synthesis(text="dropped")
    service.kept.append(own.synthesis(text="open", stream=True))


def test_finds_nothing(capture_tts):
    assert capture_tts.tree() == []
    assert capture_tts.total("tts.synthesis.active") == 0
    # What the service's own Telemetry knows of its providers is no leak: it lives on.
    state = {"tts.provider.available", "tts.provider.health.age"}
    assert capture_tts.metrics().keys() <= state
    assert capture_tts.points("tts.provider.available", {"gen_ai.provider.name": "polly"}) == []


def test_what_ends_late_is_not_seen_on_telemetry_of_another_test(capture_tts):
    with service.kept.pop():
        pass
    assert capture_tts.tree() == []


def test_faults_are_raised(capture_tts):
    with pytest.raises(ValueError, match="a score is a number of 0 or more"):
        capture_tts.telemetry().synthesis(text="hello").score("mos", -1)


def test_faults_are_logged_without_the_fixture(caplog):
    assert not guard.strict
    otel_tts.Telemetry().synthesis(text="hello").score("mos", -1)
    assert "Telemetry failed in Synthesis.score (MisuseError), called at " in caplog.text
    assert "The score mos is -1; a score is a number of 0 or more." in caplog.text


def test_telemetry_of_its_own_and_of_the_service_are_one_picture(capture_tts):
    service.speak()
    with capture_tts.telemetry(voices=["joe"]).synthesis(text="hello", voice="joe"):
        pass
    assert [len(synthesis.attempts) for synthesis in capture_tts.syntheses(outcome="ok")] == [1, 0]
    assert capture_tts.total("tts.synthesis.requests", {"tts.voice": "joe"}) == 2
"""


def run(pytester: pytest.Pytester) -> pytest.RunResult:
    """A team's test run, in a process of its own and without our other plugins, of which some load what is heavy."""
    others = (
        f"-pno:{plugin}" for plugin in ("cacheprovider", "anyio", "asyncio", "pytest_cov", "hypothesispytest", "xdist", "timeout")
    )
    return pytester.runpytest_subprocess("-Werror", *others, timeout=60)


def test_the_plugin_loads_nothing_until_it_is_used(pytester: pytest.Pytester) -> None:
    """Being installed costs other people's tests nothing."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded():
            assert "otel_tts.testing" in sys.modules
            assert {"opentelemetry", "numpy", "grpc", "google.protobuf", "otel_tts.testing.capture"} & set(sys.modules) == set()
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_a_team_with_a_global_telemetry(pytester: pytest.Pytester) -> None:
    """Whole pictures are exact in every test, nothing leaks from one to the next, and faults are raised."""
    pytester.makepyfile(service=SERVICE, test_team=TEAM)
    run(pytester).assert_outcomes(passed=8)


MANY = """
import otel_tts
import pytest

tts = otel_tts.Telemetry()


@pytest.mark.parametrize("number", range(3))
def test_names_are_those_that_were_given(capture_tts, number):
    own = f"{number}-0"
    for i in range(60 if number < 2 else 1):
        name = f"{number}-{i}"
        with tts.synthesis(text="hello", voice=name) as synthesis, synthesis.attempt(name, model=name) as attempt:
            attempt.audio(bytes(16000), otel_tts.PCM16(8000))
    assert capture_tts.total("tts.synthesis.requests", {"tts.voice": own}) == 1
    assert capture_tts.total("tts.attempt.duration", {"gen_ai.provider.name": own, "gen_ai.request.model": own}) == 1
    if number < 2:
        assert capture_tts.total("tts.attempt.duration", {"gen_ai.request.model": "_OTHER"}) > 0
"""


def test_a_test_has_all_places_for_names(pytester: pytest.Pytester) -> None:
    """Models and voices of earlier tests in the same process do not make those of a later one `_OTHER`."""
    pytester.makepyfile(test_many=MANY)
    run(pytester).assert_outcomes(passed=3)


def test_a_host_with_providers_of_its_own(pytester: pytest.Pytester) -> None:
    """The fixture listens in on them, and leaves them working."""
    pytester.makepyfile(
        service=SERVICE,
        conftest="""
            from opentelemetry import metrics, trace
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import InMemoryMetricReader
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor
            from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

            spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
            trace.set_tracer_provider(TracerProvider())
            trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))
            metrics.set_meter_provider(MeterProvider([reader]))

            def pytest_sessionfinish():
                with trace.get_tracer("host").start_as_current_span("after all tests"):
                    pass
                names = [span.name for span in spans.get_finished_spans()]
                assert names == ["text_to_speech", "tts.synthesize", "the host's", "after all tests"], names
                (resource,) = reader.get_metrics_data().resource_metrics
                assert "tts.synthesis.requests" in [metric.name for metric in resource.scope_metrics[0].metrics]
        """,
        test_host="""
            import service
            from opentelemetry import trace

            def test_all_is_captured(capture_tts):
                service.speak()
                with trace.get_tracer("host").start_as_current_span("the host's"):
                    pass
                assert [span.name for span in capture_tts.spans] == ["text_to_speech", "tts.synthesize", "the host's"]
                assert capture_tts.total("tts.synthesis.requests", {"tts.outcome": "ok", "tts.voice": "joe"}) == 1

            def test_and_none_of_it_stays(capture_tts):
                assert (capture_tts.spans, capture_tts.points("tts.synthesis.requests")) == ([], [])
        """,
    )
    run(pytester).assert_outcomes(passed=2)


def test_a_missing_synthesis_is_said_for_people(capture_tts: Capture) -> None:
    """The message tells what was looked for and what there was."""
    with pytest.raises(AssertionError) as none:
        capture_tts.synthesis()
    assert str(none.value) == "Expected one synthesis with any properties, found 0. All of them: []"
    with capture_tts.telemetry().synthesis(text="hello") as synthesis:
        for provider in ("piper", "polly"):
            with pytest.raises(TimeoutError), synthesis.attempt(provider):
                raise TimeoutError
    with pytest.raises(AssertionError) as other:
        capture_tts.synthesis(outcome="ok", cache_result="hit")
    assert str(other.value) == (
        "Expected one synthesis with {'outcome': 'ok', 'cache_result': 'hit'}, found 0. "
        "All of them: [\"error by ['piper', 'polly'], cache bypass\"]"
    )


@pytest.mark.parametrize(
    ("metric", "attributes", "message"),
    [
        ("tts.synthesis.request", {}, "No metric is named tts.synthesis.request. Did you mean tts.synthesis.requests?"),
        ("tts.cache.lookups", {"cache.tier": "x"}, "tts.cache.lookups has no attribute cache.tier. Did you mean tts.cache.tier?"),
        ("tts.synthesis.requests", {"tts.outcome": "okay"}, "tts.outcome is never 'okay'. Did you mean ok?"),
        ("tts.queue.wait", {"zzz": "x"}, "tts.queue.wait has no attribute zzz. There are: none."),
    ],
)
def test_what_cannot_be_is_no_zero(metric: str, attributes: dict[str, str], message: str, capture_tts: Capture) -> None:
    """A misspelt name would make an assertion that nothing happened pass for ever."""
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        capture_tts.total(metric, attributes)
    assert str(error.value) == message
    assert capture_tts.total("a.metric.of.the.host") == 0


def test_the_fake_clock_times_a_stream(capture_tts: Capture) -> None:
    """First byte and first audio are exact: half a second for the engine, a quarter of silence before the voice."""

    def engine() -> Iterator[bytes]:
        capture_tts.clock.advance(0.5)
        yield bytes(4000) + SECOND
        capture_tts.clock.advance(0.1)

    stream = capture_tts.telemetry().synthesis(text="hello", stream=True).stream(engine(), "piper", audio=PCM16(8000))
    assert len(list(stream)) == 1
    synthesis = capture_tts.synthesis(outcome="ok", cache_result="bypass")
    assert (synthesis.first_byte, synthesis.first_audio) == (0.5, 0.75)
    assert [event.name for event in synthesis.attempts[0].span.events] == ["tts.first_byte", "tts.first_audio"]
