"""The state of providers: whether they are available, and when they last worked.

Everything that people are told of a provider (alert, dashboards, `otel-tts status`, the log) is read from the gauges of this state.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from otel_tts.core import clean
from otel_tts.core.clock import Clock
from otel_tts.core.fork import ForkAware, register
from otel_tts.core.guard import guarded
from otel_tts.core.labels import Labels
from otel_tts.core.outcome import Cause
from otel_tts.semconv import DOWN_AFTER, NONE, OTHER, Outcome


class ProviderState:
    """The state of one provider. Get it from :meth:`otel_tts.Telemetry.provider`.

    Args:
        clock: tells how long ago something was.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._available: bool | None = None
        self._reported = False
        self._failed = 0  # attempts since the last good one
        self._last_good: int | None = None

    @guarded
    def available(self, available: bool) -> None:
        """Report whether the provider can be used. From then on only such reports count, not the outcome of attempts.

        Args:
            available: whether it can be used.
        """
        self._reported = True
        self._set(clean.flag("available", available))

    def attempted(self, cause: Cause) -> None:
        """Take in the end of an attempt, of a request or of a probe.

        Without reports, attempts set the state: a good one makes the provider available, `DOWN_AFTER` failed ones without a good one
        between them make it not available. Attempts whose outcome does not depend on the provider change nothing.

        Args:
            cause: how the attempt ended.
        """
        if cause.outcome is Outcome.OK:
            self._last_good = self._clock.monotonic()
            self._failed = 0
        elif cause.outcome in (Outcome.ERROR, Outcome.PARTIAL, Outcome.EMPTY):
            self._failed += (
                1  # no lock: attempts that end at the same moment have no order, and one that is missed delays the state
            )
        else:
            return
        if not self._reported and self._failed in (0, DOWN_AFTER):
            self._set(not self._failed)

    def _set(self, available: bool) -> None:
        self._available = available
        if available:
            self._last_good = self._clock.monotonic()

    def read_available(self) -> float | None:
        """Return 1 (available) or 0; None while nothing says so."""
        return None if self._available is None else float(self._available)

    def read_health_age_s(self) -> float | None:
        """Return the seconds since it last worked; None if it never did."""
        return None if self._last_good is None else (self._clock.monotonic() - self._last_good) * 1e-9


class Gauge(Protocol):
    """A gauge by provider."""

    def observe(self, source: Callable[[], float | None], values: tuple[str], owner: object) -> None:
        """Call ``source`` at every export, as long as ``owner`` exists; None gives no data point.

        Args:
            source: returns the value at an export; None gives no data point.
            values: the provider's label.
            owner: when it is gone, the source is no longer called.
        """


class ProviderStates(ForkAware):
    """The states of the providers of one meter provider, by label.

    They are referred to weakly here; each Telemetry keeps those that it uses. So a state that no Telemetry uses any more is not exported
    any more, and several Telemetry share one state: with a state each, the newer one would overwrite the gauge of the older one.

    Args:
        available: records whether providers can be used.
        health_age: records how long ago providers were known to be good, in seconds.
    """

    def __init__(self, available: Gauge, health_age: Gauge) -> None:
        self._available = available
        self._health_age = health_age
        self._states: weakref.WeakValueDictionary[str, ProviderState] = weakref.WeakValueDictionary()
        self._lock = Lock()
        register(self)

    def get(self, label: str, clock: Clock) -> ProviderState:
        """Return the state of one provider.

        Args:
            label: of the provider.
            clock: for a new one.
        """
        with self._lock:
            state = self._states.get(label)
            if state is None:
                state = self._states[label] = ProviderState(clock)
                self._available.observe(_weak(state.read_available), (label,), state)
                self._health_age.observe(_weak(state.read_health_age_s), (label,), state)
            return state

    def after_fork_in_child(self) -> None:
        """Replace the lock. The states stay: they are true in the child, too."""
        self._lock = Lock()


class Providers:
    """The providers that one Telemetry uses.

    Args:
        clock: tells how long ago something was.
        labels: of all providers, bounded.
        states: of the meter provider's providers.
    """

    def __init__(self, clock: Clock, labels: Labels, states: ProviderStates) -> None:
        self._clock = clock
        self._labels = labels
        self._shared_states = states
        self._states: dict[str, ProviderState] = {}

    def get(self, name: str) -> ProviderState:
        """Return the state of one provider. Names beyond the limit of labels do not share one: theirs is not kept or exported.

        Args:
            name: of the provider.
        """
        label = self._labels.bound(name)
        if label in (NONE, OTHER):
            return ProviderState(self._clock)
        state = self._states.get(label)
        if state is None:
            state = self._states[label] = self._shared_states.get(label, self._clock)
        return state


def _weak(method: Callable[[], float | None]) -> Callable[[], float | None]:
    """Return a function that calls ``method`` and refers to its object weakly.

    Instruments live as long as the process: with a strong reference, they would keep every state alive.
    """
    reference = weakref.WeakMethod(method)

    def read() -> float | None:
        existing = reference()
        return None if existing is None else existing()

    return read
