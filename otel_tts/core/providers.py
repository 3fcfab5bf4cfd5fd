"""What is known of the state of providers: available or not, and since when last good."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from otel_tts.core.clock import Clock
from otel_tts.core.guard import guarded
from otel_tts.core.instruments import Instruments
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
        """Report whether the provider can be used. From then on only such reports count, not the outcome of attempts."""
        self._reported = True
        self._set(bool(available))

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


class Providers:
    """All providers, by bounded name."""

    def __init__(self, clock: Clock, labels: Labels, instruments: Instruments) -> None:
        self._clock = clock
        self._labels = labels
        self._instruments = instruments
        self._states: dict[str, ProviderState] = {}

    def get(self, name: str) -> ProviderState:
        """The state of one provider. Names beyond the limit share no state: theirs is kept nowhere."""
        label = self._labels.bound(name)
        if label in (NONE, OTHER):
            return ProviderState(self._clock)
        state = self._states.get(label)
        if state is None:
            state = self._states.setdefault(label, ProviderState(self._clock))
            self._instruments.available.read(_while_alive(state.read_available), (label,))
            self._instruments.health_age.read(_while_alive(state.read_health_age), (label,))
        return state


def _while_alive(method: Callable[[], float | None]) -> Callable[[], float | None]:
    """``method`` as long as its object is there: the instruments outlive a Telemetry."""
    reference = weakref.WeakMethod(method)

    def read() -> float | None:
        alive = reference()
        return None if alive is None else alive()

    return read
