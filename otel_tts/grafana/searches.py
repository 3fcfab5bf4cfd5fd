"""The searches of the Requests dashboard, over the registry's spans and attributes, in the languages of Jaeger and of Tempo.

A panel asks in both; each kind of data source answers what is in its own language, and leaves the other:
https://grafana.com/docs/grafana/latest/datasources/jaeger/query-editor/ and https://grafana.com/docs/tempo/latest/traceql/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from otel_tts.grafana.elements import JSON
from otel_tts.grafana.places import PLACES
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

LIMIT = 50
"""Traces that a search finds, the newest of all."""
_PLACED = [f'("${name}" = ".*" || resource.{place.attribute} =~ "${name}")' for name, place in PLACES.items()]
"""What is chosen, where something is: Grafana writes ".*" for All."""
_SHOWN = (OUTCOME, ERROR_TYPE, PROVIDER, VOICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Syntheses of the chosen service. attribute: one that they have, with its value. longer_than_s: seconds that they took at least."""

    attribute: tuple[Attribute, str] | None = None
    longer_than_s: float = 0.0

    def in_jaeger(self) -> JSON:
        """The query as Grafana's data source for Jaeger takes it."""
        return {
            "queryType": "search",
            "service": "$service",
            "operation": SYNTHESIS_SPAN.name,
            "tags": f"{self.attribute[0].key}={self.attribute[1]}" if self.attribute else "",
            "minDuration": f"{self.longer_than_s:g}s" if self.longer_than_s else "",
            "limit": LIMIT,
        }

    def in_tempo(self) -> JSON:
        """The query as Grafana's data source for Tempo takes it, also narrowed to the chosen places and providers.

        Nothing matches an attribute that is not there. A request that came to no provider has none: it belongs to all. A service that
        does not say where it runs is found where no place is chosen.
        """
        provider = f'(span.{PROVIDER.key} =~ "$provider" || span.{ATTEMPT_COUNT.key} = 0)'
        conditions = [
            f'name = "{SYNTHESIS_SPAN.name}"',
            'resource.service.name =~ "$service"',
            provider,
            *_PLACED,
            *self._conditions(),
        ]
        shown = ", ".join(f"span.{attribute.key}" for attribute in _SHOWN)
        query = f"{{ {' && '.join(conditions)} }} | select({shown})"
        return {"queryType": "traceql", "query": query, "limit": LIMIT, "tableType": "spans", "filters": []}

    def _conditions(self) -> Sequence[str]:
        if self.attribute is None:
            return [f"duration > {self.longer_than_s:g}s"]
        attribute, value = self.attribute
        return [f"span.{attribute.key} = {value if attribute.type == 'boolean' else json.dumps(value)}"]


def slow(seconds: float) -> Search:
    """Syntheses that took longer.

    Args:
        seconds: that the requests took at least.
    """
    return Search(longer_than_s=seconds)


def ended(outcome: Outcome) -> Search:
    """Syntheses with this outcome.

    Args:
        outcome: of the requests.
    """
    return Search(attribute=(OUTCOME, outcome))


FALLEN_BACK = Search(attribute=(FALLBACK_USED, "true"))
"""Syntheses for which another provider than the first was asked."""
