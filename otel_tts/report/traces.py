"""Traces of single requests, copied into MLflow and linked to the run of their window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otel_tts.history import Trace
from otel_tts.report import tracking

if TYPE_CHECKING:
    from mlflow.entities import Span as MlflowSpan


def copy(uri: str, experiment_id: str, run_id: str, traces: Sequence[Trace]) -> None:
    """Write the traces; doing it again changes nothing.

    Args:
        uri: where MLflow is: a tracking URI.
        experiment_id: the id of the MLflow experiment.
        run_id: the id of the MLflow run.
        traces: of the worst requests.

    Raises:
        TrackingUnreachableError: MLflow does not take them.
    """
    from mlflow.tracing.client import TracingClient
    from mlflow.tracking import MlflowClient

    with tracking.reaching(uri):
        trace_ids = []
        for trace in traces:
            spans = list(_spans(trace))
            TracingClient(uri).log_spans(experiment_id, spans)
            trace_ids.append(spans[0].trace_id)
        if trace_ids:
            MlflowClient(uri).link_traces_to_run(trace_ids, run_id)


def _spans(trace: Trace) -> Iterator[MlflowSpan]:
    """The spans of a trace. The first root has no parent, even if a remote one: MLflow would wait for it for ever."""
    from mlflow.entities import Span as MlflowSpan
    from opentelemetry.proto.trace.v1 import trace_pb2

    root = trace.roots[0]
    for _, span in trace.walk():
        parent = span.parent_id if span is not root else None
        if span in trace.roots[1:]:
            parent = root.span_id
        yield MlflowSpan.from_otel_proto(
            trace_pb2.Span(
                trace_id=bytes.fromhex(span.trace_id),
                span_id=bytes.fromhex(span.span_id),
                parent_span_id=bytes.fromhex(parent or ""),
                name=span.name,
                start_time_unix_nano=round(span.start * 1e9),
                end_time_unix_nano=round(span.end * 1e9),
                attributes=_attributes({**span.attributes, "service.name": span.service}),
                events=[
                    trace_pb2.Span.Event(
                        name=event.name, time_unix_nano=round(event.time * 1e9), attributes=_attributes(event.attributes)
                    )
                    for event in span.events
                ],
                status=trace_pb2.Status(
                    code=trace_pb2.Status.StatusCode.Value(f"STATUS_CODE_{span.status}"), message=span.status_message
                ),
            )
        )


def _attributes(attributes: Mapping[str, Any]) -> list[Any]:
    from opentelemetry.proto.common.v1 import common_pb2

    return [common_pb2.KeyValue(key=key, value=_value(value)) for key, value in attributes.items() if value is not None]


def _value(value: Any) -> Any:
    from opentelemetry.proto.common.v1 import common_pb2

    match value:
        case bool():
            return common_pb2.AnyValue(bool_value=value)
        case int():
            return common_pb2.AnyValue(int_value=value)
        case float():
            return common_pb2.AnyValue(double_value=value)
        case tuple():
            return common_pb2.AnyValue(array_value=common_pb2.ArrayValue(values=map(_value, value)))
    return common_pb2.AnyValue(string_value=str(value))
