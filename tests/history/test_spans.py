"""Requests and traces from local files, as the real SDK writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otel_tts import files
from otel_tts.history import History, Request, RequestFilter, Span, open_history
from otel_tts.sdk.store import Store
from otel_tts.settings import HistorySettings

NINE = 1795424400.0  # 2026-11-23T09:00Z

ATTRIBUTES: Mapping[str, Any] = {
    "gen_ai.provider.name": "piper",
    "gen_ai.request.model": "joe",
    "gen_ai.request.stream": True,
    "tts.voice": "joe",
    "tts.language": "en-US",
    "tts.text.length": 12,
    "tts.outcome": "ok",
    "tts.cache.result": "miss",
    "tts.attempt.count": 2,
    "tts.fallback.used": True,
    "tts.audio.duration": 1.5,
    "tts.time_to_first_byte": 0.11,
    "tts.time_to_first_audio": 0.12,
    "tts.real_time_factor": 0.07,
    "tts.queue.wait": 0.05,
    "tts.audio.loudness": 21.5,
    "tts.audio.silence_ratio": 0.2,
    "tts.audio.clipping_ratio": 0.0,
    "tts.audio.speaking_rate": 14.5,
    "tts.audio.trailing_silence": 0.3,
}


def nanoseconds(moment: float) -> int:
    """A moment as spans have it, exactly."""
    return int(NINE) * 10**9 + round((moment - NINE) * 1e9)


class Ids(RandomIdGenerator):
    """Trace ids of the test's choosing."""

    def __init__(self) -> None:
        self.trace_ids: list[str] = []

    def generate_trace_id(self) -> int:
        """The next one chosen, else a random one."""
        return int(self.trace_ids.pop(0), 16) if self.trace_ids else super().generate_trace_id()


class Service:
    """Writes spans, at times of the test's choosing, and one line at a time."""

    def __init__(self, directory: Path, service: str = "speech", place: Mapping[str, str] = MappingProxyType({})) -> None:
        self.now = NINE
        self.ids = Ids()
        store = Store(directory, max_age_s=1e9, max_bytes=2**30, wall=lambda: self.now)
        self._provider = TracerProvider(
            resource=Resource({"service.name": service, "service.version": "1.2", **place}),
            id_generator=self.ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(store.span_exporter(), schedule_delay_millis=3_600_000))
        self.tracer = self._provider.get_tracer("test")

    def synthesize(self, start: float, duration: float, **facts: Any) -> None:
        """One synthesis; `provider="x"` and the like change what it says."""
        keys = {"provider": "gen_ai.provider.name", "outcome": "tts.outcome", "error_type": "error.type"}
        changed = {keys[name]: value for name, value in facts.items()}
        span = self.tracer.start_span("tts.synthesize", attributes={**ATTRIBUTES, **changed}, start_time=nanoseconds(start))
        span.end(nanoseconds(start + duration))

    def write(self, now: float) -> None:
        """Write what has ended so far, at that moment."""
        self.now = now
        self._provider.force_flush()


