"""Links from a panel to another dashboard. They keep the choices: data sources, place, service, provider and time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from otel_tts.grafana.elements import JSON
from otel_tts.grafana.places import PLACES
from otel_tts.promql import label
from otel_tts.semconv import PROVIDER, Attribute

AROUND_MS = 600_000
"""How much time is shown around a point."""
KEPT = ("datasource", "traces", *PLACES, "service")
"""The choices that all dashboards have in common."""


@dataclass(frozen=True, slots=True)
class PanelLink:
    """A link to another dashboard. page: its name."""

    title: str
    page: str

    def of_point(self, labels: Collection[Attribute]) -> JSON:
        """Make the link of a point: to the time around it and, where series are split by ``labels``, to its own provider."""
        return self._link(f"time=${{__value.time}}&time.window={AROUND_MS}", PROVIDER in labels)

    def of_whole(self) -> JSON:
        """Make the link of a number: to all of the time shown."""
        return self._link("${__url_time_range}", own=False)

    def _link(self, time: str, own: bool) -> JSON:
        chosen = [f"${{{name}:queryparam}}" for name in KEPT]
        provider = f"var-provider=${{__field.labels.{label(PROVIDER)}}}" if own else "${provider:queryparam}"
        return {
            "title": self.title,
            "url": f"/d/otel-tts-{self.page}?{'&'.join((time, *chosen, provider))}",
            "targetBlank": False,
        }


TO_REQUESTS = PanelLink("Requests of this time", "requests")
