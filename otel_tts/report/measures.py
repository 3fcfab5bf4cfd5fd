"""Measures: the figures of a window as MLflow takes them, a flat set of named numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields

from otel_tts.distribution import AtLeast, AtMost
from otel_tts.history import History, Row, Service
from otel_tts.report.window import Window
from otel_tts.semconv import NONE, OTHER

HEADLINE = (
    "request_count", "request_success_rate", "request_duration_p50", "request_duration_p95", "request_first_audio_p50",
    "request_first_audio_p95", "request_hit_rate", "request_cost", "attempt_success_rate", "attempt_rtf_p50", "attempt_rtf_p95",
)  # fmt: skip
"""What is shown over time, a point for each window."""
_IDENTITY = ("start", "end", "provider", "language")
_REFUSED = re.compile(r"[^\w.\- ]")  # in names of MLflow's metrics, beside what separates ours


@dataclass(frozen=True, slots=True)
class Measures:
    """What metrics counted in a window: of one service over everything, by provider, by language, and the failures by type."""

    service: Service
    overall: Row
    providers: tuple[Row, ...]
    languages: tuple[Row, ...]

    @classmethod
    def from_history(cls, history: History, window: Window, service: Service) -> Measures:
        """The figures of a service in a window.

        Args:
            history: the telemetry that is read.
            window: the window.
            service: the service, with its version.
        """
        [overall] = history.aggregates(window.start, window.end, service=service.name)
        providers = history.aggregates(window.start, window.end, by=["provider"], service=service.name)
        languages = history.aggregates(window.start, window.end, by=["language"], service=service.name)
        return cls(service, overall, tuple(providers), tuple(languages))

    @property
    def rows(self) -> Iterator[Row]:
        """All of them, the overall one first."""
        yield self.overall
        yield from self.providers
        yield from self.languages

    def figures(self) -> dict[str, float]:
        """Figures by name: ``request/count``, ``provider/piper/request_count``, ``language/en-US/request_count``, ``errors/timeout``.

        MLflow draws metrics in groups, by what stands before the last slash.
        """
        figures = {_name(row, field): value for row in self.rows for field, value in _numbers(row).items()}
        return figures | {f"errors/{metric_part(kind)}": float(count) for kind, count in self.service.errors.items()}

    def headline(self) -> dict[str, float]:
        """The few figures that are drawn over time."""
        row = self.overall
        return {_name(row, field): value for field, value in _numbers(row).items() if field in HEADLINE}

    def limits(self, kind: type[AtLeast | AtMost]) -> dict[str, float]:
        """The figures that are bounds only, which metrics of MLflow cannot express.

        Args:
            kind: which: lower ones or upper ones.
        """
        return {_name(row, field): bound for row in self.rows for field, bound in bounds(row, kind).items()}


def bounds(row: Row, kind: type[AtLeast | AtMost]) -> dict[str, float]:
    """The bounds of figures of which no more is known, by the figure's name.

    Args:
        row: the figures.
        kind: which: lower bounds or upper ones.
    """
    figures = ((field.name, getattr(row, field.name)) for field in fields(row))
    return {
        name: value.bound if isinstance(value, AtMost) else float(value) for name, value in figures if isinstance(value, kind)
    }


def listed(values: Iterable[str]) -> str:
    """Values of an attribute, for people: those without one are "not stated", those beyond the limit of a metric are "others".

    Args:
        values: of an attribute.
    """
    return ", ".join({NONE: "not stated", OTHER: "others"}.get(value, value) for value in values if value)


def metric_part(value: str) -> str:
    """A label value as part of the name of a metric of MLflow, which refuses some characters; for people where there is no value.

    Args:
        value: of an attribute.
    """
    return "not stated" if value == NONE else _REFUSED.sub("_", value) or "_"


def _name(row: Row, field: str) -> str:
    """The name of a row's figure."""
    if row.provider is not None:
        return f"provider/{metric_part(row.provider)}/{field}"
    if row.language is not None:
        return f"language/{metric_part(row.language)}/{field}"
    return field.replace("_", "/", 1)


def _numbers(row: Row) -> Mapping[str, float]:
    """The figures that are exact."""
    return {
        name: float(value)
        for name, value in asdict(row).items()
        if name not in _IDENTITY and value is not None and not isinstance(value, AtLeast | AtMost)
    }
