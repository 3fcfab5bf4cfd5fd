"""Spans of another instrumentation of gRPC servers: they are used, in place of a second one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanKind

from otel_tts import semconv


def is_server_span(span: Any) -> bool:
    """Return whether a span is another instrumentation's SERVER span of a gRPC call. Only spans of an SDK have these attributes.

    Args:
        span: the span.
    """
    attributes = getattr(span, "attributes", None)
    return (
        isinstance(attributes, Mapping)
        and getattr(span, "kind", None) is SpanKind.SERVER
        and span.is_recording()
        and "grpc" in (attributes.get("rpc.system"), attributes.get(semconv.RPC_SYSTEM_NAME.key))
    )
