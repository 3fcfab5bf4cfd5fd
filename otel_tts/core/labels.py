"""Bounded labels: whatever callers send, a metric has a limited number of series."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from otel_tts.core import clean
from otel_tts.core.fork import ForkAware, register
from otel_tts.semconv import NONE, OTHER, Attribute, Metric
from otel_tts.semconv.identifiers import LONGEST_NAME

OwnLabels = tuple[tuple[str, str], ...]
"""The application's own attributes on metrics, as keys and bounded values."""


class Labels(ForkAware):
    """The values of one attribute: the declared ones, else the first ``attribute.limit`` seen; all others become ``_OTHER``.

    Args:
        attribute: the attribute.
        declared: the values that are always admitted; a string is one value.
    """

    def __init__(self, attribute: Attribute, declared: Iterable[str] | None = None) -> None:
        self._limit = attribute.limit
        self._open = declared is None
        one = (declared,) if isinstance(declared, str) else declared  # not a label for each of its letters
        self._declared = frozenset(map(clean.name, one or ()))
        self._values = set(self._declared)
        self._lock = Lock()
        register(self)

    def after_fork_in_child(self) -> None:
        """Replace the lock. The values stay: a child exports the same labels as its parent."""
        self._lock = Lock()

    def release(self) -> None:
        """Free the places that were taken, in a process that runs many tests: each begins as a new process would."""
        with self._lock:
            self._values = set(self._declared)

    def name(self, value: object) -> str | None:
        """Return ``value`` as `clean.optional_name` does. One that has its place already needs no look at its characters.

        Args:
            value: what the application passed.
        """
        return value if type(value) is str and value in self._values else clean.optional_name(value)

    def bound(self, value: object, *, admit: bool = True) -> str:
        """Return the label for ``value``, which may be any object; ``_NONE`` for a missing one.

        With ``admit=False`` a new value does not use up one of the places: a rejected request does not prove that its voice exists.

        Args:
            value: what the application passed.
            admit: whether a new value may take one of the places that are left; else it becomes `_OTHER`.
        """
        if type(value) is not str or value not in self._values:
            value = clean.optional_name(value)
        if value is None:
            return NONE
        if value in self._values or value in (NONE, OTHER):
            return value
        if not (self._open and admit) or len(value) > LONGEST_NAME:  # a name that was cut is not the name of a voice or model
            return OTHER
        with self._lock:
            if value not in self._values and len(self._values) >= self._limit:
                return OTHER
            self._values.add(value)
            return value


class LabelSets:
    """The combinations of label values of one metric; see :attr:`otel_tts.semconv.Metric.label_sets`.

    When most places are taken, a new combination keeps its first label (the provider), and its other labels become ``_OTHER``.

    Args:
        metric: the metric.
    """

    def __init__(self, metric: Metric) -> None:
        self._limit = metric.label_sets
        self._fine = self._limit - self._limit // 3  # the last third is for combinations that keep only their first label
        self._positions = tuple(i for i, attribute in enumerate(metric.attributes) if attribute.limit)
        self._kept: set[tuple[object, ...]] = set()

    def release(self) -> None:
        """Free the places that were taken. The caller holds its lock, as for :meth:`fold`."""
        self._kept.clear()

    def fold(self, values: tuple[str | bool | None, ...], own: OwnLabels = ()) -> tuple[str | bool | None, ...]:
        """Return the values of all attributes, in order, then the application's own; beyond the limit as ``_OTHER``.

        Not thread-safe: the caller holds its lock.

        Args:
            values: of the metric's attributes, in their order.
            own: values of the application's own attributes.
        """
        if not self._positions:
            return (*values, *(value for _, value in own))
        labels = (*(values[i] for i in self._positions), *(value for _, value in own))
        coarse = (labels[0], *(OTHER for _ in labels[1:]))
        for candidate, limit in ((labels, self._fine), (coarse, self._limit)):
            if candidate in self._kept or len(self._kept) < limit:
                self._kept.add(candidate)
                return self._with(values, candidate)
        return self._with(values, tuple(OTHER for _ in labels))

    def _with(self, values: tuple[str | bool | None, ...], labels: tuple[object, ...]) -> tuple[str | bool | None, ...]:
        folded: list[object] = list(values)
        for position, label in zip(self._positions, labels, strict=False):
            folded[position] = label
        return (*folded, *labels[len(self._positions) :])  # type: ignore[arg-type]  # labels are str, put back where they came from
