"""Contexts with a span in one step: OpenTelemetry's API takes a call, and a copy of the context, for each value."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

[SPAN_KEY] = set_span_in_context(INVALID_SPAN, Context())
"""The key of the span in a context. Reading it directly saves the four calls of `opentelemetry.trace.get_current_span`."""


def context_with(parent: Context, span: Span, key: str, value: Any) -> Context:
    """Return a context with a span and another value added.

    Args:
        parent: the context to which they are added; it stays as it is.
        span: the span.
        key: of the other value.
        value: the other value.
    """
    return Context({**parent, SPAN_KEY: span, key: value})