@pytest.fixture
def history(tmp_path: Path) -> History:
    """The history of the test's directory, as readers open it."""
    return open_history(HistorySettings.load(data_dir=tmp_path))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service that writes into it."""
    return Service(tmp_path)


def test_only_selected_processes_are_read(tmp_path: Path) -> None:
    """Two clusters with one service name: requests, listed and counted one by one, and traces; on the fast way and field by field."""
    for cluster, spoilt in product(("eu", "us"), (False, True)):
        service = Service(tmp_path, "speech", {"k8s.cluster.name": cluster})
        service.synthesize(NINE + 1, 0.25, provider=cluster)
        if spoilt:
            service.tracer.start_span("tts.synthesize", attributes={"tts.outcome": 5}, start_time=nanoseconds(NINE)).end(
                nanoseconds(NINE + 1)
            )
        service.write(NINE + 5)
    for cluster in ("eu", "us"):
        settings = HistorySettings.load({"OTEL_TTS_SELECT": f"k8s.cluster.name={cluster}"}, data_dir=tmp_path)
        for history in (open_history(settings), open_history(settings)):
            history.prepare()
            requests = [request for request in history.requests() if request.provider]
            assert [request.provider for request in requests] == [cluster, cluster]
            assert len(list(history.every_request())) == len(history.requests())
            ids = {request.trace_id for request in open_history(HistorySettings.load({}, data_dir=tmp_path)).requests()}
            assert {trace.trace_id for trace in history.traces(ids, NINE, NINE + 60)} == {r.trace_id for r in history.requests()}
    assert len(open_history(HistorySettings.load({}, data_dir=tmp_path)).requests()) == 6


def test_a_request_says_what_its_span_says(service: Service, history: History) -> None:
    """Every field, and None for what a span doesn't say."""
    service.synthesize(NINE + 1, 0.25)
    service.tracer.start_span("something else", start_time=nanoseconds(NINE)).end(nanoseconds(NINE))
    service.tracer.start_span("tts.synthesize", start_time=nanoseconds(NINE + 2)).end(nanoseconds(NINE + 3))
    service.write(NINE + 5)

    bare, full = history.requests()
    assert asdict(replace(full, trace_id="", span_id="")) == {
        "trace_id": "",
        "span_id": "",
        "start": NINE + 1,
        "duration": 0.25,
        "service": "speech",
        "version": "1.2",
        "outcome": "ok",
        "error_type": None,
        "provider": "piper",
        "model": "joe",
        "voice": "joe",
        "language": "en-US",
        "stream": True,
        "cache_result": "miss",
        "characters": 12,
        "audio_duration": 1.5,
        "ttfb": 0.11,
        "ttfa": 0.12,
        "rtf": 0.07,
        "attempts": 2,
        "fallback_used": True,
        "queue_wait": 0.05,
        "loudness": 21.5,
        "silence_ratio": 0.2,
        "clipping_ratio": 0.0,
        "speaking_rate": 14.5,
        "trailing_silence": 0.3,
        "conversation": None,
        "kind": "interactive",
        "cancel_reason": None,
        "delivered": None,
        "heard": None,
        "interrupted": None,
        "silent": None,
        "underrun": None,
        "cost": None,
        "resends": None,
        "first_text": None,
        "failed_providers": None,
        "own": None,
    }
    assert bare.interactive
    assert {
        value
        for key, value in asdict(bare).items()
        if key not in ("trace_id", "span_id", "start", "duration", "service", "version", "kind")
    } == {None}


def test_requests_come_newest_first_across_files(tmp_path: Path, history: History) -> None:
    """Two processes, three hours, several lines an hour: one order, by when they began, and no more than asked for."""
    first, second = Service(tmp_path), Service(tmp_path, "other")
    moments = [NINE + minute * 60.0 for minute in range(0, 180, 7)]
    for number, moment in enumerate(moments):
        service = (first, second)[number % 2]
        service.synthesize(moment, 0.1)
        service.synthesize(moment + 2, 0.1)
        service.write(moment + 5)
    began = sorted((offset for moment in moments for offset in (moment, moment + 2)), reverse=True)

    assert [request.start for request in history.requests(limit=1000)] == began
    assert [request.start for request in history.requests(limit=5)] == began[:5]
    assert {request.service for request in history.requests(limit=5)} == {"speech", "other"}
    assert history.requests(limit=0) == []
    long = began[0] - 60
    first.synthesize(long, 3600.0)
    first.write(long + 3601)
    assert [request.start for request in history.requests(limit=3)] == [*began[:2], long], "though it ended last"


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        (RequestFilter(), [5, 4, 3, 2, 1]),
        (RequestFilter(outcome="ok"), [5, 2, 1]),
        (RequestFilter(outcome="error", provider="piper"), [4]),
        (RequestFilter(provider="hibari"), [3, 2]),
        (RequestFilter(slower_than=1.0), [4]),
        (RequestFilter(since=NINE + 2, until=NINE + 4), [4, 3, 2]),
        (RequestFilter(until=NINE - 1), []),
        (RequestFilter(service="speech"), [5, 4, 3, 2, 1]),
        (RequestFilter(service="other"), []),
    ],
)
def test_filters(service: Service, history: History, wanted: RequestFilter, answer: list[int]) -> None:
    """Each filter alone, and two together."""
    service.synthesize(NINE + 1, 0.1)
    service.synthesize(NINE + 2, 0.1, provider="hibari")
    service.synthesize(NINE + 3, 0.1, provider="hibari", outcome="error", error_type="timeout")
    service.synthesize(NINE + 4, 1.1, outcome="error", error_type="server_error")
    service.synthesize(NINE + 5.5, 1.0)
    service.write(NINE + 10)
    assert [int(request.start - NINE) for request in history.requests(wanted)] == answer


