"""Both sources of history over the same traffic of one service: they tell the same."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tts import Telemetry, semconv
from otel_tts.history import Distribution, History, HistoryUnavailableError, RequestFilter, Trace, open_history, search
from otel_tts.sdk.store import Store
from otel_tts.semconv import METRICS, Instrument, Outcome
from otel_tts.service import ServiceConfig, serve
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from otel_tts.service.providers.espeak import Espeak
from otel_tts.settings import HistorySettings, Settings
from tests.commands.conftest import OTEL_TTS
from tests.e2e.stack import Stack, running, until
from tests.service.conftest import Scripted

TEMPO, TEMPO_OTLP = (os.environ.get(f"OTEL_TTS_TEST_TEMPO_{name}", "") for name in ("URL", "OTLP_URL"))
"""An empty Tempo that somebody has at hand: its API, and where it takes OTLP over HTTP."""
INTERVAL = 0.5
"""Seconds between exports of metrics."""


@dataclass(frozen=True)
class Both:
    """The two sources, and the moments before, between and after two bursts of traffic."""

    local: History
    remote: History
    moments: tuple[float, float, float]
    environ: dict[str, str]

    @property
    def variable(self) -> str:
        """The one that says where traces are."""
        return next(name for name in self.environ if name in ("OTEL_TTS_JAEGER_URL", "OTEL_TTS_TEMPO_URL"))

    @property
    def windows(self) -> list[tuple[float, float]]:
        """The bursts, and both together."""
        before, between, after = self.moments
        return [(before, between), (between, after), (before, after)]


class Service:
    """A service that exports everything twice: over OTLP, and into local files."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        store = Store(directory, max_age_s=1e9, max_bytes=2**30)
        resource = Resource.create({"service.name": "speech", "service.version": "1.2"})
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        for exporter in (OTLPSpanExporter(stack.otlp_grpc, insecure=True), store.span_exporter()):
            self.tracers.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
        exporters: tuple[MetricExporter, ...] = (OTLPMetricExporter(stack.otlp_grpc, insecure=True), store.metric_exporter())
        readers = [PeriodicExportingMetricReader(exporter, export_interval_millis=INTERVAL * 1000) for exporter in exporters]
        self.meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        self.telemetry = Telemetry(
            tracer_provider=self.tracers, meter_provider=self.meters, prices={"espeak": 4.0}, settings=Settings.load({})
        )

    def flush(self) -> float:
        """Export all there is; gives a moment after which exports say nothing new."""
        self.tracers.force_flush()
        self.meters.force_flush()
        return time.time()

    def close(self) -> None:
        """Export no more."""
        self.tracers.shutdown()
        self.meters.shutdown()


async def talk(service: Service) -> tuple[float, float, float]:
    """Two bursts of all kinds of requests; gives the moments around them."""
    broken = Scripted("broken", ConnectionError("It is gone."), voice="nobody")
    half = Scripted("half", Scripted.SECOND, ConnectionError("It is gone."), voice="somebody")
    slow = Scripted("slow", Scripted.SECOND, asyncio.Event(), voice="sleeper")
    config = ServiceConfig.load({}, port=0, probe_interval=0.0, stop_grace=0.0)
    async with AsyncExitStack() as exits:
        running = await exits.enter_async_context(
            serve(config, service.telemetry, providers=[broken, Espeak.create(), half, slow])
        )
        async with grpc.aio.insecure_channel(running.address) as channel:
            stub: Any = tts_pb2_grpc.TextToSpeechStub(channel)

            async def say(text: str, stream: bool, patience: float = 30.0, **fields: Any) -> None:
                request = tts_pb2.SynthesizeRequest(text=text, **fields)
                try:
                    if stream:
                        async for _ in stub.SynthesizeStream(request, timeout=patience):
                            pass
                    else:
                        await stub.Synthesize(request, timeout=patience)
                except grpc.aio.AioRpcError:
                    pass  # what became of it, history tells

            moments = [service.flush()]
            for burst in range(2):
                for number in range(4 + 3 * burst):
                    for stream in (False, True):
                        await say(f"Number {number} of {burst}, {stream}.", stream)
                        await say("Again.", stream)
                await say("", stream=False)
                await say("Who are you?", stream=True, voice="unheard-of")
                await say("Half a sentence.", stream=True, provider="half")
                await say("Too late.", stream=True, provider="slow", patience=0.3)
                await asyncio.sleep(2 * INTERVAL)  # both bursts are longer than two exports
                moments.append(await asyncio.to_thread(service.flush))
    before, between, after = moments
    return before, between, after


@pytest.fixture(scope="module", params=["jaeger", *(["tempo"] if TEMPO and TEMPO_OTLP else [])])
def both(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Both]:
    """Both sources, when all has arrived. Backends of their own: what is asked of them is everything."""
    elsewhere = {"TRACES_OTLP_URL": TEMPO_OTLP} if request.param == "tempo" else {}
    with running(tmp_path_factory.mktemp("stack"), **elsewhere) as stack:
        yield from _both(stack, tmp_path_factory, {"jaeger": stack.traces, "tempo": TEMPO}[request.param], request.param)


