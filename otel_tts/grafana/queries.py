"""The queries of a panel."""

from __future__ import annotations

from dataclasses import dataclass, replace

from otel_tts.grafana.variables import WINDOW
from otel_tts.promql import QUERIES, label
from otel_tts.promql.expressions import LIMIT
from otel_tts.promql.query import Query

WHOLE = "$__range"
"""The window of a query that is asked once, about all of the time shown."""
POINT = "$__rate_interval"
"""The window of what is counted by the second: as long as a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelQuery:
    """A query of a panel.

    legend: the name of each of its series; by default their attributes. window: by default that of a point for what is counted by the
    second, and for shares, quantiles and means the chosen one, so that one request more does not turn them over. scope: what it is
    asked about, see `variables.scope`.
    """

    query: str
    legend: str = ""
    window: str = ""
    exemplars: bool = False
    scope: str = "service"

    @property
    def definition(self) -> Query:
        """The query's definition."""
        return QUERIES[self.query]

    @property
    def over(self) -> str:
        """The window of the query."""
        counted = self.definition.unit not in ("1", "s", "dB") and not self.query.endswith(("_p50", "_p95", "_p99"))
        return self.window or (POINT if counted else WINDOW)

    @property
    def limit(self) -> PanelQuery | None:
        """Where a quantile is only known to be at least the last bucket's bound; None of what is no quantile."""
        if self.query + LIMIT not in QUERIES:
            return None
        bound = QUERIES[self.query + LIMIT].bound
        legend = f"{self.name}, " if self.name else ""
        return replace(self, query=self.query + LIMIT, legend=f"{legend}at least {bound:g}", exemplars=False)

    @property
    def name(self) -> str:
        """Its legend, as Grafana has it."""
        return self.legend or " · ".join(f"{{{{{label(attribute)}}}}}" for attribute in self.definition.labels)
