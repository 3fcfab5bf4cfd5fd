"""What a Jaeger may answer that a real one seldom does: a part, an error, or nothing that it would say. The real one: tests/e2e."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from rich.console import Console

from otel_tts import semconv
from otel_tts.commands.trace import drawing
from otel_tts.history import History, HistoryUnavailableError, RequestFilter, jaeger
from otel_tts.live import waterfall
from tests.history.answering import answering as scripted

answering = partial(scripted, "OTEL_TTS_JAEGER_URL")
TRACE = "00c0ffee" * 4
NINE = 1795424400
SERVICES = {"services": ["speech"]}


def synthesis(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A span as Jaeger gives it, in OTLP/JSON."""
    return {
        "traceId": f"{number:08x}{TRACE[8:]}", "spanId": f"{number:016x}", "name": semconv.SYNTHESIS_SPAN.name, "kind": 1,
        "startTimeUnixNano": f"{NINE + number}500000000", "endTimeUnixNano": f"{NINE + number}750000000",
        "attributes": [{"key": semconv.OUTCOME.key, "value": {"stringValue": "ok"}}], **fields,
    }  # fmt: skip


def result(*spans: dict[str, Any]) -> dict[str, Any]:
    """An answer with these spans."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "speech"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


WARNED = synthesis(
    attributes=[{"key": "@jaeger@warnings", "value": {"arrayValue": {"values": [{"stringValue": "an attribute was lost"}]}}}]
)
ASKED: list[Callable[[History], object]] = [
    lambda history: history.requests(),
    lambda history: list(history.every_request()),
    lambda history: history.trace(TRACE[:10]),
]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"error": {"httpCode": 500, "message": "a shard is away"}}, "a shard is away"),
        ({"result": result(synthesis()), "error": {"message": "a shard is away"}}, "a shard is away"),
        ({"result": result(synthesis()), "errors": [{"msg": "timeout"}]}, "timeout"),
        ({"result": result(synthesis()), "warnings": ["only two of three"]}, "only two of three"),
    ],
)
def test_a_part_is_not_taken_for_all(answer: Any, why: str) -> None:
    """An answer with errors or warnings beside it is an error, whatever is in it."""
    with answering({"/api/v3/services": SERVICES, "/api/v3/traces": answer, f"/api/v3/traces/{TRACE}": answer}) as (history, _):
        for ask in (*ASKED, lambda history: history.trace(TRACE), lambda history: history.traces([TRACE], 0, NINE)):
            with pytest.raises(
                HistoryUnavailableError, match=rf"^Jaeger at http\S+ gave only a part of the traces: .*{why}"
            ) as raised:
                ask(history)
            assert "secret" not in str(raised.value)


def test_empty_errors_are_none() -> None:
    """A whole answer may have a place for them."""
    answer = {"result": result(synthesis()), "errors": None, "warnings": []}
    with answering({"/api/v3/services": SERVICES, "/api/v3/traces": answer}) as (history, _):
        assert len(history.requests(RequestFilter(since=NINE, until=NINE + 60))) == 1


def test_two_clusters_with_one_service_name() -> None:
    """Jaeger knows services by their names only: what it answers is looked through for those that are selected."""

    def of_cluster(cluster: str, number: int) -> dict[str, Any]:
        resource = result(synthesis(number))["resourceSpans"][0]
        resource["resource"]["attributes"].append({"key": "k8s.cluster.name", "value": {"stringValue": cluster}})
        return resource

    both = {"result": {"resourceSpans": [of_cluster("eu", 1), of_cluster("us", 2)]}}
    for cluster, numbers in {"eu": [1], "us": [2], "asia": [], "": [1, 2]}.items():
        settings = {"OTEL_TTS_SELECT": f"k8s.cluster.name={cluster}"} if cluster else {}
        with answering({"/api/v3/services": SERVICES, "/api/v3/traces": both}, **settings) as (history, _):
            requests = history.requests(RequestFilter(since=NINE, until=NINE + 60))
        assert sorted(request.span_id for request in requests) == [f"{number:016x}" for number in numbers]


def test_a_span_that_was_not_kept_as_it_came() -> None:
    """A trace shows it with what Jaeger says; its figures may be false, so no request is made of it, and it counts as unreadable."""
    answers = {
        "/api/v3/services": SERVICES,
        "/api/v3/traces": {"result": result(WARNED, synthesis(1))},
        f"/api/v3/traces/{TRACE}": {"result": result(WARNED)},
    }
    with answering(answers) as (history, _):
        trace = history.trace(TRACE)
        assert trace is not None
        assert [(span.warnings, span.attributes) for span in trace.roots] == [(("an attribute was lost",), {})]
        requests = history.requests(RequestFilter(since=NINE, until=NINE + 60))
    assert [request.span_id for request in requests] == [f"{1:016x}"]
    console = Console(width=120)
    with console.capture() as shown:
        console.print(drawing(trace))
    assert "not as it was sent: an attribute was lost" in shown.get()
    assert "not as it was sent: an attribute was lost" in waterfall.label(trace.roots[0])
    assert history.unreadable == 1


@pytest.mark.parametrize("answers", [{}, {"/api/v3/services": {"data": []}}, {"/api/v3/services": "<html>"}])
def test_a_server_that_is_no_jaeger(answers: Any) -> None:
    """What it does not have is not taken for what there is not."""
    with answering(answers) as (history, _):
        for ask in (*ASKED, lambda history: history.trace(TRACE)):
            with pytest.raises(HistoryUnavailableError, match=r"does not answer as Jaeger does|something else than JSON"):
                ask(history)


def test_nothing_is_nothing() -> None:
    """A Jaeger that knows no such service, no synthesis in that time or no such trace says 404, or gives an empty answer."""
    for answers in ({}, {"/api/v3/traces": {"result": {}}}):
        with answering({"/api/v3/services": SERVICES, **answers}) as (history, requests):
            assert history.requests() == []
            assert history.requests(RequestFilter(service="another")) == []
            assert "another" not in str(requests)  # it is not even asked for
            assert history.trace(TRACE) is None
            assert history.trace(TRACE[:12]) is None


def test_the_beginning_of_an_id_beyond_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for among the latest syntheses; where there are more, whether there is such a trace is not known, and that is said."""
    monkeypatch.setattr(jaeger, "_RECENT", 1)
    monkeypatch.setattr("otel_tts.history.remote._bounds", lambda _: (NINE, NINE + 60))
    with answering({"/api/v3/services": SERVICES, "/api/v3/traces": {"result": result(synthesis(1))}}) as (history, _):
        assert history.trace(f"{1:08x}") is None  # found, and gone when it was asked for
        with pytest.raises(
            ValueError, match=r"None of the last 1 synthesis .* begins with 'ffffffff'.* Give all of its digits\."
        ):
            history.trace("f" * 8)


def test_what_is_asked() -> None:
    """The service, the span, the time and the least duration; as stored, and not as Jaeger would correct it."""
    with answering({"/api/v3/services": SERVICES}) as (history, requests):
        history.requests(RequestFilter(slower_than=0.25, since=NINE, until=NINE + 60))
    assert requests[-1] == {
        "query.service_name": "speech", "query.operation_name": "tts.synthesize", "query.duration_min": "250000us",
        "query.start_time_min": "2026-11-23T09:00:00Z", "query.start_time_max": "2026-11-23T09:01:00Z",
        "query.num_traces": "1000", "query.search_depth": "1000", "query.raw_traces": "true",
    }  # fmt: skip
