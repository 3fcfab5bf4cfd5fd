"""A dashboard as a web page: its panels in their places, each drawn by what its JSON says."""

from __future__ import annotations

import json
import math
import re
import time
from datetime import datetime
from hashlib import md5
from html import escape
from itertools import pairwise
from typing import Any

from otel_tts import formatting
from tools.pictures.answers import JSON, Series, Sources

_CLASSIC = (
    "#7EB26D",
    "#EAB839",
    "#6ED0E0",
    "#EF843C",
    "#E24D42",
    "#1F78C1",
    "#BA43A9",
    "#705DA0",
    "#508642",
    "#CCA300",
    "#447EBC",
)
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
.panel h2{font-size:13px;font-weight:500;margin:0 0 4px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.row{font-weight:500;padding:6px 2px;font-size:15px}
.stat{flex:1;display:flex;align-items:center;justify-content:center;flex-wrap:wrap;gap:4px 14px;
text-align:center;font-weight:600;overflow:hidden}
.stat small{display:block;font-size:12px;font-weight:400;color:var(--text)}
.plot{flex:1;min-height:0}
.none{flex:1;display:flex;align-items:center;justify-content:center;color:#999;font-size:16px}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:3px 8px;border-bottom:1px solid var(--line);white-space:nowrap;overflow:hidden}
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
    """The page. plotly: the text of plotly.js."""
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
        order = panel["options"]["sortBy"][0]["displayName"] == "Duration"
        rows.sort(key=lambda row: row[3 if order else 2], reverse=True)
        shown = [(_link(a), escape(b), formatting.date(c), formatting.duration(d)) for a, b, c, d in rows]
        return "tabled", _table(("Trace ID", "Trace name", "Start time", "Duration"), shown) if rows else nothing
    series = [one for target in panel["targets"] if "expr" in target for one in sources.series(panel, target)]
    if not series:
        return "empty", nothing
    match panel["type"]:
        case "table":
            return "tabled", _alerts(panel, series)
        case "stat":
            return "stated", f'<div class="stat">{"".join(_number(panel, one, len(series)) for one in series)}</div>'
    name = f"plot{panel['id']}"
    figure = {"heatmap": _heatmap, "state-timeline": _states}.get(panel["type"], _lines)(panel, series)
    ink, line = ("#d8d9da", "#2c3235") if scheme == "dark" else ("#24292e", "#e0e2e6")
    axis = {"gridcolor": line, "zerolinecolor": line, "automargin": True}
    layout = {
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": ink, "size": 11},
        "margin": dict.fromkeys("lrtb", 4),
        "legend": {"orientation": "h", "y": -0.18, "font": {"size": 10}}, "xaxis": {**axis, "type": "date"},
        "yaxis": {**axis, **figure.pop("yaxis", {})}, "showlegend": panel["type"] == "timeseries", "shapes": figure.pop("shapes", []),
    }  # fmt: skip
    layout["shapes"] += [
        {
            "type": "line",
            "x0": _moment(m),
            "x1": _moment(m),
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": colour, "dash": "dot", "width": 1},
        }
        for m, colour in marks
    ]
    plots.append((name, {"data": figure["data"], "layout": layout}))
    return "plotted", f'<div class="plot" id="{name}"></div>'


def _lines(panel: JSON, series: list[Series]) -> JSON:
    fields = panel["fieldConfig"]["defaults"]
    stacked = fields["custom"]["stacking"]["mode"] == "normal"
    data: list[JSON] = []
    for one in series:
        xs, ys = _gaps(one.points)
        alone = len(one.points) < 40
        line = {"color": _series_colour(panel, one.name), "width": 1.2, "dash": "dash" if "at least" in one.name else "solid"}
        data.append({
            "x": xs, "y": ys, "name": one.name, "line": line, "mode": "lines+markers" if alone else "lines", "marker": {"size": 4},
            **({"stackgroup": "A"} if stacked else {}),
        })  # fmt: skip
    values = [value for one in series for _, value in one.points]
    custom = fields["custom"]
    low = fields.get("min", min([*values, custom.get("axisSoftMin", math.inf)]))
    sums: dict[float, float] = {}
    for one in series:
        for moment, value in one.points:
            sums[moment] = sums.get(moment, 0) + value
    top = max([*(sums.values() if stacked else values), custom.get("axisSoftMax", -math.inf)])
    high = fields.get("max") or (top + (top - low) * 0.08 if top > low else low + 1)
    ticks = [low + (high - low) * share for share in (0, 0.25, 0.5, 0.75, 1)]
    if fields["unit"] == "short" and high <= 5:
        ticks = [float(tick) for tick in range(int(high) + 1)]
    axis = {"range": [low, high], "tickvals": ticks, "ticktext": [_text(tick, fields["unit"]) for tick in ticks]}
    steps = [s for s in fields["thresholds"]["steps"] if s["value"] is not None and custom["thresholdsStyle"]["mode"] == "dashed"]
    shapes = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": s["value"],
            "y1": s["value"],
            "line": {"color": s["color"], "dash": "dash", "width": 1},
        }
        for s in steps
    ]
    return {"data": data, "yaxis": axis, "shapes": shapes}


