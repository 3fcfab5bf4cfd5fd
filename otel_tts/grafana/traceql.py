"""TraceQL: the searches of the Requests dashboard, over the registry's spans and attributes.

The language: https://grafana.com/docs/tempo/latest/traceql/
"""

from __future__ import annotations

from otel_tts.semconv import (
    ATTEMPT_COUNT,
    ERROR_TYPE,
    FALLBACK_USED,
    OUTCOME,
    PROVIDER,
    SYNTHESIS_SPAN,
    VOICE,
    Attribute,
    Outcome,
)

_SHOWN = (OUTCOME, ERROR_TYPE, PROVIDER, VOICE)


def slow(seconds: float) -> str:
    """Syntheses that took longer."""
    return _search(f"duration > {seconds:g}s")


def failed() -> str:
    """Syntheses that ended in error, or missed their deadline."""
    return _search(_one_of(OUTCOME, Outcome.ERROR, Outcome.DEADLINE))


def cut_short() -> str:
    """Syntheses whose audio broke off, or had no samples."""
    return _search(_one_of(OUTCOME, Outcome.PARTIAL, Outcome.EMPTY))


def fallen_back() -> str:
    """Syntheses for which another provider than the first was asked."""
    return _search(f"span.{FALLBACK_USED.key} = true")


def _search(condition: str) -> str:
    """Nothing matches an attribute that is not there, and a request that came to no provider has none: it belongs to all."""
    provider = f'(span.{PROVIDER.key} =~ "$provider" || span.{ATTEMPT_COUNT.key} = 0)'
    shown = ", ".join(f"span.{attribute.key}" for attribute in _SHOWN)
    return f'{{ name = "{SYNTHESIS_SPAN.name}" && resource.service.name =~ "$service" && {provider} && {condition} }} | select({shown})'


def _one_of(attribute: Attribute, *values: str) -> str:
    return f'span.{attribute.key} =~ "{"|".join(values)}"'
