"""What traffic through the real service becomes in Prometheus and in the trace backend, name by name and count by count."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import grpc
import pytest

from otel_tts import promql, semconv
from otel_tts.history import Span, open_history
from otel_tts.semconv import METRICS, Instrument, Metric
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from otel_tts.settings import HistorySettings
from tests.commands.conftest import serving
from tests.e2e.stack import Stack, running, until
from tests.ports import free_port

UNARY, STREAM, HIT, REJECTED, FAILED = 7, 5, 3, 2, 4
SPOKEN = UNARY + STREAM
ELSEWHERE = {  # nothing here evicts, scores, drifts, is interrupted, works ahead, connects, takes text in pieces or has unknown prices
    semconv.QUALITY_SCORE, semconv.REFERENCE_LATENCY, semconv.DRIFT_SCORE, semconv.DRIFT_DETECTED, semconv.CACHE_EVICTIONS,
    semconv.USAGE_UNPRICED, semconv.SYNTHESIS_TIME_TO_SILENCE, semconv.BACKGROUND_DURATION, semconv.CONNECT_DURATION,
    semconv.CONNECTION_USES, semconv.USAGE_COST_WASTED, semconv.TEXT_WAITING,
}  # fmt: skip
RESOURCE = {"job", "instance", "service_name", "service_instance_id", "service_version"}


Told = dict[str, str]
"""What the service's callers know: the trace of each request, and which kind of request it was."""


@pytest.fixture(scope="module")
def quiet_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that nobody else sends anything to."""
    with running(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def expected_series(quiet_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Traffic of all kinds through the real service, whose preferred provider does not answer."""
    directory = tmp_path_factory.mktemp("service")
    prices = directory / "prices.toml"
    prices.write_text("[espeak]\nusd_per_million_characters = 4.0\n")
    environ = {
        **quiet_stack.service_environ,
        "TTS_PROVIDERS": "openai,espeak",
        "TTS_OPENAI_BASE_URL": f"http://127.0.0.1:{free_port()}/v1",
        "TTS_CIRCUIT_FAILURES": "1000",
        "OTEL_TTS_PRICES": str(prices),
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2",
    }
    expected_series: Told = {}
    with serving(directory / "data", **environ) as served, grpc.insecure_channel(served.target) as channel:
        stub: Any = tts_pb2_grpc.TextToSpeechStub(channel)

        def ask(kind: str, text: str, *, stream: bool = False, **fields: Any) -> None:
            request = tts_pb2.SynthesizeRequest(text=text, **fields)
            call = stub.SynthesizeStream(request, timeout=30) if stream else stub.Synthesize.future(request, timeout=30)
            with suppress(grpc.RpcError):
                for _ in call if stream else [call.result()]:
                    pass
            expected_series[dict(call.trailing_metadata())["traceresponse"].split("-")[1]] = kind

        for number in range(UNARY):
            ask("unary", f"Number {number}.")
        for number in range(STREAM):
            ask("stream", f"Stream {number}.", stream=True, encoding=tts_pb2.AUDIO_ENCODING_MP3)
        for _ in range(HIT):
            ask("hit", "Number 0.")
        for _ in range(REJECTED):
            ask("rejected", "?!")
        for _ in range(FAILED):
            ask("failed", "No answer.", provider="openai")
        until(lambda: quiet_stack.value(promql.count_series(semconv.RPC_DURATION)) == len(expected_series), "all RPCs counted")
        requests = promql.series(semconv.SYNTHESIS_REQUESTS)  # an export may fall between an RPC's count and its request's
        until(lambda: quiet_stack.value(requests) == len(expected_series), "all requests counted")
        until(lambda: not counted(quiet_stack, semconv.SYNTHESIS_ACTIVE), "none active")
        yield expected_series


def sample(metric: Metric) -> str:
    """The series whose values count: of a histogram its number of values."""
    return promql.count_series(metric) if metric.instrument is Instrument.HISTOGRAM else promql.series(metric)


def predicted(metric: Metric) -> set[str]:
    """All names that a metric has in Prometheus."""
    if metric.instrument is not Instrument.HISTOGRAM:
        return {promql.series(metric)}
    return {promql.bucket_series(metric), promql.count_series(metric), promql.sum_series(metric)}


