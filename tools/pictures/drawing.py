"""A dashboard as a web page: its panels in their places, each drawn by what its JSON says."""

from __future__ import annotations

import json
from html import escape

from otel_tts import formatting
from tools.pictures import figures
from tools.pictures.answers import JSON, Sources

_UNIT = 38  # pixels of height that Grafana gives one unit of the grid
_STYLE = """
:root{--ground:#f4f5f5;--panel:#fff;--text:#24292e;--faint:#6b7280;--line:#e0e2e6}
:root.dark{--ground:#111217;--panel:#181b1f;--text:#d8d9da;--faint:#8e8e8e;--line:#2c3235}
*{box-sizing:border-box}
body{margin:0;padding:12px;background:var(--ground);color:var(--text);font:13px Inter,Helvetica,Arial,sans-serif}
.bar{display:flex;flex-wrap:wrap;gap:6px;padding:0 0 10px}
.bar h1{font-size:17px;margin:0 12px 0 0}
.bar span{border:1px solid var(--line);padding:2px 8px;
background:var(--panel);border-radius:3px}
.board{display:grid;grid-template-columns:repeat(24,1fr);grid-auto-rows:30px;gap:8px}
.panel{background:var(--panel);border:1px solid var(--line);border-radius:3px;padding:6px 8px;overflow:hidden;display:flex;
flex-direction:column}
.panel h2{flex:none;font-size:13px;font-weight:500;margin:0 0 4px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.row{font-weight:500;padding:6px 2px;font-size:15px}
.stat{flex:1;display:flex;align-items:center;justify-content:center;flex-wrap:wrap;gap:4px 14px;
text-align:center;font-weight:600;overflow:hidden}
.stat small{display:block;font-size:12px;font-weight:400;color:var(--text)}
.plot{flex:1;min-height:0}
.none{flex:1;display:flex;align-items:center;justify-content:center;color:#999;font-size:16px}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:3px 8px;border-bottom:1px solid var(--line);white-space:nowrap;overflow:hidden}
td.wrapped{white-space:normal;min-width:250px}
th{font-weight:500;color:var(--faint)}
.scroll{overflow:hidden;flex:1}
td a{color:#6e9fff}
@media(max-width:700px){.board{display:block}
.panel{margin-bottom:8px}
.stat{min-height:70px}
.panel.plotted{height:300px}
.panel.tabled{max-height:340px}}
"""


def page(board: JSON, sources: Sources, scheme: str, plotly: str) -> str:
    """The page.

    Args:
        board: the dashboard's JSON model.
        sources: answer the queries.
        scheme: `light` or `dark`.
        plotly: the text of plotly.js.
    """
    plots: list[tuple[str, JSON]] = []
    marks = [
        (series.points[0][0], str(one["iconColor"]))
        for one in board["annotations"]["list"]
        for series in sources.series({}, _range(one))
    ]
    panels = "".join(_panel(panel, sources, scheme, marks, plots) for panel in board["panels"])
    choices = "".join(
        f"<span>{escape(v['label'])}: {escape(sources.chosen.get(v['name'], 'All') if v['name'] == 'service' else _current(v))}</span>"
        for v in board["templating"]["list"]
    )
    period = f"<span>{formatting.period(sources.start, sources.end)}</span>"
    drawn = "".join(
        f"Plotly.newPlot('{name}',{json.dumps(p['data'])},{json.dumps(p['layout'])},{{staticPlot:true}});" for name, p in plots
    )
    return (
        f'<!doctype html><html class="{scheme}"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{_STYLE}'
        f'</style><script>{plotly}</script><div class="bar"><h1>{escape(board["title"])}</h1>{choices}{period}</div>'
        f'<div class="board">{panels}</div><script>{drawn}</script></html>'
    )


def _range(annotation: JSON) -> JSON:
    return {"expr": annotation["target"]["expr"], "instant": False, "legendFormat": ""}


def _current(variable: JSON) -> str:
    text = variable["current"]["text"]
    return str(text[0] if isinstance(text, list) else text) + (" (5m)" if variable["type"] == "interval" else "")


def _panel(panel: JSON, sources: Sources, scheme: str, marks: list[tuple[float, str]], plots: list[tuple[str, JSON]]) -> str:
    at = panel["gridPos"]
    place = f"grid-column:{at['x'] + 1}/span {at['w']};grid-row:{at['y'] + 1}/span {at['h']}"
    if panel["type"] == "row":
        hidden = f" (panels: {len(panel['panels'])})" if panel["collapsed"] else ""
        return f'<div class="row" style="{place}">{"▸" if panel["collapsed"] else "▾"} {escape(panel["title"])}{hidden}</div>'
    kind, body = _body(panel, sources, scheme, marks, plots)
    return f'<div class="panel {kind}" style="{place}"><h2>{escape(sources.filled(panel["title"]))}</h2>{body}</div>'


def _body(
    panel: JSON, sources: Sources, scheme: str, marks: list[tuple[float, str]], plots: list[tuple[str, JSON]]
) -> tuple[str, str]:
    fields = panel["fieldConfig"]["defaults"]
    nothing = f'<div class="none">{escape(fields.get("noValue", "No data"))}</div>'
    if panel["type"] == "table" and "service" in panel["targets"][0]:
        rows = list(sources.traces(panel["targets"][0]))
        return "tabled", figures.traces(panel, rows) if rows else nothing
    series = [one for target in panel["targets"] if "expr" in target for one in sources.series(panel, target)]
    if not series:
        return "empty", nothing
    match panel["type"]:
        case "table":
            return "tabled", figures.alerts(panel, series, sources.end)
        case "stat":
            return "stated", f'<div class="stat">{"".join(figures.number(panel, one, len(series)) for one in series)}</div>'
    name = f"plot{panel['id']}"
    figure = {"heatmap": figures.heatmap, "state-timeline": figures.states}.get(panel["type"], figures.lines)(panel, series)
    ink, line = ("#d8d9da", "#2c3235") if scheme == "dark" else ("#24292e", "#e0e2e6")
    axis = {"gridcolor": line, "zerolinecolor": line, "automargin": True}
    layout = {
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": ink, "size": 11},
        "margin": dict.fromkeys("lrtb", 4),
        "legend": {"orientation": "h", "y": -0.18, "font": {"size": 10}},
        "xaxis": {
            **axis, "type": "date", "tickangle": 0, "nticks": 4, "tickformat": "%H:%M",
            "range": [figures.moment(sources.start), figures.moment(sources.end)],
        },
        "yaxis": {**axis, **figure.pop("yaxis", {})}, "showlegend": panel["type"] == "timeseries", "shapes": figure.pop("shapes", []),
    }  # fmt: skip
    layout["shapes"] += [
        {
            "type": "line",
            "x0": figures.moment(m),
            "x1": figures.moment(m),
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": colour, "dash": "dot", "width": 1},
        }
        for m, colour in marks
    ]
    plots.append((name, {"data": figure["data"], "layout": layout}))
    return "plotted", f'<div class="plot" id="{name}"></div>'
