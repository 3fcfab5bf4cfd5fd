"""Who calls whom, as Grafana draws it: Tempo makes it of spans, and Prometheus keeps it."""

from __future__ import annotations

from contextlib import ExitStack

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Tracer

from otel_tts import semconv
from tests.e2e.stack import Stack, until

EDGES = "traces_service_graph_request_total"


def test_callers_services_and_providers(stack: Stack) -> None:
    """An edge from a caller to the service, and one from there to a provider that sends no spans; each request once."""
    with ExitStack() as ends:
        exporter = OTLPSpanExporter(stack.otlp_grpc, insecure=True)
        ends.callback(exporter.shutdown)
        caller, speech = (tracer(name, exporter) for name in ("graph-caller", "graph-speech"))
        for _ in range(3):
            with (
                caller.start_as_current_span("call", kind=SpanKind.CLIENT),
                speech.start_as_current_span("rpc", kind=SpanKind.SERVER),
                speech.start_as_current_span(
                    semconv.ATTEMPT_SPAN.name, kind=SpanKind.CLIENT, attributes={semconv.PROVIDER.key: "graph-provider"}
                ),
            ):
                pass
    for client, server in (("graph-caller", "graph-speech"), ("graph-speech", "graph-provider")):
        edge = f'{EDGES}{{client="{client}",server="{server}"}}'
        until(lambda edge=edge: stack.value(edge) == 3, edge, 60)


def tracer(service: str, exporter: OTLPSpanExporter) -> Tracer:
    """One of a service, whose spans leave as they end."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test")
