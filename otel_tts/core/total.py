"""Totals: sums that are kept here, and that the SDK reads at export by asynchronous instruments.

A call of an SDK counter costs several microseconds, an addition under a lock a fraction of one.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, ClassVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_tts.core import callback
from otel_tts.core.attribute_sets import Attributes, AttributeSets, Value
from otel_tts.core.callback import Callback
from otel_tts.core.clean import LARGEST, Range
from otel_tts.core.labels import OwnLabels
from otel_tts.semconv import Instrument, Metric

Source = Callable[[], float | None] | Callback
"""The source of a value at every export: a function of ours, which is quick, or a function of the host."""


class Total:
    """A sum of the registry: a counter or an up-down counter, or the last value of a gauge.

    Args:
        metric: the metric.
        meter: creates the instrument.
        before: is called before values are read at an export.
    """

    def __init__(self, metric: Metric, meter: Meter, before: Callable[[], None]) -> None:
        self._series: AttributeSets[Sum] = AttributeSets(metric, Sum)
        self._range = Range(metric)
        self._kinds = (int,) if self._range.whole else (int, float)
        self._least = self._range.least
        self._before = before
        create = {
            Instrument.COUNTER: meter.create_observable_counter,
            Instrument.UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
            Instrument.GAUGE: meter.create_observable_gauge,
        }[metric.instrument]
        create(metric.name, [self._observe], metric.unit, metric.description)

    def add(self, amount: float, values: tuple[Value, ...], own: OwnLabels = ()) -> None:
        """Add to the sum at these attribute values.

        Args:
            amount: to add, in the metric's unit.
            values: of the metric's attributes, in their order.
            own: values of the application's own attributes.
        """
        accepted: float | None = amount
        if type(amount) not in self._kinds or not self._least <= amount <= LARGEST:  # the rule of `Range`, without a call
            accepted = self._range.accept(amount)
        if accepted is not None:
            series = self._series.kept.get((values, own) if own else values) or self._series.at(values, own)
            with series.lock:
                series.value = (series.value or 0) + accepted

    def at(self, values: tuple[Value, ...], own: OwnLabels = ()) -> Sum:
        """Return the sum at these attribute values, for numbers that are known to be in its range.

        Args:
            values: of the metric's attributes, in their order.
            own: values of the application's own attributes.
        """
        return self._series.at(values, own)

    def observe(self, source: Callable[[], float | None], values: tuple[Value, ...], owner: object) -> None:
        """Call ``source`` at every export, as long as ``owner`` exists; None gives no data point.

        Several owners may observe the same attribute values: the sum of their values is exported.
        """
        self._series.at(values).observe(source, owner)

    def call(self, function: Callable[[], float], values: tuple[Value, ...], owner: object) -> None:
        """Call a function of the host at every export. It replaces an earlier one of the same owner and values.

        Args:
            function: returns the value at an export, in the metric's unit.
            values: of the metric's attributes, in their order.
            owner: when it is gone, the function is no longer called.

        Raises:
            MisuseError: it is not a function.
        """
        self._series.at(values).call(function, owner)

    def release(self) -> None:
        """Free the places for label values."""
        self._series.release()

    def after_fork(self) -> None:
        """Drop the sums of the parent, keep the functions that are called at export."""
        Sum.lock = Lock()
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
            values = [None if value is None else self._range.accept(value, slot.attributes) for value in slot.read(deadline)]
            numbers = [value for value in values if value is not None]
            if len(numbers) == len(values):  # if one value is unknown, so is the sum
                yield Observation(sum(numbers), slot.attributes)


class Sum:
    """The sum of one attribute set: a value, or the functions that are called for it at every export.

    Args:
        attributes: of the point.
    """

    __slots__ = ("attributes", "sources", "value")

    lock: ClassVar = Lock()
    """The lock of all sums: what a request adds to several of them takes it once."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.value: float | None = None
        # By owner, one each. Weak references: an owner that is dropped must not be kept alive, and its source is removed.
        self.sources: dict[weakref.ref[object], Source] = {}

    def add(self, amount: float) -> None:
        """Add to the value.

        Args:
            amount: to add, in the metric's unit.
        """
        with self.lock:
            self.value = (self.value or 0) + amount

    def observe(self, source: Source, owner: object) -> None:
        """Call ``source`` at every export, as long as ``owner`` exists."""
        with self.lock:
            self.sources[weakref.ref(owner)] = source

    def call(self, function: Callable[[], float], owner: object) -> None:
        """Call a function of the host at every export, in place of an earlier one of the same owner.

        Args:
            function: returns the value at an export, in the metric's unit.
            owner: when it is gone, the function is no longer called.
        """
        earlier = self.sources.get(weakref.ref(owner))
        if isinstance(earlier, Callback):
            earlier.replace(function)
        else:
            self.observe(Callback(function), owner)

    def ask(self) -> None:
        """Start the host's functions, and remove the sources of owners that no longer exist."""
        if not self.sources:
            return
        with self.lock:
            gone = [self.sources.pop(owner) for owner in [*self.sources] if owner() is None]
            sources = list(self.sources.values())
        del gone  # not within the lock: what a function of the host refers to may have a finaliser
        for source in sources:
            if isinstance(source, Callback):
                source.ask()

    def read(self, deadline: float) -> list[Any]:
        """Return the values whose sum is the data point; None for one that is unknown.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.
        """
        if not self.sources:
            return [self.value]
        with self.lock:
            sources = list(self.sources.values())
        return [source.answer(deadline) if isinstance(source, Callback) else source() for source in sources]
