"""What one sender sends wrong costs itself: the telemetry of the others beside it arrives whole, and none of it waits for ever."""

from __future__ import annotations

import copy
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request as Post
from urllib.request import urlopen

import pytest

from tests.e2e.stack import Stack, running, until
from tests.e2e.test_masking import attribute, mapping, several

LONG = "y" * 100_000
NOW = time.time_ns()
NAN = {"doubleValue": "NaN"}
SMALL = [attribute("kept", {"intValue": "5"})]


def send(stack: Stack, signal: str, data: dict[str, Any]) -> None:
    """Send it as a foreign service does, by hand."""
    with urlopen(
        Post(f"{stack.otlp_http}/v1/{signal}", json.dumps(data).encode(), {"Content-Type": "application/json"})
    ) as answer:
        assert answer.status == 200


def exported(service: str, metric: dict[str, Any]) -> dict[str, Any]:
    """An export of one metric."""
    resource = {"attributes": [attribute("service.name", service)]}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": {"name": "x"}, "metrics": [metric]}]}]}


def total(name: str, temporality: int = 2, **fields: Any) -> dict[str, Any]:
    """A counter with one point."""
    point = {"startTimeUnixNano": str(NOW), "timeUnixNano": str(time.time_ns()), "asInt": "1"} | fields
    point = {name: value for name, value in point.items() if value is not None}
    return {"name": name, "sum": {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": [point]}}


def exponential(name: str, **fields: Any) -> dict[str, Any]:
    """An exponential histogram with one point."""
    point = {"timeUnixNano": str(time.time_ns()), "count": "3", "positive": {"offset": 0, "bucketCounts": ["3"]}} | fields
    return {"name": name, "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point]}}


REFUSED = {
    "delta": total("refused", 1),
    "no temporality": total("refused", 0),
    "no kind": {"name": "refused"},
    "no time": total("refused", timeUnixNano="0"),
    "the last time": total("refused", timeUnixNano=str(2**64 - 1)),
    "tomorrow": total("refused", timeUnixNano=str(NOW + 86_400 * 10**9)),
    "last week": total("refused", timeUnixNano=str(NOW - 7 * 86_400 * 10**9)),
    "label without a name": total("refused", attributes=[attribute("", "x")]),
    "too coarse": exponential("refused", scale=-9),
    "wrong count": exponential("refused", count="99"),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_points_that_prometheus_refuses_take_no_others_with_them(stack: Stack, refused: dict[str, Any]) -> None:
    """Of requests that come at once Prometheus refuses the one with such a point, and keeps the others."""
    name = f"neighbour_{list(REFUSED.values()).index(refused)}"
    for number in range(20):
        send(stack, "metrics", exported("wrong", refused))
        send(stack, "metrics", exported("right", total(name, attributes=[attribute("n", str(number))])))
    until(lambda: stack.value(f"count({name}_total)") == 20, "the points of the other service", 10)
    assert stack.query('{__name__=~"refused.*"}') == []


@contextmanager
def strict_store(refused: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A store of logs that answers 400 to a request with such a record in it, as OTLP has it; its URL, and the requests that it took."""
    taken: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            if refused not in body:
                taken.append(body)
            self.send_response(400 if refused in body else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", taken
        finally:
            server.shutdown()


def logged(service: str, body: str) -> dict[str, Any]:
    """A log record."""
    resource = {"attributes": [attribute("service.name", service)]}
    record = {"timeUnixNano": str(time.time_ns()), "body": {"stringValue": body}}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": {"name": "x"}, "logRecords": [record]}]}]}


def test_records_that_a_store_refuses_take_no_others_with_them(tmp_path: Path) -> None:
    """Of requests that come at once the store refuses the one with such a record, and gets the others."""
    with strict_store(b"never this") as (url, taken), running(tmp_path, "logs", LOGS_OTLP_URL=url) as stack:
        for number in range(20):
            send(stack, "logs", logged("wrong", "never this"))
            send(stack, "logs", logged("right", f"<record {number}>"))

        def arrived() -> int:
            return sum(f"<record {number}>".encode() in b"".join(taken) for number in range(20))

        until(lambda: arrived() == 20, "the records of the other service", 10)


LARGE: dict[str, list[dict[str, Any]]] = {
    "value": [attribute("a", LONG)],
    "name": [attribute(LONG, "a")],
    "map": [attribute("a", mapping(attribute("b", several({"stringValue": LONG}))))],
    "name in a map": [attribute("a", mapping(attribute(LONG, "b")))],
    "list": [attribute("a", several(*[{"intValue": "1"}] * 50_000))],
    "bytes": [attribute("a", {"bytesValue": "QUJD" * 25_000})],
    "bytes in a list": [attribute("a", several({"bytesValue": "QUJD" * 25_000}))],
    "beside NaN": [attribute("n", NAN), attribute("a", mapping(attribute("b", LONG)))],
    "many": [attribute(f"a{number}", "b") for number in range(20_000)],
    "two bytes a character": [attribute("a", "é" * 50_000)],
}
LAST = {"e": LARGE["value"] + SMALL, "f": LARGE["map"] + SMALL}
SPAN = {"name": "large", "startTimeUnixNano": str(NOW), "endTimeUnixNano": str(NOW + 1000)}
LINKED = {"traceId": "ab" * 16, "spanId": "cd" * 8}
STATUS = {"code": 2, "message": LONG}


def traced(
    span: dict[str, Any], scope: dict[str, Any] | None = None, attributes: Any = (), service: str = "large"
) -> dict[str, Any]:
    """A span, in its scope and with attributes of its resource."""
    resource = {"attributes": [attribute("service.name", service), *attributes]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope or {"name": "s"}, "spans": [SPAN | span]}]}]}


LARGE_SPANS = {
    **{f"{kind} of a resource": traced({}, attributes=large) for kind, large in LARGE.items()},
    **{f"{kind} of a scope": traced({}, {"name": "s", "attributes": large}) for kind, large in LARGE.items()},
    **{f"{kind} of a span": traced({"attributes": large}) for kind, large in LARGE.items()},
    **{f"{kind} of an event": traced({"events": [{"name": "e", "attributes": large}]}) for kind, large in LARGE.items()},
    **{f"{kind} of a link": traced({"links": [LINKED | {"attributes": large}]}) for kind, large in LARGE.items()},
    "name": traced({"name": LONG}),
    "status": traced({"status": STATUS}),
    "trace state": traced({"traceState": f"a={LONG}"}),
    "trace state of a link": traced({"links": [LINKED | {"traceState": f"a={LONG}"}]}),
    "name of an event": traced({"events": [{"name": LONG}]}),
    "name of a scope": traced({}, {"name": LONG, "version": "1"}),
    "version of a scope": traced({}, {"name": "s", "version": LONG}),
    "service": traced({}, service=LONG),
}


@pytest.mark.parametrize("overlay", [(), ("keep-text",)], ids=["masked", "kept"])
def test_what_jaeger_cannot_index_is_cut(tmp_path: Path, overlay: tuple[str, ...]) -> None:
    """Whatever is longer than a key of Jaeger's index may be, and wherever it is, its span is kept, and so are those that come later."""
    trace_ids = {}
    with running(tmp_path, *overlay) as stack:
        for number, (kind, data) in enumerate(LARGE_SPANS.items(), 1):
            trace_ids[kind] = f"{number:032x}"
            whole = copy.deepcopy(data)
            whole["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= {"traceId": trace_ids[kind], "spanId": f"{number:016x}"}
            send(stack, "traces", whole)
        for digit, attributes in LAST.items():
            send(stack, "traces", traced({"traceId": digit * 32, "spanId": digit * 16, "attributes": attributes}))
        until(lambda: all(stack.spans(digit * 32) for digit in LAST), "the last spans", 20)
        assert [kind for kind, trace_id in trace_ids.items() if not stack.spans(trace_id)] == []
        texts, others = ({a["key"]: a["value"] for a in stack.spans(digit * 32)[0]["attributes"]} for digit in LAST)
    assert texts == {"a": {"stringValue": f"{LONG[:39_997]}..."}, "kept": {"intValue": "5"}}
    assert others == {"a": {"stringValue": f'{{"b":["{LONG}'[:39_997] + "..."}, "kept": {"stringValue": "5"}}
