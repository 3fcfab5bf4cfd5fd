"""The propagators of OpenTelemetry, which reads OTEL_PROPAGATORS when they are imported, and raises for a name that nobody provides."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context


def _import_extract(carrier: dict[str, str], parent: Context) -> Context:
    """Import them with the first RPC that needs them: an import of ours raises for no variable."""
    global extract
    from opentelemetry import propagate

    extract = propagate.extract
    return extract(carrier, parent)


extract: Callable[[dict[str, str], Context], Context] = _import_extract
"""Returns the context with what the metadata of an RPC say of its caller's span."""
