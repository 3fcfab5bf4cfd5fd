"""Pictures of what servers with known protos record: their spans and points."""

from __future__ import annotations

from typing import Any

import grpc
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from otel_tts.testing.capture import Capture
from tests.instrumentation.known_rpcs import (
    Rpc,
)


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


def sets_code(context: Any) -> Any:
    """Refuse the request and answer all the same."""
    context.set_code(grpc.StatusCode.NOT_FOUND)
