"""Who calls whom: Jaeger's own graph of services, which its pages and Grafana draw."""

from __future__ import annotations

import time
from contextlib import ExitStack

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Tracer

from tests.e2e.stack import Stack, get, until


def test_callers_and_services(own_stack: Stack) -> None:
    """An edge from a caller to the service, each request once; who sends no spans, as a provider does, is not in it."""
    with ExitStack() as ends:
        exporter = OTLPSpanExporter(own_stack.otlp_grpc, insecure=True)
        ends.callback(exporter.shutdown)
        caller, speech = (tracer(name, exporter) for name in ("graph-caller", "graph-speech"))
        for _ in range(3):
            with (
                caller.start_as_current_span("call", kind=SpanKind.CLIENT),
                speech.start_as_current_span("rpc", kind=SpanKind.SERVER),
                speech.start_as_current_span("attempt", kind=SpanKind.CLIENT, attributes={"server.address": "provider"}),
            ):
                pass
    expected = [{"parent": "graph-caller", "child": "graph-speech", "callCount": 3}]
    until(lambda: edges(own_stack) == expected, "the edge")


def edges(stack: Stack) -> list[dict[str, object]]:
    """Those of the last hour."""
    now = int((time.time() + 1) * 1000)
    return get(f"{stack.traces}/api/dependencies", endTs=str(now), lookback="3600000")["data"]  # type: ignore[no-any-return]


def tracer(service: str, exporter: OTLPSpanExporter) -> Tracer:
    """One of a service, whose spans leave as they end."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test")
