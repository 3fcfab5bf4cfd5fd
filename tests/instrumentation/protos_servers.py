"""Servers with known protos that were never changed, as the tests start and call them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.trace import SpanKind

from otel_tts.instrumentation import protos
from otel_tts.testing.capture import Capture
from tests.grpc.servers import wait_for
from tests.instrumentation.known_rpcs import (
    Rpc,
)
from tests.instrumentation.proto_servers import SERVERS


def picture(capture: Capture) -> list[Any]:
    """All spans: name, kind, status, events, attributes, children."""
    spans = sorted(capture.spans, key=lambda span: (span.start_time or 0, span.parent is not None))

    def node(span: Any) -> list[Any]:
        children = [s for s in spans if s.parent is not None and s.parent.span_id == span.context.span_id]
        return [span.name, span.kind, span.status.status_code.name, dict(span.attributes or {}), [node(s) for s in children]]

    return [node(span) for span in spans if span.parent is None]


def points(capture: Capture) -> dict[str, list[Any]]:
    """All points of all metrics but the RPC's: attributes with the value, of histograms with their sum.

    Not the state of providers: that knows of every one that an earlier test asked.
    """
    return {
        name: [(dict(p.attributes or {}), p.sum if isinstance(p, HistogramDataPoint) else p.value) for p in capture.points(name)]
        for name in capture.metrics()
        if not name.startswith(("rpc.", "tts.provider.available", "tts.provider.health."))
    }


def server_span(rpc: Rpc, code: str = "OK", error_type: str | None = None) -> dict[str, Any]:
    """Attributes of the RPC's span."""
    attributes = {"rpc.system.name": "grpc", "rpc.method": rpc.method, "rpc.response.status_code": code}
    return attributes | ({"error.type": error_type} if error_type else {})


@pytest.fixture
def served(capture_tts: Capture) -> Any:
    """Serves a handler of one stack, with the mapping that is known or another, makes one RPC, and waits until all is told."""

    def serve(stack: str, rpc: Rpc, handler: grpc.GenericRpcHandler, *, mapping: Any = None, **arguments: Any) -> Any:
        telemetry = capture_tts.telemetry()
        with SERVERS[stack](telemetry, handler, mapping or protos.load()) as port:
            seen = rpc.call(port, **arguments)
            wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
        return seen

    return serve


def sets_code(context: Any) -> Any:
    """Refuse the request and answer all the same."""
    context.set_code(grpc.StatusCode.NOT_FOUND)