def _both(stack: Stack, tmp_path_factory: pytest.TempPathFactory, traces: str, backend: str) -> Iterator[Both]:
    directory = tmp_path_factory.mktemp("data")
    environ = {
        "OTEL_TTS_PROMETHEUS_URL": stack.prometheus,
        f"OTEL_TTS_{backend.upper()}_URL": traces,
        "OTEL_TTS_DATA_DIR": str(directory),
    }
    interval = {"OTEL_METRIC_EXPORT_INTERVAL": str(INTERVAL * 1000)}
    with closing(Service(stack, directory)) as service:
        moments = asyncio.run(talk(service))
        both = Both(
            open_history(HistorySettings.load({**interval, "OTEL_TTS_DATA_DIR": str(directory)})),
            open_history(HistorySettings.load({**interval, **environ})),
            moments,
            environ,
        )
        expected = [asdict(both.local.totals(*window)) for window in both.windows]
        until(lambda: [asdict(both.remote.totals(*window)) for window in both.windows] == expected, "the same counts")
        yield both


def test_the_same_rows(both: Both) -> None:
    """Overall, by provider and by language, of each burst and of both: counts, sums and quantiles are equal."""
    for window in both.windows:
        for by in ((), ("provider",), ("language",)):
            expected = both.local.aggregates(*window, by=by, service="speech", version="1.2")  # type: ignore[arg-type]
            assert both.remote.aggregates(*window, by=by, service="speech", version="1.2") == expected  # type: ignore[arg-type]
            assert sum(row.request_count for row in expected) > 0
    row = both.local.totals(*both.windows[-1])
    assert (row.request_count, row.request_ok) == (52, 44)
    assert (row.request_rejected, row.request_partial, row.request_deadline) == (4, 2, 2)
    assert both.remote.aggregates(*both.windows[-1], service="somebody else")[0].request_count == 0


def test_the_same_services(both: Both) -> None:
    """Who there was, with voices, languages, providers and errors."""
    for window in both.windows:
        assert [service.name for service in both.local.services(*window)] == ["speech"]
        assert both.remote.services(*window) == both.local.services(*window)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_same_timelines(both: Both, metric: semconv.Metric) -> None:
    """Every metric, by all of its attributes, of each burst."""
    for start, end in both.windows:
        expected = both.local.series(metric, start, end, end - start, metric.attributes)
        from_backend = both.remote.series(metric, start, end, end - start, metric.attributes)
        if metric is semconv.PROVIDER_HEALTH_AGE:  # each export tells its own
            expected, from_backend = ([(t.attributes) for t in timelines] for timelines in (expected, from_backend))  # type: ignore[misc]
        assert from_backend == expected


def test_windows_add_up_in_both(both: Both) -> None:
    """However the time is cut, the windows together are the whole."""
    start, _, end = both.moments
    total = both.local.totals(start, end).request_count
    for history in (both.local, both.remote):
        [timeline] = history.series(semconv.SYNTHESIS_DURATION, start - 1.5, end, (end - start + 1.5) / 3)
        values = [point.value for point in timeline.points]
        assert len(values) == 3
        assert sum(value.count for value in values if isinstance(value, Distribution)) == total


FILTERS = [
    RequestFilter(),
    RequestFilter(outcome="rejected"),
    RequestFilter(provider="espeak", service="speech", version="1.2"),
    RequestFilter(slower_than=0.2),
    RequestFilter(version="1.1"),
]


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_the_same_requests(both: Both, wanted: RequestFilter) -> None:
    """Every field of every request, whatever is asked for; and the latest of them first."""
    expected = both.local.requests(wanted, 1000)
    until(lambda: both.remote.requests(wanted, 1000) == expected, "the same requests")
    assert sorted(both.remote.every_request(wanted), key=lambda request: request.end, reverse=True) == expected
    assert {request.span_id for request in both.remote.requests(wanted, 3)} == {
        request.span_id for request in sorted(expected, key=lambda request: request.start)[-3:]
    }