def _heatmap(panel: JSON, series: list[Series]) -> JSON:
    ordered = sorted(series, key=lambda one: float(one.labels["le"]))
    moments = sorted({moment for one in ordered for moment, _ in one.points})
    cells, below = [], dict.fromkeys(moments, 0.0)
    for one in ordered:
        now = {**below, **dict(one.points)}
        cells.append([now[m] - below[m] or None for m in moments])
        below = now
    labels = [formatting.duration(float(one.labels["le"])) if one.labels["le"] != "+Inf" else "more" for one in ordered]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [_moment(m) for m in moments],
                "y": labels,
                "z": cells,
                "colorscale": "Viridis",
                "showscale": False,
            }
        ]
    }


def _states(panel: JSON, series: list[Series]) -> JSON:
    words = {v: o for m in panel["fieldConfig"]["defaults"]["mappings"] if m["type"] == "value" for v, o in m["options"].items()}
    data = []
    for one in series:
        for moment, value in one.points:
            data.append({"x": _moment(moment), "y": one.name, "c": words[f"{value:g}"]["color"]})
    marker = {"color": [d["c"] for d in data], "symbol": "square", "size": 14}
    return {
        "data": [{"x": [d["x"] for d in data], "y": [d["y"] for d in data], "mode": "markers", "marker": marker}],
        "yaxis": {"type": "category"},
    }


def _number(panel: JSON, one: Series, count: int) -> str:
    fields, value = panel["fieldConfig"]["defaults"], one.points[-1][1]
    text, colour = _text(value, fields["unit"]), "inherit"
    for mapping in fields["mappings"]:
        if mapping["type"] == "value" and (word := mapping["options"].get(f"{value:g}")):
            text, colour = word["text"], word["color"]
    if panel["options"]["colorMode"] == "value" and colour == "inherit":
        colour = [s["color"] for s in fields["thresholds"]["steps"] if s["value"] is None or value >= s["value"]][-1]
    name = f"<small>{escape(one.name)}</small>" if panel["options"]["textMode"] == "value_and_name" else ""
    return f'<div style="color:{colour};font-size:{30 if count == 1 else 20}px">{name}{escape(text)}</div>'


def _alerts(panel: JSON, series: list[Series]) -> str:
    columns = panel["transformations"][0]["options"]["renameByName"]
    texts = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]} for o in panel["fieldConfig"]["overrides"]}
    rows = []
    for one in series:
        cells = {**one.labels, "Value": f"{formatting.elapsed(time.time() - one.points[-1][1] / 1000)} ago"}
        row = []
        for key, title in columns.items():
            value = cells.get(key, "")
            for mapping in texts.get(title, {}).get("mappings", ()):
                value = mapping["options"].get(value, {"text": value})["text"]
            row.append(_link(value) if title == "Runbook" else escape(value))
        rows.append(row)
    return _table(columns.values(), rows)


def _table(columns: Any, rows: Any) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _link(text: str) -> str:
    return f"<a>{escape(text)}</a>"


def _series_colour(panel: JSON, name: str) -> str:
    for one in panel["fieldConfig"]["overrides"]:
        pattern = one["matcher"]["options"].strip("/")
        colours = [p["value"]["fixedColor"] for p in one["properties"] if p["id"] == "color"]
        if colours and re.search(pattern, name):
            return str(colours[0])
    return _CLASSIC[md5(name.encode(), usedforsecurity=False).digest()[0] % len(_CLASSIC)]


def _gaps(points: list[tuple[float, float]]) -> tuple[list[str], list[float | None]]:
    """Points with a break where some are missing."""
    step = min((b - a for (a, _), (b, _) in pairwise(points)), default=0)
    xs: list[str] = []
    ys: list[float | None] = []
    for index, (moment, value) in enumerate(points):
        if index and moment - points[index - 1][0] > 1.5 * step:
            xs.append(_moment(moment - 1))
            ys.append(None)
        xs.append(_moment(moment))
        ys.append(value)
    return xs, ys


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _text(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{value:.2%}"
        case "s":
            return formatting.duration(value)
        case "short":
            return formatting.count(value)
        case "bytes":
            return formatting.value(value, "By") if value >= 1e5 else f"{value / 1e3:.3g} kB"
        case "currencyUSD":
            return formatting.dollars(value)
        case "reqps":
            return f"{value:.3g} req/s"
    return (
        f"{value:.3g} {unit.removeprefix('count:')}"
        if unit.startswith("count:")
        else f"{value:.3g}" + (" dB" if unit == "dB" else "")
    )
