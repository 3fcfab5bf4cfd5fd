"""The few kinds of panels there are, each made of queries by name and of what to do when it looks bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from otel_tts.conditions import BY_NAME, Comparison, Condition
from otel_tts.grafana.elements import JSON, Chart, OtherPanel, PanelTarget, Step
from otel_tts.grafana.home import Home
from otel_tts.grafana.layout import Placed
from otel_tts.grafana.searches import Search
from otel_tts.grafana.units import grafana_unit
from otel_tts.grafana.variables import METRICS, TRACES, scope
from otel_tts.palette import BAD, CYCLE, GOOD, REFERENCE
from otel_tts.promql import QUERIES, label
from otel_tts.promql.query import Query

WHOLE = "$__range"
"""The window of a query that is asked once, about all of the time shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelQuery:
    """A query of a panel.

    legend: the name of each of its series; by default their attributes. window: in place of Grafana's own. scope: what it is asked about,
    see `variables.scope`.
    """

    query: str
    legend: str = ""
    window: str = "$__rate_interval"
    exemplars: bool = False
    scope: str = "service"

    @property
    def definition(self) -> Query:
        """The query."""
        return QUERIES[self.query]

    @property
    def name(self) -> str:
        """Its legend, as Grafana has it."""
        return self.legend or " · ".join(f"{{{{{label(attribute)}}}}}" for attribute in self.definition.labels)