def test_names_and_labels(quiet_stack: Stack, expected_series: Told) -> None:
    """Each metric stands under the names that `promql` predicts, none under another, with its attributes and the process's labels."""
    made = [metric for metric in METRICS if metric not in ELSEWHERE]
    expected = set().union(*map(predicted, made))
    stored = until(lambda: names(quiet_stack), "names")
    assert stored - set().union(*map(predicted, METRICS)) == set()
    assert expected - stored == set()
    for metric in made:
        labels = {promql.label(attribute) for attribute in metric.attributes}
        for name in predicted(metric):
            for of_series, _ in quiet_stack.query(name):
                bound = {"le"} if name.endswith("_bucket") else set()
                assert set(of_series) - {"__name__"} - labels == RESOURCE | bound
                assert of_series["service_version"] == "1.2"


def names(stack: Stack) -> set[str]:
    """The names of all series that the service exports."""
    query = urlencode([("match[]", '{service_version="1.2",__name__=~"(tts|rpc|gen_ai)_.+"}')])
    with urlopen(f"{stack.prometheus}/api/v1/label/__name__/values?{query}", timeout=10) as answer:
        return set(json.load(answer)["data"])


def counted(stack: Stack, metric: Metric, *attributes: semconv.Attribute) -> dict[tuple[str, ...], float]:
    """What Prometheus has counted, by attributes; what is 0 is left out."""
    counts = Counter[tuple[str, ...]]()
    for labels, value in stack.query(sample(metric)):
        counts[tuple(labels.get(promql.label(attribute), "") for attribute in attributes)] += value  # type: ignore[assignment]
    return {key: value for key, value in counts.items() if value}


def test_counts(quiet_stack: Stack, expected_series: Told) -> None:
    """Every count is exact, split by its attributes."""
    expected_counts = {
        metric.name: counted(quiet_stack, metric, *attributes)
        for metric, attributes in (
            (semconv.RPC_DURATION, (semconv.RPC_METHOD, semconv.RPC_RESPONSE_STATUS_CODE)),
            (semconv.SYNTHESIS_DURATION, (semconv.PROVIDER, semconv.STREAM, semconv.CACHE_RESULT, semconv.OUTCOME)),
            (semconv.SYNTHESIS_FIRST_BYTE, (semconv.PROVIDER,)),
            (semconv.SYNTHESIS_FIRST_AUDIO, (semconv.PROVIDER, semconv.OUTCOME)),
            (semconv.SYNTHESIS_REQUESTS, (semconv.LANGUAGE, semconv.OUTCOME)),
            (semconv.SYNTHESIS_FAILURES, (semconv.PROVIDER, semconv.OUTCOME, semconv.ERROR_TYPE)),
            (semconv.ATTEMPT_DURATION, (semconv.PROVIDER, semconv.OUTCOME, semconv.ERROR_TYPE, semconv.ATTEMPT_REASON)),
            (semconv.ATTEMPT_REAL_TIME_FACTOR, (semconv.PROVIDER,)),
            (semconv.PROVIDER_FALLBACKS, (semconv.FALLBACK_FROM, semconv.FALLBACK_TO, semconv.ERROR_TYPE)),
            (semconv.CACHE_LOOKUPS, (semconv.CACHE_TIER, semconv.CACHE_LOOKUP_RESULT)),
            (semconv.CACHE_ENTRIES, (semconv.CACHE_TIER,)),
            (semconv.ENCODE_DURATION, (semconv.AUDIO_FORMAT,)),
            (semconv.SYNTHESIS_CHARACTERS, (semconv.PROVIDER, semconv.CHARACTERS_STATE)),
            (semconv.SYNTHESIS_ACTIVE, ()),
            (semconv.QUALITY_SPEAKING_RATE, (semconv.PROVIDER,)),
        )
    }
    rpc = "yap.tts.v1.TextToSpeech/"
    assert expected_counts == {
        "rpc.server.call.duration": {
            (f"{rpc}Synthesize", "OK"): UNARY + HIT,
            (f"{rpc}SynthesizeStream", "OK"): STREAM,
            (f"{rpc}Synthesize", "INVALID_ARGUMENT"): REJECTED,
            (f"{rpc}Synthesize", "UNAVAILABLE"): FAILED,
        },
        "tts.synthesis.duration": {
            ("espeak", "false", "miss", "ok"): UNARY,
            ("espeak", "true", "miss", "ok"): STREAM,
            ("espeak", "false", "hit", "ok"): HIT,
            ("_NONE", "false", "bypass", "rejected"): REJECTED,
            ("openai", "false", "miss", "error"): FAILED,
        },
        "tts.synthesis.time_to_first_byte": {("espeak",): STREAM},
        "tts.synthesis.time_to_first_audio": {("espeak", "ok"): STREAM},
        "tts.synthesis.requests": {
            ("_NONE", "ok"): SPOKEN + HIT,
            ("_NONE", "rejected"): REJECTED,
            ("_NONE", "error"): FAILED,
        },
        "tts.synthesis.failures": {("openai", "error", "connection"): FAILED},
        "tts.attempt.duration": {
            ("openai", "error", "connection", "initial"): SPOKEN + HIT + FAILED,
            ("espeak", "ok", "", "fallback"): SPOKEN,
        },
        "tts.attempt.real_time_factor": {("espeak",): SPOKEN},
        "tts.provider.fallbacks": {("openai", "espeak", "connection"): SPOKEN},
        # The cache is asked for the audio of each provider, when it is its turn.
        "tts.cache.lookups": {("memory", "miss"): 2 * SPOKEN + HIT + FAILED, ("memory", "hit"): HIT},
        "tts.cache.entry.count": {("memory",): SPOKEN},
        "tts.encode.duration": {("wav",): UNARY + HIT, ("mp3",): STREAM},
        "tts.synthesis.characters": {
            ("espeak", "synthesized"): SPOKEN * len("Number 0."),
            ("espeak", "cached"): HIT * len("Number 0."),
            ("openai", "wasted"): FAILED * len("No answer."),
            ("_NONE", "wasted"): REJECTED * len("?!"),
        },
        "tts.synthesis.active": {},
        "tts.audio.speaking_rate": {("espeak",): SPOKEN},
    }


