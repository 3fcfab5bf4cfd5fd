"""The shape of a condition, and how it is judged."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from otel_tts.conditions.figure import Figure, formatted
from otel_tts.distribution import AtLeast
from otel_tts.semconv import OTHER, PROVIDER, Attribute


class Severity(StrEnum):
    """How urgent a condition is."""

    PAGE = "page"
    """Listeners are affected now: wake somebody."""
    TICKET = "ticket"
    """It can wait for a working day."""
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
        title: the problem in a sentence; ``{value}`` stands for the figure.
        meaning: what it means for listeners or for whoever operates the service.
        severity: whom it is for.
        figure: what is judged.
        comparison, threshold: the condition is met while the figure is beyond the threshold, on this side.
        window_s: the seconds over which the figure is taken; 0 where it is a state.
        short_window_s: the seconds over which it must be beyond the threshold as well, so that it ends soon after its cause; 0 for none.
        minimum_traffic: the least count in the figure's denominator; below it, nothing is judged.
        minimum_events: the least number of bad events.
        pending_s: the seconds for which it must be met before the alert fires.
        by: the attributes for whose values it is judged separately.
        query: the name of the PromQL query that gives the figure; empty where Prometheus does not judge it.
        causes: the names of conditions that explain this one: it is not reported while they are met.
        steps: what to check and do, in this order; see :meth:`steps_for`.
    """

    name: str
    title: str
    meaning: str
    severity: Severity
    figure: Figure
    comparison: Comparison
    threshold: float
    window_s: float = 0.0
    short_window_s: float = 0.0
    minimum_traffic: int = 0
    minimum_events: int = 0
    pending_s: float = 0.0
    by: tuple[Attribute, ...] = ()
    query: str = ""
    causes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    def steps_for(self, service: str = "", provider: str = "", slower_than_s: float | None = None) -> list[str]:
        """Give the steps, with the names that their commands need. What is not given is a word in capitals.

        Args:
            service: whose requests; empty: NAME.
            provider: the provider; empty: PROVIDER.
            slower_than_s: seconds from which on a request is slow; None: SECONDS.
        """
        names = {
            "service": shlex.quote(service) if service else "NAME",
            "provider": shlex.quote(provider) if provider else "PROVIDER",
            "seconds": "SECONDS" if slower_than_s is None else f"{slower_than_s:g}",
            "id": "ID",
        }
        return [step.format(**names) for step in self.steps]

    def holds(self, value: float | None, traffic: float | None = None) -> bool | None:
        """Tell whether it is met by a figure that was computed from ``traffic`` events.

        None where nobody can tell: with too few events, without a figure, and for a figure that is `AtLeast` a value on the threshold's
        other side.

        Args:
            value: the figure; None: unknown.
            traffic: how many events it was computed from; None: unknown.
        """
        if value is None or (traffic is not None and traffic < max(self.minimum_traffic, 1 if self.figure.traffic else 0)):
            return None
        beyond = value > self.threshold if self.comparison is Comparison.ABOVE else value < self.threshold
        if isinstance(value, AtLeast) and beyond is (self.comparison is Comparison.BELOW):
            return None
        if not beyond or traffic is None or not self.minimum_events:
            return beyond
        bad = (1 - value if self.comparison is Comparison.BELOW else value) * traffic
        return round(bad) >= self.minimum_events

    def runbook(self, page: str) -> str:
        """The address of its runbook. ``page``: where people read the runbooks."""
        return f"{page}#{self.name.lower()}"

    def sentence(self, value: float, attributes: Mapping[str, object] = MappingProxyType({}), service: str = "") -> str:
        """Give the condition as a sentence, as the summary of its alert has it: ``speech piper: Only 93% of attempts ...``.

        Args:
            value: the figure.
            attributes: the subject that it was judged for, by key.
            service: whose figure it is; empty where that is clear.
        """
        named = (_name(attribute, attributes[attribute.key]) for attribute in self.by if attribute.key in attributes)
        subject = " ".join(filter(None, (service, *named)))
        text = self.title.format(value=self.figure.formatted(value), threshold=formatted(self.threshold, self.figure.unit))
        return f"{subject}: {text}" if subject else text


def _name(attribute: Attribute, value: object) -> str:
    """What an attribute's value is called in a sentence."""
    return "other providers together" if attribute is PROVIDER and value == OTHER else str(value)
