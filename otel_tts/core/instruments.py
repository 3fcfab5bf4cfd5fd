"""All instruments of the registry, one set for each meter provider."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from threading import Lock

from opentelemetry.metrics import MeterProvider, NoOpMeter, get_meter, get_meter_provider

from otel_tts import semconv
from otel_tts.core import deferred
from otel_tts.core.active import ActiveRequests
from otel_tts.core.deferred import run_deferred
from otel_tts.core.fork import ForkAware, register
from otel_tts.core.histogram import Histogram
from otel_tts.core.providers import ProviderStates
from otel_tts.core.total import Total
from otel_tts.semconv import Metric
from otel_tts.version import __version__


class Instruments(ForkAware):
    """All instruments, on one meter provider. Get them with :func:`instruments_of`.

    Args:
        provider: creates the meter; None: the global one.
    """

    def __init__(self, provider: MeterProvider | None, dropped: Collection[str] = ()) -> None:
        """Make all instruments.

        Args:
            provider: the meter provider; None: the global one.
            dropped: names of metrics that are not recorded.
        """
        meter = get_meter(semconv.SCOPE, __version__, provider)
        nowhere = NoOpMeter(semconv.SCOPE)

        def histogram(metric: Metric) -> Histogram:
            return Histogram(metric, nowhere if metric.name in dropped else meter)

        def total(metric: Metric) -> Total:
            return Total(metric, nowhere if metric.name in dropped else meter, run_deferred)

        self.rpc_duration = histogram(semconv.RPC_DURATION)
        self.synthesis_duration = histogram(semconv.SYNTHESIS_DURATION)
        self.first_byte = histogram(semconv.SYNTHESIS_FIRST_BYTE)
        self.first_audio = histogram(semconv.SYNTHESIS_FIRST_AUDIO)
        self.underrun = histogram(semconv.STREAM_UNDERRUN)
        self.text_wait = histogram(semconv.TEXT_WAITING)
        self.queue_wait = histogram(semconv.QUEUE_WAITING)
        self.encode_duration = histogram(semconv.ENCODE_DURATION)
        self.time_to_silence = histogram(semconv.SYNTHESIS_TIME_TO_SILENCE)
        self.background_duration = histogram(semconv.BACKGROUND_DURATION)
        self.client_duration = histogram(semconv.CLIENT_DURATION)
        self.client_first_chunk = histogram(semconv.CLIENT_FIRST_CHUNK)
        self.connect_duration = histogram(semconv.CONNECT_DURATION)
        self.attempt_duration = histogram(semconv.ATTEMPT_DURATION)
        self.real_time_factor = histogram(semconv.ATTEMPT_REAL_TIME_FACTOR)
        self.loudness = histogram(semconv.QUALITY_LOUDNESS)
        self.silence_ratio = histogram(semconv.QUALITY_SILENCE_RATIO)
        self.clipping_ratio = histogram(semconv.QUALITY_CLIPPING_RATIO)
        self.speaking_rate = histogram(semconv.QUALITY_SPEAKING_RATE)
        self.trailing_silence = histogram(semconv.QUALITY_TRAILING_SILENCE)
        self.score = histogram(semconv.QUALITY_SCORE)
        self.active = total(semconv.SYNTHESIS_ACTIVE)
        self.requests = total(semconv.SYNTHESIS_REQUESTS)
        self.failures = total(semconv.SYNTHESIS_FAILURES)
        self.characters = total(semconv.SYNTHESIS_CHARACTERS)
        self.audio = total(semconv.SYNTHESIS_AUDIO)
        self.lookups = total(semconv.CACHE_LOOKUPS)
        self.cache_entries = total(semconv.CACHE_ENTRIES)
        self.cache_size = total(semconv.CACHE_SIZE)
        self.cache_evictions = total(semconv.CACHE_EVICTIONS)
        self.available = total(semconv.PROVIDER_AVAILABLE)
        self.health_age = total(semconv.PROVIDER_HEALTH_AGE)
        self.fallbacks = total(semconv.PROVIDER_FALLBACKS)
        self.cost = total(semconv.USAGE_COST)
        self.cost_avoided = total(semconv.USAGE_COST_AVOIDED)
        self.cost_wasted = total(semconv.USAGE_COST_WASTED)
        self.connection_uses = total(semconv.CONNECTION_USES)
        self.unpriced = total(semconv.USAGE_UNPRICED)
        self.active_requests = ActiveRequests(self.active)
        self.provider_states = ProviderStates(self.available, self.health_age)
        register(self)

    def release(self) -> None:
        """Free the places for label values in all instruments."""
        for instrument in vars(self).values():
            if isinstance(instrument, Histogram | Total):
                instrument.release()

    def after_fork_in_child(self) -> None:
        """Empty all instruments: the parent exports what was recorded before the fork."""
        for instrument in vars(self).values():
            if isinstance(instrument, Histogram | Total):
                instrument.after_fork()


class _ByProvider(ForkAware):
    """The instruments of each meter provider, which is referred to weakly: it can be freed when its application drops it."""

    def __init__(self) -> None:
        self._instruments: weakref.WeakKeyDictionary[MeterProvider, Instruments] = weakref.WeakKeyDictionary()
        self._global: Instruments | None = None
        self._creating = Lock()
        register(self)

    def get(self, provider: MeterProvider, dropped: Collection[str]) -> Instruments:
        with self._creating:
            instruments = self._instruments.get(provider)
            if instruments is None:
                if provider is not get_meter_provider():
                    instruments = Instruments(provider, dropped)
                elif self._global is None:
                    instruments = self._global = Instruments(provider, dropped)
                else:
                    instruments = self._global
                self._instruments[provider] = instruments
            return instruments

    def after_fork_in_child(self) -> None:
        self._creating = Lock()
        deferred.after_fork_in_child()


_by_provider = _ByProvider()


def instruments_of(provider: MeterProvider, dropped: Collection[str] = ()) -> Instruments:
    """Return the instruments on ``provider``: one set for all callers, since the SDK does not merge two instruments of one name.

    Before the global provider is set, a proxy takes its place; the instruments created on the proxy are also those of the global provider.

    Args:
        provider: the meter provider.
        dropped: names of metrics that are not recorded; those of the first caller count.
    """
    return _by_provider.get(provider, dropped)
