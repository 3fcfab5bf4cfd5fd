"""The registry is the single source of truth, and it keeps its own rules."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_tts import semconv
from otel_tts.semconv import ERROR_TYPES, METRICS, SPANS, Attribute, Event, Instrument, Metric, Outcome
from otel_tts.service.config import ServiceConfig
from otel_tts.service.providers.config import OpenAISettings

PACKAGE = Path(semconv.__file__).parents[1]
REGISTRY = {name: value for name, value in vars(semconv).items() if isinstance(value, Metric | Attribute | Event)}


def name_of(entry: Metric | Attribute | Event) -> str:
    """The name of an entry of the registry, by which the world knows it."""
    return entry.key if isinstance(entry, Attribute) else entry.name


NAMES = {name_of(entry) for entry in REGISTRY.values()}
UCUM = {"s", "By", "dB", "1"}
BRACED = re.compile(r"\{[A-Za-z]+\}(/s)?")


def sources_without(name: str) -> list[Path]:
    """The modules of the package, generated ones left out, but those that are or stand in ``name`` at its top."""
    return sorted(path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / name) and "_pb2" not in path.name)


def module_name(path: Path) -> str:
    """A module as a test's id."""
    return path.relative_to(PACKAGE).as_posix()


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a module, parts of f-strings included and docstrings left out, with their lines."""
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def spelled_out(text: str) -> bool:
    """Whether a string is, or holds, a name that belongs to the registry: dotted, or as Prometheus writes a metric."""
    metrics = {metric.name.replace(".", "_") for metric in METRICS}
    words = {word.strip(".") for word in re.findall(r"[\w.]+", text)}
    series = words | {re.sub(r"(_(seconds|bytes|total|bucket|sum|count))+$", "", word) for word in words}
    return bool(re.match(r"(tts|gen_ai)\.", text) or words & {name for name in NAMES if "." in name} or series & metrics)


@pytest.mark.parametrize("path", sources_without("semconv"), ids=module_name)
def test_names_stand_in_the_registry_only(path: Path) -> None:
    """No module but the registry spells out the name of a metric, span, event or attribute."""
    assert [(line, text) for line, text in strings(path) if spelled_out(text)] == []


@pytest.mark.parametrize("path", sources_without("settings"), ids=module_name)
def test_variables_stand_in_the_settings_only(path: Path) -> None:
    """No module but the settings spells out one of our environment variables."""
    assert [(line, text) for line, text in strings(path) if "OTEL_TTS_" in text] == []


def test_the_scan_finds_what_it_forbids() -> None:
    """The scan sees names whole, in messages, in parts of f-strings and as series, and takes package paths for what they are."""
    assert all(
        map(
            spelled_out,
            ["tts.made_up", "gen_ai.", "see tts.outcome!", "rpc.method", "rate(tts_synthesis_audio_seconds_total[5m])"],
        )
    )
    assert not any(
        map(spelled_out, ["yap.tts.v1.TextToSpeech", "otel_tts.service", "call tts.synthesis() first", "exception", ""])
    )


def test_every_constant_has_a_name_of_its_own() -> None:
    """No two metrics, nor attributes, nor events share a name, and every metric is in ``METRICS``, once."""
    for kind in (Metric, Attribute, Event):
        names = Counter(
            value.key if isinstance(value, Attribute) else value.name for value in REGISTRY.values() if isinstance(value, kind)
        )
        assert [name for name, count in names.items() if count > 1] == []
    assert len({span.name for span in SPANS}) == len(SPANS)
    assert sorted(metric.name for metric in METRICS) == sorted(v.name for v in REGISTRY.values() if isinstance(v, Metric))


@pytest.mark.parametrize("name", sorted(NAMES | {span.name for span in SPANS}))
def test_names_follow_the_naming_rules(name: str) -> None:
    """Names are lower case, dotted, without ``_total``; a span's name may hold one attribute in braces."""
    assert re.fullmatch(r"([a-z][a-z0-9_]*)([. ][a-z][a-z0-9_]*)*( ?\{[a-z._]+\})?|\{[a-z._]+\}", name)
    assert not name.endswith(("_total", ".total"))
    assert all(field in NAMES for field in re.findall(r"\{(.+?)\}", name))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
