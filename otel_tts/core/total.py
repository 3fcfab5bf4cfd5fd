"""Totals: sums that are kept here and that the SDK reads at export.

A counter of the SDK costs several microseconds a call, a locked slot a fraction of one; so all sums are observed by asynchronous
instruments.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_tts.core import callback
from otel_tts.core.attribute_sets import Attributes, AttributeSets, Value
from otel_tts.core.callback import Callback
from otel_tts.core.clean import LARGEST, Range
from otel_tts.core.labels import OwnLabels
from otel_tts.semconv import Instrument, Metric

Source = Callable[[], float | None] | Callback
"""What gives a value at every export: a function of ours, which is quick, or one of the host's."""


class Total:
    """A sum of the registry: a counter or an up-down counter, or the last value of a gauge."""

    def __init__(self, metric: Metric, meter: Meter, before: Callable[[], None]) -> None:
        self._series: AttributeSets[Sum] = AttributeSets(metric, Sum)
        self._range = Range(metric)
        self._before = before
        create = {
            Instrument.COUNTER: meter.create_observable_counter,
            Instrument.UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
            Instrument.GAUGE: meter.create_observable_gauge,
        }[metric.instrument]
        create(metric.name, [self._observe], metric.unit, metric.description)

    def add(self, amount: float, values: tuple[Value, ...], own: OwnLabels = ()) -> None:
        """Add to the sum at these attribute values."""
        accepted = amount if type(amount) is int and 0 <= amount <= LARGEST else self._range.accept(amount)
        if accepted is not None:
            (self._series.kept.get((values, own) if own else values) or self._series.at(values, own)).add(accepted)

    def at(self, values: tuple[Value, ...], own: OwnLabels = ()) -> Sum:
        """What is summed up at these attribute values, for numbers that are known to be of its range."""
        return self._series.at(values, own)

    def observe(self, source: Callable[[], float | None], values: tuple[Value, ...], owner: object) -> None:
        """Ask ``source`` at every export, as long as ``owner`` exists; None gives no point.

        Several owners may observe the same attribute values: what is exported is the sum of what they give.
        """
        self._series.at(values).observe(source, owner)

    def call(self, function: Callable[[], float], values: tuple[Value, ...], owner: object) -> None:
        """The same with a function of the host's, which replaces an earlier one of the same owner and values.

        Raises:
            TypeError: it is no function.
        """
        self._series.at(values).call(function, owner)

    def after_fork(self) -> None:
        """Forget what the parent counted, keep what is asked at export."""
        for slot in self._series.after_fork():
            if slot.sources:
                self._series.at(tuple(slot.attributes.values())).sources = slot.sources

    def _observe(self, options: CallbackOptions) -> Iterable[Observation]:
        self._before()
        slots = self._series.all()
        for slot in slots:
            slot.ask()
        deadline = time.monotonic() + callback.PATIENCE_S
        for slot in slots:
            values = [None if value is None else self._range.accept(value) for value in slot.read(deadline)]
            numbers = [value for value in values if value is not None]
            if len(numbers) == len(values):  # else the sum is not known either
                yield Observation(sum(numbers), slot.attributes)


class Sum:
    """What is kept of one attribute set: a value, or what is asked for it at every export."""

    __slots__ = ("attributes", "lock", "sources", "value")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.lock = Lock()
        self.value: float | None = None
        self.sources: dict[weakref.ref[object], Source] = {}  # by owner, one each: so that there is no end of them

    def add(self, amount: float) -> None:
        """Add to the value."""
        with self.lock:
            self.value = (self.value or 0) + amount

    def observe(self, source: Source, owner: object) -> None:
        """Ask ``source`` at every export, as long as ``owner`` exists."""
        with self.lock:
            self.sources[weakref.ref(owner)] = source

    def call(self, function: Callable[[], float], owner: object) -> None:
        """Ask a function of the host's, in place of an earlier one of the same owner."""
        earlier = self.sources.get(weakref.ref(owner))
        if isinstance(earlier, Callback):
            earlier.replace(function)
        else:
            self.observe(Callback(function), owner)

    def ask(self) -> None:
        """Begin what takes its time; forget what is asked for owners that are gone."""
        if not self.sources:
            return
        with self.lock:
            for owner in [owner for owner in self.sources if owner() is None]:
                del self.sources[owner]
            sources = list(self.sources.values())
        for source in sources:
            if isinstance(source, Callback):
                source.ask()

    def read(self, deadline: float) -> list[Any]:
        """The values that together make the point; one that is None is not known."""
        if not self.sources:
            return [self.value]
        with self.lock:
            sources = list(self.sources.values())
        return [source.answer(deadline) if isinstance(source, Callback) else source() for source in sources]
