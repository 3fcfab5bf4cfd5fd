"""What a panel shows: a figure for Plotly, or a piece of HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from datetime import datetime
from hashlib import md5
from html import escape
from itertools import pairwise

from otel_tts import formatting
from tools.pictures.answers import JSON, Series

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


def lines(panel: JSON, series: list[Series]) -> JSON:
    """Lines over time, with thresholds.

    Args:
        panel: its JSON model.
        series: the answers.
    """
    fields = panel["fieldConfig"]["defaults"]
    stacked = fields["custom"]["stacking"]["mode"] == "normal"
    data: list[JSON] = []
    times_s = sorted({time_s for one in series for time_s, _ in one.points})
    for one in series:
        points = _stacked(one.points, times_s) if stacked else _gaps(one.points)
        colour = _series_colour(panel, one.name)
        line = {
            "color": colour,
            "width": 1.2 * fields["custom"]["lineWidth"],
            "dash": "dash" if _dashed(panel, one.name) else "solid",
        }
        fill = {"stackgroup": "A", "fillcolor": f"{colour}{round(2.55 * fields['custom']['fillOpacity']):02x}"}
        data.append({
            "x": [moment(time_s) for time_s, _ in points], "y": [value for _, value in points], "name": one.name, "line": line,
            "mode": "lines+markers", "marker": {"size": _marks(points, [time_s for time_s, _ in one.points]), "line": {"width": 0}},
            **(fill if stacked else {}),
        })  # fmt: skip
    values = [value for one in series for _, value in one.points]
    custom = fields["custom"]
    low = fields.get("min", min([*values, custom.get("axisSoftMin", math.inf)]))
    sums: dict[float, float] = {}
    for one in series:
        for time_s, value in one.points:
            sums[time_s] = sums.get(time_s, 0) + value
    top = max([*(sums.values() if stacked else values), custom.get("axisSoftMax", -math.inf)])
    high = fields.get("max") or (top + (top - low) * 0.08 if top > low else low + 1)
    ticks = _ticks(low, high, whole=fields["unit"] == "short")
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


def _ticks(low: float, high: float, *, whole: bool) -> list[float]:
    """Round numbers on an axis, four or so. whole: no fractions."""
    exact = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= exact * 0.999)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def heatmap(panel: JSON, series: list[Series]) -> JSON:
    """Counts by bucket over time.

    Args:
        panel: its JSON model.
        series: the answers.
    """
    ordered = sorted(series, key=lambda one: float(one.labels["le"]))
    times_s = sorted({time_s for one in ordered for time_s, _ in one.points})
    cells, below = [], dict.fromkeys(times_s, 0.0)
    for one in ordered:
        now = {**below, **dict(one.points)}
        cells.append([now[time_s] - below[time_s] or None for time_s in times_s])
        below = now
    labels = [formatting.duration(float(one.labels["le"])) if one.labels["le"] != "+Inf" else "more" for one in ordered]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [moment(time_s) for time_s in times_s],
                "y": labels,
                "z": cells,
                "colorscale": "Viridis",
                "showscale": False,
            }
        ]
    }


def states(panel: JSON, series: list[Series]) -> JSON:
    """A band of states for each series.

    Args:
        panel: its JSON model.
        series: the answers.
    """
    words = {v: o for m in panel["fieldConfig"]["defaults"]["mappings"] if m["type"] == "value" for v, o in m["options"].items()}
    data = []
    for one in series:
        for time_s, value in one.points:
            data.append({"x": moment(time_s), "y": one.name, "c": words[f"{value:g}"]["color"]})
    most = max((len(one.points) for one in series), default=1)
    marker = {
        "color": [d["c"] for d in data],
        "symbol": "square",
        "size": max(14, min(40, 1200 // most)),
    }  # a band without breaks
    return {
        "data": [{"x": [d["x"] for d in data], "y": [d["y"] for d in data], "mode": "markers", "marker": marker}],
        "yaxis": {"type": "category"},
    }


def number(panel: JSON, one: Series, count: int) -> str:
    """The last value, in the colour that it has there.

    Args:
        panel: its JSON model.
        one: the answer.
        count: how many numbers the panel has.
    """
    fields, value = panel["fieldConfig"]["defaults"], one.points[-1][1]
    text, colour = _text(value, fields["unit"]), "inherit"
    for mapping in fields["mappings"]:
        if mapping["type"] == "value" and (word := mapping["options"].get(f"{value:g}")):
            text, colour = word["text"], word["color"]
    if panel["options"]["colorMode"] == "value" and colour == "inherit":
        colour = [s["color"] for s in fields["thresholds"]["steps"] if s["value"] is None or value >= s["value"]][-1]
    name = f"<small>{escape(one.name)}</small>" if panel["options"]["textMode"] == "value_and_name" else ""
    return f'<div style="color:{colour};font-size:{30 if count == 1 else 20}px">{name}{escape(text)}</div>'


def alerts(panel: JSON, series: list[Series], end: float) -> str:
    """The table of firing alerts.

    Args:
        panel: its JSON model.
        series: the answers.
        end: of the time that is shown, in seconds since the Unix epoch.
    """
    columns = panel["transformations"][0]["options"]["renameByName"]
    texts = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]} for o in panel["fieldConfig"]["overrides"]}
    rows = []
    for one in series:
        cells = {**one.labels, "Value": f"{formatting.elapsed(end - one.points[-1][1] / 1000)} ago"}
        row = []
        for key, title in columns.items():
            value = cells.get(key, "")
            for mapping in texts.get(title, {}).get("mappings", ()):
                value = mapping["options"].get(value, {"text": value})["text"]
            row.append(link(value) if title == "Runbook" else escape(value))
        rows.append(row)
    wrapped = {title for title, properties in texts.items() if properties.get("custom.wrapText")}
    return table(columns.values(), rows, wrapped)


def traces(panel: JSON, rows: list[tuple[str, str, float, float]]) -> str:
    """The table of what a search found, its columns and its rows in the panel's order.

    Args:
        panel: its JSON model.
        rows: of each trace the id, the name, the start and the duration in seconds.
    """
    first = panel["options"]["sortBy"][0]["displayName"] == "Duration"
    rows = sorted(rows, key=lambda row: row[3 if first else 2], reverse=True)
    cells = [
        {"Trace ID": link(a), "Trace name": escape(b), "Start time": formatting.date(c), "Duration": formatting.duration(d)}
        for a, b, c, d in rows
    ]
    order = panel["transformations"][0]["options"]["indexByName"]
    columns = sorted(cells[0], key=lambda name: order.get(name, math.inf))
    return table(columns, [[row[column] for column in columns] for row in cells])


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], wrapped: Collection[str] = ()) -> str:
    """A table.

    Args:
        columns: of the table.
        rows: of the table.
        wrapped: the columns whose cells break their lines.
    """
    columns = list(columns)
    classes = [' class="wrapped"' if column in wrapped else "" for column in columns]
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    cells = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def link(text: str) -> str:
    """Text that looks like a link.

    Args:
        text: the text.
    """
    return f"<a>{escape(text)}</a>"


def _series_colour(panel: JSON, name: str) -> str:
    for one in panel["fieldConfig"]["overrides"]:
        pattern = one["matcher"]["options"].strip("/")
        colours = [p["value"]["fixedColor"] for p in one["properties"] if p["id"] == "color"]
        if colours and re.search(pattern, name):
            return str(colours[0])
    return _CLASSIC[md5(name.encode(), usedforsecurity=False).digest()[0] % len(_CLASSIC)]


def _dashed(panel: JSON, name: str) -> bool:
    return any(
        re.search(one["matcher"]["options"].strip("/"), name)
        for one in panel["fieldConfig"]["overrides"]
        for field in one["properties"]
        if field["id"] == "custom.lineStyle"
    )


Points = list[tuple[float, float | None]]
"""Times in seconds since the Unix epoch, each with its value or with none."""


def _gaps(points: list[tuple[float, float]]) -> Points:
    """Points with a break where some are missing."""
    step = min((b - a for (a, _), (b, _) in pairwise(points)), default=0)
    whole: Points = []
    for index, (time_s, value) in enumerate(points):
        if index and time_s - points[index - 1][0] > 1.5 * step:
            whole.append((time_s - 1, None))
        whole.append((time_s, value))
    return whole


def _stacked(points: list[tuple[float, float]], times_s: list[float]) -> Points:
    """Points at all times of a stack: Plotly would add them as 0, with a mark on each."""
    values = dict(points)
    return [(time_s, values.get(time_s, 0.0)) for time_s in times_s]


def _marks(points: Points, own_s: list[float]) -> list[float]:
    """The sizes of points as Grafana marks them: those of a line with few, those without a neighbour, and none that nobody measured."""
    apart = 1.5 * min((b - a for a, b in pairwise(own_s)), default=0)
    edges = [-math.inf, *own_s, math.inf]
    alone = {b for a, b, c in zip(edges, edges[1:], edges[2:], strict=False) if b - a > apart and c - b > apart}
    marked = set(own_s) if len(own_s) < _FEW else alone
    return [_MARK if time_s in marked and value is not None else 0.0 for time_s, value in points]


_FEW = 40
"""From this many points on, those of a line lie too near each other to be marked."""
_MARK = 4.0


def moment(seconds: float) -> str:
    """A moment as Plotly takes it.

    Args:
        seconds: since the Unix epoch.
    """
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
            return formatting.dollars(value) if value >= 1 or not value else f"${value:.2f}" if value >= 0.01 else f"${value:.2g}"
        case "reqps":
            return f"{value:.3g} req/s"
    return (
        f"{value:.3g} {unit.removeprefix('count:')}"
        if unit.startswith("count:")
        else f"{value:.3g}" + (" dB" if unit == "dB" else "")
    )