def test_pages(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """More traces than one search may tell, some of them in the same second: all of them come, each once, the latest first."""
    monkeypatch.setattr(search, "_PAGE", 4)
    expected = both.local.requests(limit=1000)
    from_backend = list(both.remote.every_request())
    assert sorted(from_backend, key=lambda request: request.end, reverse=True) == expected
    seconds = [int(request.start) for request in from_backend]
    assert seconds == sorted(seconds, reverse=True)


def test_as_many_rows_as_were_counted(both: Both) -> None:
    """So that a reader can tell whether it has all."""
    for start, end in both.windows:
        wanted = RequestFilter(service="speech", ended_since=start, ended_before=end)
        counted = both.remote.totals(start, end).request_count
        assert len(list(both.remote.every_request(wanted))) == len(list(both.local.every_request(wanted))) == counted


def test_the_same_traces(both: Both) -> None:
    """Every span of every trace, with its attributes, events and place in the tree; by the whole id, and by its beginning."""
    start, _, end = both.moments
    ids = {request.trace_id for request in both.local.requests(limit=1000)}
    expected = both.local.traces(ids, start, end)
    assert len(expected) == len(ids)
    spans = sum(len(attributes_of(trace)) for trace in expected)
    until(lambda: sum(len(attributes_of(trace)) for trace in both.remote.traces(ids, start, end)) == spans, "all spans")
    assert list(map(attributes_of, both.remote.traces(ids, start, end))) == list(map(attributes_of, expected))
    for some in (min(ids), max(ids)):  # the least of so many most likely begins with a zero
        assert (
            attributes_of(both.remote.trace(some))
            == attributes_of(both.remote.trace(some[:12]))
            == attributes_of(both.local.trace(some))
        )
    assert both.remote.trace("f" * 32) is None
    assert both.remote.trace("f" * 12) is None


def attributes_of(trace: Trace | None) -> list[Any]:
    """All of a trace."""
    assert trace is not None
    return [(depth, asdict(replace(span, children=()))) for depth, span in trace.walk()]


def test_commands_read_both(both: Both) -> None:
    """`otel-tts requests` and `otel-tts trace` say the same of either source."""
    run = partial(subprocess.run, capture_output=True, text=True, timeout=60, check=True)
    remote = {**os.environ, **both.environ}
    local = {**remote, "OTEL_TTS_PROMETHEUS_URL": "", both.variable: ""}
    failed = [
        json.loads(run([*OTEL_TTS, "requests", "--outcome", "partial", "--json"], env=environ).stdout)["requests"]
        for environ in (local, remote)
    ]
    assert failed[0] == failed[1]
    assert [request["outcome"] for request in failed[0]] == [Outcome.PARTIAL] * 2
    drawn = [run([*OTEL_TTS, "trace", failed[0][0]["trace_id"][:12]], env=environ).stdout for environ in (local, remote)]
    assert drawn[0] == drawn[1]
    assert "partial" in drawn[0]


def test_what_is_not_there_is_said(both: Both) -> None:
    """No stack trace: who, what happened, and what to do. The half that answers is of use without the other."""
    prometheus, traces = both.environ["OTEL_TTS_PROMETHEUS_URL"], both.environ[both.variable]
    title = both.variable.split("_")[2].capitalize()
    nowhere = "http://127.0.0.1:9"
    start, _, end = both.moments
    history = open_history(HistorySettings.load({"OTEL_TTS_PROMETHEUS_URL": prometheus, both.variable: nowhere}))
    assert history.source == f"Prometheus at {prometheus} and {title} at {nowhere}"
    assert history.totals(start, start + 20).request_count > 0
    with pytest.raises(HistoryUnavailableError, match=rf"^{title} at http://127.0.0.1:9 does not answer\. Is it running, and is"):
        history.requests()
    history = open_history(HistorySettings.load({both.variable: traces}))
    assert history.requests()
    with pytest.raises(HistoryUnavailableError, match=r"^Nothing says where Prometheus is: set OTEL_TTS_PROMETHEUS_URL\.$"):
        history.totals(start, end + 20)
    history = open_history(HistorySettings.load({"OTEL_TTS_PROMETHEUS_URL": f"{traces}/api"}))
    with pytest.raises(HistoryUnavailableError, match=r"^Prometheus at .* (answered|does not answer as)"):
        history.totals(start, end + 20)
    environ = {**os.environ, "OTEL_TTS_PROMETHEUS_URL": nowhere, both.variable: nowhere}
    process = subprocess.run([*OTEL_TTS, "requests"], env=environ, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert process.stderr.startswith(f"Error: {title} at http://127.0.0.1:9 does not answer.")
    assert "Traceback" not in process.stderr


def test_counters_of_the_traffic_are_there(both: Both) -> None:
    """The comparison is about something: most metrics have had values."""
    start, _, end = both.moments
    silent = {m.name for m in METRICS if not both.local.series(m, start, end, end - start)}
    assert silent <= {
        metric.name
        for metric in METRICS
        if metric.instrument is Instrument.GAUGE
        or metric
        in (
            semconv.USAGE_COST_AVOIDED, semconv.USAGE_COST_WASTED, semconv.QUALITY_SCORE, semconv.CACHE_EVICTIONS,
            semconv.ENCODE_DURATION, semconv.SYNTHESIS_TIME_TO_SILENCE, semconv.BACKGROUND_DURATION, semconv.CONNECT_DURATION,
            semconv.CONNECTION_USES, semconv.TEXT_WAITING,
        )
    }  # fmt: skip
