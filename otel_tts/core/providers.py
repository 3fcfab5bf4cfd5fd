"""The state of providers: available or not, and since when last good."""

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
from otel_tts.semconv import NONE, OTHER, Outcome


class ProviderState:
    """One provider, as :meth:`otel_tts.Telemetry.provider` gives it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._available: bool | None = None
        self._reported = False
        self._last_good: int | None = None

    @guarded
    def available(self, available: bool) -> None:
        """Report whether the provider can be used. From then on only such reports count, not the outcome of attempts.

        Args:
            available: whether it can.
        """
        self._reported = True
        self._set(clean.flag("available", available))

    def attempted(self, cause: Cause) -> None:
        """An attempt ended. Without reports, the last attempt that says something of the provider tells its state."""
        if cause.outcome is Outcome.OK:
            self._last_good = self._clock.monotonic()
        if not self._reported and cause.outcome in (Outcome.OK, Outcome.ERROR, Outcome.PARTIAL, Outcome.EMPTY):
            self._set(cause.outcome is Outcome.OK)

    def _set(self, available: bool) -> None:
        self._available = available
        if available:
            self._last_good = self._clock.monotonic()

    def read_available(self) -> float | None:
        """1 or 0; None when never tried."""
        return None if self._available is None else float(self._available)

    def read_health_age(self) -> float | None:
        """Seconds since last known good; None when never."""
        return None if self._last_good is None else (self._clock.monotonic() - self._last_good) * 1e-9


class Gauge(Protocol):
    """A gauge by provider."""

    def observe(self, source: Callable[[], float | None], values: tuple[str], owner: object) -> None:
        """Ask ``source`` at every export, as long as ``owner`` exists; None gives no point."""


class ProviderStates(ForkAware):
    """The states of the providers of one meter provider, by label.

    They are kept by those who use them, a Telemetry each: what no Telemetry uses any more is not exported any more, and what several
    use is one state, so that none of them overwrites what another one knows.
    """

    def __init__(self, available: Gauge, health_age: Gauge) -> None:
        self._available = available
        self._health_age = health_age
        self._states: weakref.WeakValueDictionary[str, ProviderState] = weakref.WeakValueDictionary()
        self._lock = Lock()
        register(self)

    def get(self, label: str, clock: Clock) -> ProviderState:
        """The state of one provider. ``clock``: for a new one."""
        with self._lock:
            state = self._states.get(label)
            if state is None:
                state = self._states[label] = ProviderState(clock)
                self._available.observe(_weak(state.read_available), (label,), state)
                self._health_age.observe(_weak(state.read_health_age), (label,), state)
            return state

    def after_fork_in_child(self) -> None:
        """Free the lock. What is known of the providers stays true in a child."""
        self._lock = Lock()


class Providers:
    """The providers that one Telemetry uses."""

    def __init__(self, clock: Clock, labels: Labels, states: ProviderStates) -> None:
        self._clock = clock
        self._labels = labels
        self._shared_states = states
        self._states: dict[str, ProviderState] = {}

    def get(self, name: str) -> ProviderState:
        """The state of one provider. Names beyond the limit share no state: theirs is kept nowhere."""
        label = self._labels.bound(name)
        if label in (NONE, OTHER):
            return ProviderState(self._clock)
        state = self._states.get(label)
        if state is None:
            state = self._states[label] = self._shared_states.get(label, self._clock)
        return state


def _weak(method: Callable[[], float | None]) -> Callable[[], float | None]:
    """``method`` without its object, which the instruments, that last as long as the process, would keep alive."""
    reference = weakref.WeakMethod(method)

    def read() -> float | None:
        existing = reference()
        return None if existing is None else existing()

    return read
