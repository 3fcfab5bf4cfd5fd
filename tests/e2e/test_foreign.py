"""Readers over a real Prometheus and Jaeger that hold what others sent under our names: what is good beside it stays exact."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import pytest
from click.testing import CliRunner

from otel_tts import semconv
from otel_tts.cli import main
from otel_tts.history import History, open_history
from otel_tts.live import app
from otel_tts.settings import HistorySettings
from tests.e2e.stack import Stack, until
from tests.e2e.test_masking import attribute, mapping, several
from tests.e2e.test_neighbours import NAN, exported, send, total
from tests.live.test_pages import _forgotten, one

__all__ = ["_forgotten"]  # a fixture

OUTCOME = [attribute("tts.outcome", "ok")]
INFINITE = {"doubleValue": "Infinity"}


def histogram(**fields: Any) -> dict[str, Any]:
    """`tts.synthesis.duration` with one point of three requests."""
    bounds = list(semconv.SYNTHESIS_DURATION.buckets)
    point = {
        "startTimeUnixNano": str(time.time_ns() - 10**9), "timeUnixNano": str(time.time_ns()),
        "attributes": OUTCOME, "count": "3", "sum": 3,
        "explicitBounds": bounds, "bucketCounts": ["3", *("0" for _ in bounds)],
    } | fields  # fmt: skip
    return {"name": "tts.synthesis.duration", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}}


def bucket(*attributes: dict[str, Any], name: str = "tts.synthesis.duration.seconds.bucket") -> dict[str, Any]:
    """A gauge in the place of a bucket."""
    point = {"timeUnixNano": str(time.time_ns()), "asDouble": 7, "attributes": [*OUTCOME, *attributes]}
    return {"name": name, "gauge": {"dataPoints": [point]}}


def level(name: str, value: Any) -> dict[str, Any]:
    """A gauge of ours."""
    point = {
        "timeUnixNano": str(time.time_ns()),
        "asDouble": value,
        "attributes": [attribute("gen_ai.provider.name", "\x1b[31mp")],
    }
    return {"name": name, "gauge": {"dataPoints": [point]}}


def metrics() -> Iterator[dict[str, Any]]:
    """What Prometheus takes under names of ours."""
    requests = semconv.SYNTHESIS_REQUESTS.name
    for value in ("NaN", "Infinity", "-Infinity", -7.0):
        yield total(requests, attributes=OUTCOME, asInt=None, asDouble=value)
        yield level(semconv.PROVIDER_AVAILABLE.name, value)
        yield level(semconv.SYNTHESIS_ACTIVE.name, value)
    yield total(requests, flags=1)
    yield bucket()
    yield from (bucket(attribute("le", bound)) for bound in ("abc", "NaN", "", "1"))
    yield bucket(attribute("le", "1"), name="tts.stream.underrun.seconds.bucket")
    yield histogram(explicitBounds=[1.0, 0.1], bucketCounts=["1", "1", "1"])
    yield histogram(explicitBounds=["NaN", 1.0], bucketCounts=["1", "1", "1"])
    yield histogram(bucketCounts=["1"] * 50)
    yield histogram(explicitBounds=[], bucketCounts=[])
    yield histogram(count=str(2**64 - 1), sum="Infinity")
    late = [*OUTCOME, attribute(semconv.UNDERRUN_CAUSE.key, "provider")]
    yield histogram(attributes=late) | {"name": semconv.STREAM_UNDERRUN.name}
    quantiles = [{"quantile": 0.5, "value": "NaN"}]
    point = {"timeUnixNano": str(time.time_ns()), "count": "3", "sum": 1, "quantileValues": quantiles, "attributes": OUTCOME}
    yield {"name": "tts.synthesis.duration", "unit": "s", "summary": {"dataPoints": [point]}}


VALUES: list[dict[str, Any]] = [
    NAN, INFINITE, {"intValue": "-9223372036854775808"}, {"stringValue": "\x1b]52;c;x\x07"}, {"boolValue": True}, {"bytesValue": "QUJD"},
    {}, several(NAN, {}), mapping(attribute("a", NAN)), {"doubleValue": -1e308}, {"stringValue": ""},
]  # fmt: skip
TIMES = (0, 1, 2**63 - 1, 2**63, 2**64 - 1)


def spans(random_: random.Random, now: int) -> Iterator[dict[str, Any]]:
    """Syntheses of which parts are something else, in traces with circles and without parents."""
    keys = [
        each.key for each in (semconv.OUTCOME, semconv.TEXT_LENGTH, semconv.AUDIO_DURATION, semconv.COST, semconv.FALLBACK_USED)
    ]
    for _ in range(150):
        own, other = (f"{random_.randrange(1, 5):016x}" for _ in range(2))  # the same ones in other traces, and twice in one
        yield {
            "traceId": f"{random_.randrange(1, 40):032x}", "spanId": own, "parentSpanId": random_.choice(("", own, other)),
            "name": random_.choice(("tts.synthesize", "text_to_speech", "", "\x1b[31m")), "kind": random_.choice((0, 1, 99)),
            "startTimeUnixNano": str(random_.choice((now, now - 10**13, *TIMES))),
            "endTimeUnixNano": str(random_.choice((now, now + 10**13, *TIMES))),
            "attributes": [attribute(key, random_.choice(VALUES)) for key in random_.sample(keys, 3)],
            "events": [{"name": "tts.first_audio", "timeUnixNano": str(random_.choice((now, *TIMES)))}],
            "links": [{"traceId": "00" * 16, "spanId": "00" * 8}],
        }  # fmt: skip


def traced(service: Any, *spans: dict[str, Any]) -> dict[str, Any]:
    """Spans of a service."""
    resource = {"attributes": [attribute("service.name", service)]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": spans}]}]}


def synthesis(trace_id: str, span_id: str, now: int) -> dict[str, Any]:
    """A good one."""
    return {
        "traceId": trace_id, "spanId": span_id, "name": "tts.synthesize", "kind": 1, "attributes": OUTCOME,
        "startTimeUnixNano": str(now - 10**9), "endTimeUnixNano": str(now),
    }  # fmt: skip


@contextmanager
def reading(stack: Stack) -> Iterator[tuple[History, dict[str, str]]]:
    """The history that the stack keeps, and the variables that lead there."""
    environ = {"OTEL_TTS_PROMETHEUS_URL": stack.prometheus, "OTEL_TTS_JAEGER_URL": stack.traces, "COLUMNS": "150"}
    yield open_history(HistorySettings.load(environ)), environ


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_good_is_exact_beside_whatever_others_sent(own_stack: Stack, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command and page has an answer, never a stack trace; what cannot be read is counted; the good service has its numbers."""
    now = time.time_ns()
    send(own_stack, "metrics", exported("good", histogram()))
    send(own_stack, "metrics", exported("good", total("tts.synthesis.requests", attributes=OUTCOME, asInt="3")))
    good = {("a" * 32, "1" * 16), ("b" * 32, "1" * 16), ("c" * 32, "2" * 16)}  # one id of a span in two traces
    send(own_stack, "traces", traced("good", *(synthesis(trace_id, span_id, now) for trace_id, span_id in good)))
    for number, metric in enumerate(metrics()):
        send(own_stack, "metrics", exported(f"foreign {number}", metric))
    hostile = list(spans(random.Random(seed), now))
    for number, service in enumerate(("hostile", "", {"bytesValue": "QUJD"}, NAN, several())):
        send(own_stack, "traces", traced(service, *hostile[30 * number : 30 * (number + 1)]))
    until(lambda: own_stack.value('count(tts_synthesis_duration_seconds_count{service_name=~"foreign.*"})') >= 5, "the metrics")
    until(lambda: len([own_stack.spans(trace_id) for trace_id, _ in good]) == 3, "the traces")
    send(own_stack, "traces", traced("later", synthesis("d" * 32, "d" * 16, now)))
    until(lambda: own_stack.spans("d" * 32), "the last span")
    with reading(own_stack) as (history, environ):
        end = time.time()
        for metric in semconv.METRICS:
            levels = [line.points[0].value for line in history.series(metric, end - 600, end, 600, metric.attributes)]
            assert all(isfinite(value) for value in levels if isinstance(value, float)), metric
        history.aggregates(end - 600, end)
        assert {service.name: service.requests for service in history.services(end - 600, end)}["good"] == 3
        [row] = history.aggregates(end - 600, end, service="good")
        assert (row.request_count, row.request_ok) == (3, 3)
        requests = [request for request in history.requests(limit=1000) if request.service == "good"]
        assert {(request.trace_id, request.span_id) for request in requests} == good
        assert {(request.outcome, request.duration) for request in requests} == {("ok", 1.0)}
        assert history.unreadable > 0
        traces = sorted({span["traceId"] for span in hostile})[:8]
        for command in (
            ["status"],
            ["status", "--service", "good"],
            ["requests"],
            ["cardinality"],
            *(["trace", each] for each in traces),
        ):
            for options in ([], ["--json"]):
                result = CliRunner().invoke(main, [*command, *options], env=environ)
                assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
                assert "Traceback" not in result.output
                assert "\x1b" not in result.output
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        for page in app.PAGES:
            shown = one(page.title).run()
            assert not shown.exception, page.title
