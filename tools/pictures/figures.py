"""What a panel shows: a figure for Plotly, or a piece of HTML."""

from __future__ import annotations

import math
import re
import time
from datetime import datetime
from hashlib import md5
from html import escape
from itertools import pairwise
from typing import Any

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
    for one in series:
        xs, ys = _gaps(one.points)
        alone = len(one.points) < 40
        colour = _series_colour(panel, one.name)
        line = {
            "color": colour,
            "width": 1.2 * fields["custom"]["lineWidth"],
            "dash": "dash" if _dashed(panel, one.name) else "solid",
        }
        fill = {"stackgroup": "A", "fillcolor": f"{colour}{round(2.55 * fields['custom']['fillOpacity']):02x}"}
        data.append({
            "x": xs, "y": ys, "name": one.name, "line": line, "mode": "lines+markers" if alone else "lines", "marker": {"size": 4},
            **(fill if stacked else {}),
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


def alerts(panel: JSON, series: list[Series]) -> str:
    """The table of firing alerts.

    Args:
        panel: its JSON model.
        series: the answers.
    """
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
            row.append(link(value) if title == "Runbook" else escape(value))
        rows.append(row)
    return table(columns.values(), rows)


def table(columns: Any, rows: Any) -> str:
    """A table.

    Args:
        columns: of the table.
        rows: of the table.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
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


def _gaps(points: list[tuple[float, float]]) -> tuple[list[str], list[float | None]]:
    """Points with a break where some are missing."""
    step = min((b - a for (a, _), (b, _) in pairwise(points)), default=0)
    xs: list[str] = []
    ys: list[float | None] = []
    for index, (time_s, value) in enumerate(points):
        if index and time_s - points[index - 1][0] > 1.5 * step:
            xs.append(moment(time_s - 1))
            ys.append(None)
        xs.append(moment(time_s))
        ys.append(value)
    return xs, ys


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