class TestMetric:
    """Rules that every metric keeps."""

    def test_the_unit_is_ucum_or_an_annotation_and_not_in_the_name(self, metric: Metric) -> None:
        """Units are UCUM or in braces, and the name doesn't repeat them."""
        assert metric.unit in UCUM or BRACED.fullmatch(metric.unit)
        assert not {"seconds", "second", "milliseconds", "ms", "bytes", "ratio_percent", "percent"} & set(
            re.split(r"[._]", metric.name)
        )

    def test_no_gauge_has_unit_one(self, metric: Metric) -> None:
        """A gauge of unit ``1`` has two names in Prometheus, by the way it gets there."""
        assert metric.unit != "1" or metric.instrument not in (Instrument.GAUGE, Instrument.UP_DOWN_COUNTER)

    def test_buckets_are_those_of_a_histogram_floats_and_increasing(self, metric: Metric) -> None:
        """Histograms advise buckets, as strictly increasing floats; nothing else does."""
        assert bool(metric.buckets) == (metric.instrument is Instrument.HISTOGRAM)
        assert all(type(bound) is float for bound in metric.buckets)
        assert list(metric.buckets) == sorted(set(metric.buckets))

    def test_every_attribute_is_bounded(self, metric: Metric) -> None:
        """Each attribute on a metric has a closed set of values or a limit, never both."""
        assert [a.key for a in metric.attributes if bool(a.values) == bool(a.limit)] == []
        assert len(set(metric.keys)) == len(metric.keys)

    def test_the_worst_case_is_bounded_and_leaves_room(self, metric: Metric) -> None:
        """Whatever callers send, a metric has at most 1,500 attribute sets, ten of them for names it was told."""
        assert metric.worst_case <= 1500
        assert metric.label_sets >= 10 or not any(a.limit for a in metric.attributes)

    def test_it_is_described_in_a_sentence(self, metric: Metric) -> None:
        """The description is for people."""
        assert re.fullmatch(r"[A-Z0-9].+\.", metric.description)


def test_text_and_messages_never_stand_on_a_metric() -> None:
    """No metric carries text, lengths, messages or anything measured per request."""
    private = {semconv.TEXT, semconv.TEXT_LENGTH, semconv.EXCEPTION_MESSAGE, semconv.EXCEPTION_STACKTRACE}
    assert [metric.name for metric in METRICS if private & set(metric.attributes)] == []
    assert {a.type for metric in METRICS for a in metric.attributes} == {"string", "boolean"}


def test_outcomes_say_which_error_types_they_allow() -> None:
    """Every outcome has its error types, and only the good and the cancelled have none."""
    assert set(ERROR_TYPES) == set(Outcome)
    assert {outcome for outcome, types in ERROR_TYPES.items() if not types} == {Outcome.OK, Outcome.CANCELLED}
    assert set(Outcome) - {Outcome.OK, Outcome.CANCELLED, Outcome.REJECTED} == semconv.FAILURES


@pytest.mark.parametrize(
    ("metric", "threshold"),
    [
        (semconv.SYNTHESIS_DURATION, 0.8), (semconv.SYNTHESIS_DURATION, 1.2), (semconv.SYNTHESIS_DURATION, 2.5),
        (semconv.SYNTHESIS_DURATION, 3.75), (semconv.SYNTHESIS_FIRST_AUDIO, 0.8), (semconv.SYNTHESIS_FIRST_AUDIO, 1.2),
        (semconv.ATTEMPT_REAL_TIME_FACTOR, 1.0), (semconv.STREAM_UNDERRUN, 0.0),
    ],
    ids=lambda value: value.name if isinstance(value, Metric) else str(value),
)  # fmt: skip
def test_thresholds_are_bucket_bounds(metric: Metric, threshold: float) -> None:
    """What an objective or an alert asks can be answered exactly, without interpolation."""
    assert threshold in metric.buckets


def test_latencies_are_distinguished_beyond_the_default_timeouts() -> None:
    """What waits for a provider ends at its timeout, so no quantile of it lies beyond the last bucket by default."""
    timeouts = ServiceConfig.load({}).attempt_timeout, OpenAISettings.load({}).timeout
    waiting = [
        metric
        for metric in METRICS
        if metric.instrument is Instrument.HISTOGRAM and metric.unit == "s" and metric.name.startswith(("tts.", "gen_ai."))
    ]
    bounded_by_audio = {
        semconv.SYNTHESIS_TIME_TO_SILENCE
    }  # what is handed out after an interruption, which no provider is waited for
    assert all(metric.buckets[-1] > max(timeouts) for metric in waiting if metric not in bounded_by_audio)
