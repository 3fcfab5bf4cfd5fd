"""Where services run: what there is to select from, and which services of one name are added up where nobody selected."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from otel_tts import files, semconv
from otel_tts.history.lines import Lines
from otel_tts.history.otlp import FAULTS, Unreadable, attributes, items
from otel_tts.history.partitions import partitions
from otel_tts.settings import SELECTABLE

_WORDS = {"service.namespace": "namespaces", "deployment.environment.name": "environments", "k8s.cluster.name": "clusters"}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where some processes of a service run. values: of the attributes `SELECTABLE`, in their order; "" where they lack one."""

    service: str
    values: tuple[str, ...]

    def value(self, key: str) -> str:
        """The value of one of the attributes; "" without.

        Args:
            key: one of `SELECTABLE`.
        """
        return self.values[SELECTABLE.index(key)]


def local_places(directory: Path, start: float, end: float, lines: Lines) -> list[Place]:
    """Where the processes run that wrote metrics of requests between two moments, by the newest line of each.

    Args:
        directory: the folder.
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
        lines: reads the files.
    """
    places: set[Place] = set()
    by_writer = sorted(partitions(directory, "metrics", start, end), key=lambda partition: partition.writer)
    for _, group in groupby(by_writer, key=lambda partition: partition.writer):
        for time, line in lines.backwards(sorted(group), end):
            if time < start:
                break
            if (export := files.parse(line)) is not None:
                places.update(_places(export, lines))
                break
    return sorted(places)


def _places(export: object, lines: Lines) -> Iterable[Place]:
    unreadable = Unreadable()
    for resource in items(export, "resourceMetrics", unreadable):
        try:
            named = attributes(resource.get("resource", {}), unreadable)
            scopes = [scope for scope in items(resource, "scopeMetrics", unreadable) if scope["scope"]["name"] == semconv.SCOPE]
            metrics = {metric["name"] for scope in scopes for metric in items(scope, "metrics", unreadable)}
        except FAULTS:
            continue
        if lines.selection.holds(named) and semconv.SYNTHESIS_DURATION.name in metrics:
            yield Place(str(named.get("service.name", "")), tuple(str(named.get(key, "")) for key in SELECTABLE))


HOW = "otel-tts --select NAME=VALUE reads one of them."
"""What a command says after `added_up`."""


def added_up(places: Collection[Place], service: str = "") -> list[str]:
    """A sentence for each service of one name that runs in several places, all of which are added up.

    Args:
        places: of all processes that are read.
        service: the only one that is meant; empty: each.
    """
    sentences = []
    for name in sorted({place.service for place in places}):
        of_service = [place for place in places if place.service == name]
        several = {key: sorted({place.value(key) for place in of_service}) for key in SELECTABLE}
        parts = [
            f"{len(values)} {_WORDS[key]} ({', '.join(value or 'none' for value in values)})"
            for key, values in several.items()
            if len(values) > 1
        ]
        if parts and service in ("", name):
            sentences.append(f"{name or 'A service without a name'} runs in {' and '.join(parts)}, which are added up here.")
    return sentences
