"""What the data sources answer to a panel, with Grafana's variables filled in."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests

JSON = dict[str, Any]
_LABEL = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Series:
    """One line: its name, its labels, and its values by seconds since the Unix epoch."""

    name: str
    labels: Mapping[str, str]
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Sources:
    """Prometheus and Jaeger, and the choices at the top of a dashboard."""

    prometheus: str
    jaeger: str
    start: float
    end: float
    chosen: Mapping[str, str]

    def filled(self, text: str) -> str:
        """A query or a title with the chosen values in place of the variables' names.

        Args:
            text: a query or a title.
        """
        return re.sub(r"\$\{?([a-z_]+)\}?", lambda match: self.chosen.get(match[1], match[0]), text)

    def series(self, panel: JSON, target: JSON) -> list[Series]:
        """The series of a query, named as the panel names them.

        Args:
            panel: its JSON model.
            target: a query of the panel.
        """
        expression = self.filled(target["expr"])
        if target["instant"]:
            rows = self._asked("query", query=expression, time=str(self.end))
            return [Series(_name(panel, target, row["metric"]), row["metric"], [_point(row["value"])]) for row in rows]
        step = max(5, round((self.end - self.start) / 200))
        rows = self._asked("query_range", query=expression, start=str(self.start), end=str(self.end), step=str(step))
        return [Series(_name(panel, target, row["metric"]), row["metric"], [_point(v) for v in row["values"]]) for row in rows]

    def traces(self, target: JSON) -> Iterator[tuple[str, str, float, float]]:
        """What a search in Jaeger finds, as Grafana's table has it: id, name, start and duration in seconds.

        Args:
            target: a query of the panel.
        """
        asked = {
            "service": self.filled(target["service"]),
            "operation": target["operation"],
            "tags": str(dict(tag.split("=") for tag in target["tags"].split())).replace("'", '"') if target["tags"] else "",
            "minDuration": target["minDuration"],
            "limit": str(target["limit"]),
            "start": f"{self.start * 1e6:.0f}",
            "end": f"{self.end * 1e6:.0f}",
        }
        answer = requests.get(f"{self.jaeger}/api/traces", {key: value for key, value in asked.items() if value}, timeout=30)
        for trace in answer.json()["data"]:
            ids = {span["spanID"] for span in trace["spans"]}
            roots = [span for span in trace["spans"] if not any(each["spanID"] in ids for each in span["references"])]
            first = min(roots, key=lambda span: span["startTime"])
            service = trace["processes"][first["processID"]]["serviceName"]
            end = max(span["startTime"] + span["duration"] for span in trace["spans"])
            yield (
                trace["traceID"],
                f"{service}: {first['operationName']}",
                first["startTime"] / 1e6,
                (end - first["startTime"]) / 1e6,
            )

    def _asked(self, what: str, **parameters: str) -> list[JSON]:
        answer = requests.get(f"{self.prometheus}/api/v1/{what}", parameters, timeout=30).json()
        result: list[JSON] = answer["data"]["result"]
        return result


def sources(prometheus: str, jaeger: str, service: str, minutes: float) -> Sources:
    """The sources with everything chosen as it is when a dashboard opens.

    Args:
        prometheus: its address.
        jaeger: its address.
        service: the name of the service.
        minutes: for how many minutes.
    """
    end = time.time()
    chosen = {
        "service": service, "provider": ".*", "collector": ".+", "window": "5m", "__rate_interval": "1m",
        "__range": f"{minutes * 60:.0f}s", "datasource": "prometheus", "traces": "jaeger",
        "environment": ".*", "cluster": ".*", "namespace": ".*",
    }  # fmt: skip
    return Sources(prometheus, jaeger, end - minutes * 60, end, chosen)


def _point(value: list[Any]) -> tuple[float, float]:
    return float(value[0]), float(value[1])


def _name(panel: JSON, target: JSON, labels: Mapping[str, str]) -> str:
    """A series' name: its legend, and then the panel's transformations of it."""
    name = _LABEL.sub(lambda match: labels.get(match[1], ""), target["legendFormat"])
    for one in panel.get("transformations", ()):
        if one["id"] == "renameByRegex" and (parts := re.fullmatch(r"/(.*)/(g?)", one["options"]["regex"])):
            name = re.sub(parts[1], one["options"]["renamePattern"], name, count=0 if parts[2] else 1)
    return name
