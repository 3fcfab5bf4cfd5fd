"""The shape of a condition, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from otel_tts.conditions.figure import Figure, said
from otel_tts.semconv import Attribute


class Severity(StrEnum):
    """Whom a condition is for."""

    PAGE = "page"
    """Listeners suffer now: wake somebody."""
    TICKET = "ticket"
    """Somebody should see to it on a working day."""
    INFO = "info"
    """Good to know while looking into something else."""


class Comparison(StrEnum):
    """On which side of its threshold a figure is bad."""

    ABOVE = ">"
    BELOW = "<"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition.

    Attributes:
        name: the alert's name.
        title: what is the matter, as a person would say it; ``{value}`` stands for the figure.
        meaning: what it means for listeners or for whoever operates the service.
        severity: whom it is for.
        figure: what is judged.
        comparison, threshold: it holds while the figure is beyond the threshold, on this side.
        window: the seconds over which the figure is taken; 0 where it is a state.
        short_window: the seconds over which it must be beyond the threshold as well, so that it ends soon after its cause; 0 for none.
        minimum_traffic: what the figure's denominator must hold for a judgement.
        minimum_events: how many bad ones there must be, however few requests there are.
        pending: the seconds for which it must hold before anybody is told.
        by: what it is judged for one by one.
        query: the name of the PromQL query that gives the figure; empty where Prometheus does not judge it.
        causes: the names of conditions that explain this one: nobody is told of it while they hold.
        steps: what to look at and do, in this order.
    """

    name: str
    title: str
    meaning: str
    severity: Severity
    figure: Figure
    comparison: Comparison
    threshold: float
    window: float = 0.0
    short_window: float = 0.0
    minimum_traffic: int = 0
    minimum_events: int = 0
    pending: float = 0.0
    by: tuple[Attribute, ...] = ()
    query: str = ""
    causes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    def holds(self, value: float | None, traffic: float | None = None) -> bool | None:
        """Whether it holds for a figure, taken over ``traffic``; None when there is too little to judge, or no figure at all."""
        if value is None or (traffic is not None and traffic < max(self.minimum_traffic, 1 if self.figure.traffic else 0)):
            return None
        beyond = value > self.threshold if self.comparison is Comparison.ABOVE else value < self.threshold
        if not beyond or traffic is None or not self.minimum_events:
            return beyond
        bad = (1 - value if self.comparison is Comparison.BELOW else value) * traffic
        return round(bad) >= self.minimum_events

    def says(self, value: float, attributes: Mapping[str, object] = MappingProxyType({})) -> str:
        """The condition in plain words. attributes: what it was judged for, by key."""
        subject = ", ".join(str(attributes[attribute.key]) for attribute in self.by if attribute.key in attributes)
        sentence = self.title.format(value=said(value, self.figure.unit), threshold=said(self.threshold, self.figure.unit))
        return f"{subject}: {sentence}" if subject else sentence
