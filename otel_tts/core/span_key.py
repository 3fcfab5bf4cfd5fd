"""The key of the span in a context: OpenTelemetry's API has none, and takes a call, and a copy of the context, for each value."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

[SPAN_KEY] = set_span_in_context(INVALID_SPAN, Context())
"""The key of the span in a context. Reading it directly saves the four calls of `opentelemetry.trace.get_current_span`."""
