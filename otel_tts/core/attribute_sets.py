"""The attribute sets of one metric."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from otel_tts.core.labels import LabelSets, OwnLabels
from otel_tts.semconv import Metric

Value = str | bool | None
"""One attribute value; None leaves the attribute out."""
Attributes = dict[str, str | bool]
T = TypeVar("T")


class AttributeSets(Generic[T]):
    """The attribute sets of one metric; what ``make`` gives for each of them is created once and kept.

    Args:
        metric: the metric.
        make: makes what is kept for an attribute set.
    """

    def __init__(self, metric: Metric, make: Callable[[Attributes], T]) -> None:
        self._keys = metric.keys
        self._make = make
        self._labels = LabelSets(metric)
        self.kept: dict[tuple[object, ...], T] = {}
        """What :meth:`at` returns, by attribute values. Hot paths read it directly, which saves a call."""
        self._lock = Lock()

    def at(self, values: tuple[Value, ...], own: OwnLabels = ()) -> T:
        """Return what is kept for these attribute values, in the order of the registry, and the application's own attributes.

        Args:
            values: of the metric's attributes, in their order.
            own: values of the application's own attributes.
        """
        series = self.kept.get((values, own) if own else values)
        if series is None:
            with self._lock:
                folded = self._labels.fold(values, own)
                keys = (*self._keys, *(key for key, _ in own))
                rest = tuple(zip(keys[len(values) :], folded[len(values) :], strict=True))
                place = (folded[: len(values)], rest) if own else folded
                series = self.kept.get(place)
                if series is None:
                    attributes = {
                        key: str(value) if isinstance(value, str) else value  # an enumeration's member becomes its plain value
                        for key, value in zip(keys, folded, strict=True)
                        if value is not None
                    }
                    series = self.kept[place] = self._make(attributes)
        return series

    def all(self) -> list[T]:
        """Return all that is kept."""
        with self._lock:
            return list(self.kept.values())

    def release(self) -> None:
        """Free the places for label values. What is kept stays, and needs no place: :meth:`at` finds it first."""
        with self._lock:
            self._labels.release()

    def after_fork(self) -> list[T]:
        """Empty the sets and replace the lock, in a forked child. Return what was kept before.

        The parent exports what it counted; a child that kept it would export it twice. The lock may have been held by a thread of the
        parent that does not exist in the child: it would never be released.
        """
        self._lock = Lock()
        inherited, self.kept = self.kept, {}
        return list(inherited.values())