def test_costs(quiet_stack: Stack, expected_series: Told) -> None:
    """Money is what characters cost: 4 dollars a million."""
    characters = counted(quiet_stack, semconv.SYNTHESIS_CHARACTERS, semconv.CHARACTERS_STATE)
    spent = quiet_stack.value(promql.series(semconv.USAGE_COST))
    avoided = quiet_stack.value(promql.series(semconv.USAGE_COST_AVOIDED))
    assert spent == pytest.approx(characters[("synthesized",)] * 4e-6)
    assert avoided == pytest.approx(characters[("cached",)] * 4e-6)


def tree(span: Span) -> Any:
    """The names and kinds of a span and all below."""
    return span.name, span.kind, [tree(child) for child in span.children]


def test_traces(quiet_stack: Stack, expected_series: Told) -> None:
    """Each request's trace is there, whole: the RPC, the synthesis, and an attempt at each provider that was asked."""
    history = open_history(HistorySettings.load({"OTEL_TTS_JAEGER_URL": quiet_stack.traces}))
    rpc = "yap.tts.v1.TextToSpeech/"
    failed, spoke = ("text_to_speech tts-1", "CLIENT", []), ("text_to_speech espeak-en-us", "INTERNAL", [])
    trees: Mapping[str, Any] = {
        "unary": (f"{rpc}Synthesize", "SERVER", [("tts.synthesize", "INTERNAL", [failed, spoke])]),
        "stream": (f"{rpc}SynthesizeStream", "SERVER", [("tts.synthesize", "INTERNAL", [failed, spoke])]),
        "hit": (f"{rpc}Synthesize", "SERVER", [("tts.synthesize", "INTERNAL", [failed])]),
        "failed": (f"{rpc}Synthesize", "SERVER", [("tts.synthesize", "INTERNAL", [failed])]),
        "rejected": (f"{rpc}Synthesize", "SERVER", [("tts.synthesize", "INTERNAL", [])]),
    }
    for trace_id, kind in expected_series.items():
        stored = until(lambda trace_id=trace_id: history.trace(trace_id), f"trace {trace_id}")
        assert [tree(root) for root in stored.roots] == [trees[kind]]


def test_exemplars(quiet_stack: Stack, expected_series: Told) -> None:
    """From a bucket of a histogram there is a way to a trace: each exemplar has the id of one of the requests."""
    now = time.time()
    query = urlencode({"query": promql.bucket_series(semconv.SYNTHESIS_DURATION), "start": now - 600, "end": now + 1})
    with urlopen(f"{quiet_stack.prometheus}/api/v1/query_exemplars?{query}", timeout=10) as answer:
        stored = {
            (exemplar["labels"]["trace_id"], series["seriesLabels"]["gen_ai_request_stream"])
            for series in json.load(answer)["data"]
            for exemplar in series["exemplars"]
        }
    assert stored
    assert {expected_series[trace_id] for trace_id, stream in stored if stream == "true"} == {"stream"}
    assert {trace_id for trace_id, _ in stored} <= expected_series.keys()