class Panels:
    """Makes the panels of a dashboard for one Grafana."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def chart(
        self,
        title: str,
        bad: str,
        *lines: PanelQuery,
        shows: str = "",
        unit: str = "",
        condition: str = "",
        colours: Mapping[str, str] | None = None,
        stacked: bool = False,
        share: bool = False,
        links: Sequence[JSON] = (),
        width: int = 8,
        height: int = 8,
    ) -> Placed:
        """Lines over time, from 0 up. share: values are at most 1."""
        judged = BY_NAME.get(condition)
        panel = Chart(
            **self._common(title, bad, lines, shows, judged),
            unit=unit or grafana_unit(lines[0].definition.unit),
            valueMin=None if lines[0].definition.unit == "dB" else 0,
            valueMax=1 if share else None,
            fillOpacity=30 if stacked else 8,
            stacking={"mode": "normal" if stacked else "none", "group": "A"},
            legendDisplayMode="list",
            tooltipMode="multi",
            tooltipSort="desc",
            showPoints="never",
            overrides=_coloured(colours or {}),
            thresholds=_steps(judged),
            thresholdsStyleMode="dashed" if judged else "off",
            extraJson={"fieldConfig": {"defaults": {"links": list(links)}}} if links else None,
        )
        return Placed(panel, width, height)

    def stat(
        self,
        title: str,
        bad: str,
        line: PanelQuery,
        *,
        unit: str = "",
        condition: str = "",
        least: float | None = None,
        width: int = 4,
    ) -> Placed:
        """One number, the latest, with its course behind it. least: what it should not be below, where no condition says so."""
        judged = BY_NAME.get(condition)
        options = {
            "colorMode": "none" if judged is None and least is None else "value",
            "graphMode": "none" if line.window == WHOLE else "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "value_and_name" if line.definition.labels else "auto",
            "wideLayout": True,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
        panel = self._view("stat", title, bad, line, judged, options, unit=unit)
        if least is not None:
            panel.thresholds = [Step(BAD), Step(GOOD, least)]
        return Placed(panel, width, 5)

    def heatmap(self, title: str, bad: str, line: PanelQuery, *, width: int = 12) -> Placed:
        """How many values fell into each bucket, over time; a click on a dot opens a trace."""
        options = {
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Viridis", "exponent": 0.5, "scale": "exponential", "steps": 64, "reverse": False},
            "exemplars": {"color": CYCLE[1]},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
        }  # fmt: skip
        return Placed(self._view("heatmap", title, bad, line, None, options, unit="short", form="heatmap"), width, 8)

    def states(
        self,
        title: str,
        bad: str,
        line: PanelQuery,
        named: Mapping[int, tuple[str, str]],
        *,
        condition: str = "",
        width: int = 24,
    ) -> Placed:
        """A state for each series over time. named: the word and the colour of each value."""
        options = {
            "alignValue": "left",
            "mergeValues": True,
            "rowHeight": 0.9,
            "showValue": "auto",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        }
        words = {str(value): {"text": text, "color": colour, "index": value} for value, (text, colour) in named.items()}
        fields = {"mappings": [{"type": "value", "options": words}], "custom": {"fillOpacity": 70, "lineWidth": 0}}
        panel = self._view("state-timeline", title, bad, line, BY_NAME.get(condition), options, unit="none", fields=fields)
        return Placed(panel, width, 6)

    def traces(self, title: str, bad: str, shows: str, search: Search, *, width: int = 24, slowest_first: bool = False) -> Placed:
        """A table of traces; a click on an id opens the trace.

        Of several queries Grafana's data source for Jaeger answers the first only, and the one for Tempo none of another's kind.
        """
        asked = {"jaeger": search.in_jaeger(), "tempo": search.in_tempo()}
        order = [{"displayName": "Duration", "desc": True}] if slowest_first else [{"displayName": "Start time", "desc": True}]
        panel = OtherPanel(
            title=title,
            description=_description(shows, bad),
            dataSource=TRACES,
            targets=[
                PanelTarget(ref=ref, datasource={"type": kind, **TRACES}, query=asked[kind])
                for ref, kind in zip("AB", asked, strict=True)
            ],
            thresholds=_steps(None),
            maxDataPoints=None,
            extraJson=_own("table", {"showHeader": True, "cellHeight": "sm", "sortBy": order}, {"unit": "short"}),
        )
        return Placed(panel, width, 9)

    def _view(
        self,
        kind: str,
        title: str,
        bad: str,
        line: PanelQuery,
        judged: Condition | None,
        options: JSON,
        *,
        unit: str = "",
        form: str = "time_series",
        fields: JSON | None = None,
    ) -> OtherPanel:
        given = {"unit": unit or grafana_unit(line.definition.unit), **(fields or {})}
        return OtherPanel(
            **self._common(title, bad, (line,), "", judged, form),
            thresholds=_steps(judged),
            extraJson=_own(kind, options, given),
        )

    def _common(
        self, title: str, bad: str, lines: Sequence[PanelQuery], shows: str, judged: Condition | None, form: str = "time_series"
    ) -> JSON:
        return {
            "title": title,
            "description": _description(shows or lines[0].definition.description, bad, judged, self.home.runbooks),
            "dataSource": METRICS,
            "targets": [self._target(ref, line, form) for ref, line in zip(ascii_uppercase, lines, strict=False)],
            "maxDataPoints": None,
        }

    def _target(self, ref: str, line: PanelQuery, form: str) -> PanelTarget:
        expression = line.definition(scope(line.scope, line.window, self.home.objectives))
        shown: JSON = {"legendFormat": line.name or "{{le}}" if form == "heatmap" else line.name or line.query.replace("_", " ")}
        once = line.window == WHOLE
        query = {"expr": expression, "format": form, "range": not once, "instant": once, "editorMode": "code", **shown}
        return PanelTarget(ref=ref, datasource=METRICS, query={**query, "exemplar": line.exemplars})


def _own(kind: str, options: JSON, fields: JSON) -> JSON:
    """The part of a panel that only its type has."""
    return {"type": kind, "options": options, "fieldConfig": {"defaults": fields, "overrides": []}}


def _description(shows: str, bad: str, judged: Condition | None = None, runbooks: str = "") -> str:
    alert = (
        f"\n\nThe dashed line is the threshold of the alert `{judged.name}`: {runbooks}#{judged.name.lower()}" if judged else ""
    )
    return f"{' '.join(shows.split())}\n\n**What to check:** {bad}{alert}"


def _steps(judged: Condition | None) -> list[Step]:
    if judged is None:
        return [Step(REFERENCE)]
    low, high = (BAD, GOOD) if judged.comparison is Comparison.BELOW else (GOOD, BAD)
    return [Step(low), Step(high, judged.threshold)]


def _coloured(colours: Mapping[str, str]) -> list[JSON]:
    """Series whose name is, or ends with, a word have the word's colour."""
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/(^|· ){word}$/"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for word, colour in colours.items()
    ]


def link(title: str, uid: str, **variables: str) -> dict[str, Any]:
    """A way from a point to another dashboard, at the same time and with the same choices but those given."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return {
        "title": title,
        "url": f"/d/otel-tts-{uid}?${{__url_time_range}}&${{service:queryparam}}&${{traces:queryparam}}{chosen}",
        "targetBlank": False,
    }
