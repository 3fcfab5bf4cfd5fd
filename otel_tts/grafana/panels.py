"""The few kinds of panels there are, each made of queries by name and of what to do when it looks bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Literal

from otel_tts.conditions import BY_NAME, Condition
from otel_tts.conditions.telemetry import SILENT_AFTER
from otel_tts.grafana import styling, thresholds
from otel_tts.grafana.elements import JSON, Chart, OtherPanel, PanelTarget
from otel_tts.grafana.home import Home
from otel_tts.grafana.layout import Placed
from otel_tts.grafana.links import PanelLink
from otel_tts.grafana.places import PLACES
from otel_tts.grafana.queries import PanelQuery
from otel_tts.grafana.searches import LIMIT as FOUND
from otel_tts.grafana.searches import Search
from otel_tts.grafana.units import grafana_unit
from otel_tts.grafana.variables import METRICS, TRACES, scope
from otel_tts.palette import BAD, CYCLE, GOOD
from otel_tts.promql import label
from otel_tts.promql.query import MOST_VOICES
from otel_tts.semconv import ERROR_TYPE, OUTCOME, PROVIDER, VOICE

SILENT = "nothing in this time"
"""Why there is no data, where no panel knows better."""
_EXTRAPOLATED = (
    "It is an estimate: Prometheus extrapolates what it saw to both ends of the window, so the exact sum may differ a little."
)


class Panels:
    """Makes the panels of a dashboard for one Grafana.

    Args:
        home: where the dashboards are: Grafana, data sources and runbooks.
    """

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
        near: Literal["", "nothing", "all"] = "",
        absent: str = SILENT,
        links: Sequence[PanelLink] = (),
        width: int = 8,
        height: int = 8,
    ) -> Placed:
        """Lines over time.

        Args:
            title: the heading.
            bad: what a bad value looks like, and what to do.
            lines: the queries.
            shows: what it shows; empty: as its first query is described.
            unit: Grafana's unit; empty: that of the query.
            condition: the name of the condition that judges it; empty without one.
            colours: of series by their names; None: the palette's.
            stacked: whether series are drawn on top of each other.
            near: of shares, which end of 0 to 1 is usual and fits the axis.
            absent: why there may be no data.
            links: the links of its points.
            width: in columns of the 24 of Grafana's grid.
            height: in rows of Grafana's grid.
        """
        judged = BY_NAME.get(condition)
        unit = unit or grafana_unit(lines[0].definition.unit)
        labels = [
            attribute for attribute in lines[0].definition.labels if all(attribute in line.definition.labels for line in lines)
        ]
        fields = {
            **styling.formatted(unit),
            "noValue": absent,
            "color": thresholds.BY_NAME,
            "custom": {"axisSoftMin": 0.9} if near == "all" else {"axisSoftMax": 0.1} if near == "nothing" else {},
            "links": [link.of_point(labels) for link in links],
        }
        limits = [limit for line in lines if (limit := line.limit)]
        panel = Chart(
            **self._common(title, bad, (*lines, *limits), shows, judged),
            unit=unit,
            valueMin=None if near == "all" or lines[0].definition.unit == "dB" else 0,
            valueMax=1 if near == "all" else None,
            fillOpacity=70 if stacked else 0,
            lineWidth=0 if stacked else 1,  # a line around nothing of the last would lie on the edge of the first
            stacking={"mode": "normal" if stacked else "none", "group": "A"},
            legendDisplayMode="list",
            tooltipMode="multi",
            tooltipSort="desc",
            showPoints="auto",
            overrides=[
                *styling.coloured(colours or {}),
                *(styling.DASHED if limits or any(line.legend.startswith("reference ") for line in lines) else ()),
            ],
            thresholds=thresholds.steps(judged),
            thresholdsStyleMode="dashed" if judged else "off",
            transformations=styling.renamed(lines[0].definition.labels),
            extraJson={"fieldConfig": {"defaults": fields}},
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
        objective: float | None = None,
        at_most: float | None = None,
        absent: str = SILENT,
        links: Sequence[PanelLink] = (),
        named: Mapping[int, tuple[str, str]] | None = None,
        width: int = 4,
    ) -> Placed:
        """One number, of the end of the time shown.

        Args:
            title: the heading.
            bad: what a bad value looks like, and what to do.
            line: the query.
            unit: Grafana's unit; empty: that of the query.
            condition: the name of the condition that judges it; empty without one.
            objective: from where on it is good; None: no limit.
            at_most: the most that is good; None: no limit.
            absent: why there may be no data.
            links: the links of its points.
            named: words and colours of values.
            width: in columns of the 24 of Grafana's grid.
        """
        judged = BY_NAME.get(condition)
        verdict = judged is not None or objective is not None or at_most is not None or named
        options = {
            "colorMode": "value" if verdict else "none",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "value_and_name" if line.name else "value",
            "wideLayout": True,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
        unit = unit or grafana_unit(line.definition.unit)
        fields = {**styling.formatted(unit), **thresholds.unknown(absent), "links": [link.of_whole() for link in links]}
        fields["mappings"] = [*fields["mappings"], *styling.words(named or {})]
        panel = self._view("stat", title, bad, line, judged, options, unit=unit, fields=fields)
        panel.thresholds = thresholds.steps(judged, objective, at_most)
        panel.transformations = styling.renamed(line.definition.labels) if line.name else None
        return Placed(panel, width, 5)

    def silence(self, width: int = 4) -> Placed:
        """How old the newest telemetry is, on every dashboard: all other numbers are of before.

        Args:
            width: in columns of the 24 of Grafana's grid.
        """
        return self.stat(
            "Newest telemetry, age",
            "More than two minutes: a service, the Collector or Prometheus is down, and everything else here is from before. See the "
            "Telemetry pipeline dashboard, which names the service.",
            PanelQuery(query="silence"),
            at_most=SILENT_AFTER,
            absent="nothing received for an hour",
            width=width,
        )

    def alerts(self, width: int = 18) -> Placed:
        """A table of the alerts that fire, with what each means for people and the way to its runbook.

        Args:
            width: in columns of the 24 of Grafana's grid.
        """
        judged = [condition for condition in BY_NAME.values() if condition.query]
        meanings = {condition.name: condition.meaning for condition in judged}
        anchors = {condition.name: condition.name.lower() for condition in judged}
        columns = {
            "severity": "Severity", "alertname": "Alert", label(PROVIDER): "Provider", "Value": "Since", "meaning": "Meaning",
            "runbook": "Runbook", "service_name": "Service", **{place.label: place.title for place in PLACES.values()},
        }  # fmt: skip
        runbook = {"title": "Runbook", "url": f"{self.home.runbooks}#${{__value.text}}", "targetBlank": True}
        overrides = [
            styling.override("Meaning", mappings=styling.texts(meanings), **styling.WRAPPED),
            styling.override("Runbook", mappings=styling.texts(anchors), links=[runbook]),
            styling.override("Since", unit=grafana_unit("ms"), **styling.narrow(100)),
            styling.override("Severity", **styling.narrow(80)),
            styling.override("Provider", **styling.narrow(90)),
        ]
        panel = OtherPanel(
            **self._common(
                "Alerts firing",
                "Follow the runbook of the first page, then of the others. Alertmanager says who was told.",
                (PanelQuery(query="alerts_firing", legend="alerts"),),
                "Alerts that fire now, each with what it means and since when; the one that always fires is beside.",
                None,
                "table",
                once=True,
            ),
            thresholds=thresholds.steps(None),
            transformations=styling.organized(columns, "Time"),
            extraJson=styling.own(
                "table", {"showHeader": True, "cellHeight": "sm"}, {"unit": "none", "noValue": "no alert fires"}, overrides
            ),
        )
        return Placed(panel, width, 5)

    def watchdog(self, width: int = 4) -> Placed:
        """Whether alerting works: one alert always fires.

        Args:
            width: in columns of the 24 of Grafana's grid.
        """
        return self.stat(
            "Alerting",
            "broken: the alert that always fires does not. Nobody is told of anything: check that Prometheus evaluates the rules.",
            PanelQuery(query="watchdog"),
            unit=grafana_unit("{alert}"),
            named={0: ("broken", BAD), 1: ("works", GOOD)},
            absent="Prometheus does not answer",
            width=width,
        )

    def heatmap(self, title: str, bad: str, line: PanelQuery, *, width: int = 12) -> Placed:
        """How many values fell into each bucket, over time; a click on a dot opens a trace.

        Args:
            title: the heading.
            bad: what a bad value looks like, and what to do.
            line: the query.
            width: in columns of the 24 of Grafana's grid.
        """
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
        panel = self._view("heatmap", title, bad, line, None, options, unit="short", form="heatmap", fields={"noValue": SILENT})
        return Placed(panel, width, 8)

    def states(
        self,
        title: str,
        bad: str,
        line: PanelQuery,
        named: Mapping[int, tuple[str, str]],
        *,
        absent: str = SILENT,
        width: int = 24,
    ) -> Placed:
        """A state for each series over time.

        Args:
            title: the heading.
            bad: what a bad value looks like, and what to do.
            line: the query.
            named: the word and the colour of each value.
            absent: what is said where there are no data.
            width: in columns of the 24 of Grafana's grid.
        """
        options = {
            "alignValue": "left",
            "mergeValues": True,
            "rowHeight": 0.9,
            "showValue": "auto",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        }
        fields = {**thresholds.unknown(absent), "custom": {"fillOpacity": 70, "lineWidth": 0}}
        fields["mappings"] = [*fields["mappings"], *styling.words(named)]
        panel = self._view("state-timeline", title, bad, line, None, options, unit="none", fields=fields)
        return Placed(panel, width, 6)

    def traces(self, title: str, bad: str, shows: str, search: Search, *, width: int = 24, slowest_first: bool = False) -> Placed:
        """A table of requests; a click on an id opens the trace. With Tempo each has its outcome, error, provider and voice as columns.

        Of several queries Grafana's data source for Jaeger answers the first only, and the one for Tempo none of another's kind.

        Args:
            title: the heading.
            bad: what a bad value looks like, and what to do.
            shows: what it shows; empty: as its first query is described.
            search: finds the traces.
            width: in columns of the 24 of Grafana's grid.
            slowest_first: whether the slowest come first, in place of the newest.
        """
        asked = {"jaeger": search.in_jaeger(), "tempo": search.in_tempo()}
        order = [{"displayName": "Duration", "desc": True}] if slowest_first else [{"displayName": "Start time", "desc": True}]
        how = f"slowest first of the newest {FOUND}" if slowest_first else f"the newest {FOUND} at most"
        panel = OtherPanel(
            title=f"{title}: {how}",
            description=styling.description(f"{shows} {_COLUMNS}", bad),
            dataSource=TRACES,
            targets=[
                PanelTarget(ref=ref, datasource={"type": kind, **TRACES}, query=asked[kind])
                for ref, kind in zip("AB", asked, strict=True)
            ],
            thresholds=thresholds.steps(None),
            maxDataPoints=None,
            extraJson=styling.own(
                "table",
                {"showHeader": True, "cellHeight": "sm", "sortBy": order},
                {"unit": "short", "noValue": "no such request in this time"},
                [styling.override("Duration", **styling.narrow(100)), styling.override("Outcome", **styling.narrow(90))],
            ),
            transformations=styling.organized(_IDENTIFYING),
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
            **self._common(title, bad, (line,), "", judged, form, once=kind == "stat"),
            thresholds=thresholds.steps(judged),
            extraJson=styling.own(kind, options, given),
        )

    def _common(
        self,
        title: str,
        bad: str,
        lines: Sequence[PanelQuery],
        shows: str,
        judged: Condition | None,
        form: str = "time_series",
        *,
        once: bool = False,
    ) -> JSON:
        targets = [self._target(ref, line, form, once=once) for ref, line in zip(ascii_uppercase, lines, strict=False)]
        shows = shows or lines[0].definition.description
        if VOICE in lines[0].definition.labels:
            shows += f" Of more than {MOST_VOICES} voices, those with the most requests in all the time shown."
        return {
            "title": title,
            "description": styling.description(shows, bad, judged, self.home.runbooks, targets, lines[0].definition.unit),
            "dataSource": METRICS,
            "targets": targets,
            "maxDataPoints": None,
        }

    def _target(self, ref: str, line: PanelQuery, form: str, *, once: bool) -> PanelTarget:
        """A query; once: only of the end of the time shown, so that nothing older stands for it."""
        expression = line.definition(scope(line.scope, line.over, self.home.objectives))
        shown: JSON = {"legendFormat": line.name or "{{le}}" if form == "heatmap" else line.name or line.query.replace("_", " ")}
        query = {"expr": expression, "format": form, "range": not once, "instant": once, "editorMode": "code", **shown}
        return PanelTarget(ref=ref, datasource=METRICS, query={**query, "exemplar": line.exemplars})


_IDENTIFYING = {
    "Duration": "Duration", OUTCOME.key: "Outcome", ERROR_TYPE.key: "Error", PROVIDER.key: "Provider", VOICE.key: "Voice",
    "Start time": "Start time", "Trace ID": "Trace ID", "Span ID": "Span ID",
}  # fmt: skip
"""What tells a request from others comes first, and then the way to its trace: on a telephone the first columns are all that is seen.

The names are those of the fields that Grafana makes of Tempo's spans and of Jaeger's traces.
"""
_COLUMNS = (
    "With Tempo the table has outcome, error, provider and voice of each; Grafana's table of Jaeger's traces has start and duration "
    "only, and the outcome is that of the table. Tempo's searches are narrowed to the chosen environment, cluster, namespace and "
    "provider; those of Jaeger are not: they know no patterns."
)