def test_old_hours_are_not_read_when_the_limit_is_reached(service: Service, history: History, tmp_path: Path) -> None:
    """The newest requests of a long history come without reading it all: a broken old file goes unnoticed."""
    service.synthesize(NINE, 0.1)
    service.write(NINE + 1)
    service.synthesize(NINE + 3600, 0.1)
    service.write(NINE + 3601)
    old, _ = files.partitions(tmp_path, "traces")
    old.path.unlink()
    old.path.mkdir()
    assert [request.start for request in history.requests(limit=1)] == [NINE + 3600]
    assert [request.start for request in history.requests(RequestFilter(since=NINE + 3600))] == [NINE + 3600]


def outline(span: Span) -> Any:
    """A span and what is below it."""
    return (span.name, span.kind, span.status, [outline(child) for child in span.children])


def record_trace(service: Service) -> str:
    """A remote caller's RPC with a synthesis, a failed attempt and a fallback; gives the trace id."""
    caller = SpanContext(0xABCDEF0123456789ABCDEF0123456789, 0x1111, is_remote=True, trace_flags=TraceFlags(1))
    at = lambda seconds: nanoseconds(NINE + seconds)  # noqa: E731 - a shorthand
    start: Callable[..., trace.Span] = service.tracer.start_span
    parent = trace.set_span_in_context
    rpc = start("speech/Synthesize", parent(NonRecordingSpan(caller)), SpanKind.SERVER, start_time=at(0))
    synthesis = start(
        "tts.synthesize", parent(rpc), attributes=ATTRIBUTES, links=[Link(caller, {"why": "retry"})], start_time=at(0.5)
    )
    fallback = start("text_to_speech haru", parent(synthesis), SpanKind.CLIENT, start_time=at(2))
    failed = start("text_to_speech joe", parent(synthesis), start_time=at(1))
    failed.add_event("exception", {"exception.type": "TimeoutError"}, at(1.5))
    failed.set_status(Status(StatusCode.ERROR, "timeout"))
    failed.end(at(1.75))
    fallback.end(at(3))
    synthesis.end(at(3))
    service.write(NINE + 3.5)
    rpc.end(at(4))
    service.write(NINE + 3600)  # in the next hour's file
    return f"{caller.trace_id:032x}"


@pytest.mark.parametrize("digits", [32, 8])
def test_a_trace_is_a_tree(service: Service, history: History, digits: int) -> None:
    """The whole trace from two files, by its id or by how that begins; a span with a remote parent is the root."""
    service.synthesize(NINE, 1)
    trace_id = record_trace(service)
    answer = history.trace(trace_id[:digits].upper())
    assert answer is not None
    assert answer.trace_id == trace_id
    attempts = [
        ("text_to_speech joe", "INTERNAL", "ERROR", []),
        ("text_to_speech haru", "CLIENT", "UNSET", []),
    ]
    assert [outline(root) for root in answer.roots] == [
        ("speech/Synthesize", "SERVER", "UNSET", [("tts.synthesize", "INTERNAL", "UNSET", attempts)])
    ]
    assert [depth for depth, _ in answer.walk()] == [0, 1, 2, 2]
    _, synthesis, failed, _ = [span for _, span in answer.walk()]
    assert (synthesis.attributes, synthesis.service, synthesis.duration) == (ATTRIBUTES, "speech", 2.5)
    assert [(link.trace_id, link.span_id, link.attributes) for link in synthesis.links] == [
        (trace_id, "0000000000001111", {"why": "retry"})
    ]
    assert [(event.name, event.time, event.attributes) for event in failed.events] == [
        ("exception", NINE + 1.5, {"exception.type": "TimeoutError"})
    ]
    assert failed.status_message == "timeout"


def test_a_trace_is_found_from_its_request(service: Service, history: History) -> None:
    """The id in a list of requests leads to the trace."""
    record_trace(service)
    [request] = history.requests()
    assert isinstance(request, Request)
    answer = history.trace(request.trace_id)
    assert answer is not None
    assert request.span_id in {span.span_id for _, span in answer.walk()}


def test_what_is_no_trace_id_is_refused(service: Service, history: History) -> None:
    """Unknown ids find nothing; too short, wrong and ambiguous ones are errors that say what is wrong."""
    service.ids.trace_ids = ["abcdefab" + "1" * 24, "abcdefab" + "2" * 24]
    service.synthesize(NINE, 1)
    service.synthesize(NINE, 1)
    service.write(NINE + 1)
    assert history.trace("f" * 32) is None
    with pytest.raises(ValueError, match="'abc' is no trace id: it takes 32 hexadecimal digits, or the first 8 or more"):
        history.trace("abc")
    with pytest.raises(ValueError, match="is no trace id"):
        history.trace("x" * 32)
    with pytest.raises(
        ValueError, match=r"Several traces begin with 'abcdefab': abcdefab1{24}, abcdefab2{24}\. Give more digits\."
    ):
        history.trace("abcdefab")
    answer = history.trace("abcdefab2")
    assert answer is not None
    assert answer.trace_id == "abcdefab" + "2" * 24


def test_every_request_of_a_time(tmp_path: Path, history: History) -> None:
    """By when they ended, from all files and all processes, without an order and without a limit; spoilt lines are counted."""
    first, second = Service(tmp_path), Service(tmp_path, "other")
    for minute in range(0, 180, 7):
        for service in (first, second):
            service.synthesize(NINE + minute * 60, 30.0)
            service.write(NINE + minute * 60 + 35)
    wanted = RequestFilter(service="speech", version="1.2", ended_since=NINE + 3570, ended_before=NINE + 7230)
    assert sorted(request.end for request in history.every_request(wanted)) == [
        NINE + minute * 60 + 30 for minute in range(0, 180, 7) if NINE + 3570 <= NINE + minute * 60 + 30 < NINE + 7230
    ]
    assert len(list(history.every_request())) == 52
    before = history.fingerprint(NINE, NINE + 3600)
    partition = files.partitions(tmp_path, "traces")[0]
    with partition.path.open("ab") as file:
        file.write(b'{"resourceSpans": broken\n')
    assert history.fingerprint(NINE, NINE + 3600) != before
    assert history.unreadable == 0
    assert len(list(history.every_request())) == 52
    assert history.unreadable == 1


def test_traces_by_their_ids(service: Service, history: History) -> None:
    """Several at once, each a whole tree; unknown ids find nothing."""
    service.synthesize(NINE, 1)
    trace_id = record_trace(service)
    [answer] = history.traces({trace_id, "f" * 32}, NINE, NINE + 3600)
    assert answer == history.trace(trace_id)
