"""The instruments, made from the registry: histograms of the SDK, and totals that the SDK reads at export.

A counter of the SDK costs several microseconds a call, a locked slot a fraction of one; so all sums are kept here and observed by
asynchronous instruments. Histograms stay the SDK's: nothing here aggregates distributions.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Generic, TypeVar

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter, get_meter_provider

from otel_tts import semconv
from otel_tts.core import callback, deferred
from otel_tts.core.callback import Callback
from otel_tts.core.clean import Range
from otel_tts.core.deferred import run_deferred
from otel_tts.core.fork import ForkAware, register
from otel_tts.core.labels import LabelSets, OwnLabels
from otel_tts.core.providers import ProviderStates
from otel_tts.semconv import Instrument, Metric
from otel_tts.version import __version__

Value = str | bool | None
"""One attribute value; None leaves the attribute out."""
Attributes = dict[str, str | bool]
Source = Callable[[], float | None] | Callback
"""What gives a value at every export: a function of ours, which is quick, or one of the host's."""
Record = Callable[[float, Context | None], None]
"""Records a value with attributes that are known beforehand."""
T = TypeVar("T")


class AttributeSets(Generic[T]):
    """The attribute sets of one metric, each made once."""

    def __init__(self, metric: Metric, make: Callable[[Attributes], T]) -> None:
        self._keys = metric.keys
        self._make = make
        self._labels = LabelSets(metric)
        self._series: dict[tuple[object, ...], T] = {}
        self._lock = Lock()

    def at(self, values: tuple[Value, ...], own: OwnLabels = ()) -> T:
        """What is kept for these attribute values, which stand in the order of the registry, and the application's own."""
        series = self._series.get((values, own) if own else values)
        if series is None:
            with self._lock:
                folded = self._labels.fold(values, own)
                keys = (*self._keys, *(key for key, _ in own))
                rest = tuple(zip(keys[len(values) :], folded[len(values) :], strict=True))
                place = (folded[: len(values)], rest) if own else folded
                series = self._series.get(place)
                if series is None:
                    attributes = {
                        key: str(value) if isinstance(value, str) else value  # an enumeration's member becomes its plain value
                        for key, value in zip(keys, folded, strict=True)
                        if value is not None
                    }
                    series = self._series[place] = self._make(attributes)
        return series

    def all(self) -> list[T]:
        """Everything kept."""
        with self._lock:
            return list(self._series.values())

    def after_fork(self) -> list[T]:
        """A child starts from nothing: what the parent counted is the parent's, and a lock may have been held by a thread now gone.

        Gives what was kept.
        """
        self._lock = Lock()
        inherited, self._series = self._series, {}
        return list(inherited.values())


class Histogram:
    """A histogram of the registry."""

    def __init__(self, metric: Metric, meter: Meter) -> None:
        histogram = meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=list(metric.buckets)
        )
        self._range = Range(metric)
        self._series: AttributeSets[Record] = AttributeSets(metric, _binding(histogram))

    def record(self, value: float, values: tuple[Value, ...], context: Context | None, own: OwnLabels = ()) -> float | None:
        """Record one value, with the span's context so that it can become an exemplar. Gives what was recorded."""
        accepted = self._range.accept(value)
        if accepted is not None:
            self._series.at(values, own)(accepted, context)
        return accepted

    def after_fork(self) -> None:
        """Free the lock, which another thread of the parent may have held."""
        self._series.after_fork()


def _binding(histogram: metrics.Histogram) -> Callable[[Attributes], Record]:
    """Give what makes a function that records with given attributes.

    The API has no instruments that are bound to attributes, which would save most of a record; a provider's may know how.
    """
    bind: Callable[[Attributes], Record] | None = getattr(histogram, "bind", None)
    if bind is not None:
        return bind
    return lambda attributes: lambda value, context: histogram.record(value, attributes, context)


class Total:
    """A sum of the registry: a counter or an up-down counter, or the last value of a gauge."""

    def __init__(self, metric: Metric, meter: Meter, before: Callable[[], None]) -> None:
        self._slots: AttributeSets[_Slot] = AttributeSets(metric, _Slot)
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
        accepted = self._range.accept(amount)
        if accepted is None:
            return
        slot = self._slots.at(values, own)
        with slot.lock:
            slot.value = (slot.value or 0) + accepted

    def observe(self, source: Callable[[], float | None], values: tuple[Value, ...], owner: object) -> None:
        """Ask ``source`` at every export, as long as ``owner`` exists; None gives no point.

        Several owners may observe the same attribute values: what is exported is the sum of what they give.
        """
        self._slots.at(values).observe(source, owner)

    def call(self, function: Callable[[], float], values: tuple[Value, ...], owner: object) -> None:
        """The same with a function of the host's, which replaces an earlier one of the same owner and values.

        Raises:
            TypeError: it is no function.
        """
        self._slots.at(values).call(function, owner)

    def after_fork(self) -> None:
        """Forget what the parent counted, keep what is asked at export."""
        for slot in self._slots.after_fork():
            if slot.sources:
                self._slots.at(tuple(slot.attributes.values())).sources = slot.sources

    def _observe(self, options: CallbackOptions) -> Iterable[Observation]:
        self._before()
        slots = self._slots.all()
        for slot in slots:
            slot.ask()
        deadline = time.monotonic() + callback.PATIENCE_S
        for slot in slots:
            values = [None if value is None else self._range.accept(value) for value in slot.read(deadline)]
            numbers = [value for value in values if value is not None]
            if len(numbers) == len(values):  # else the sum is not known either
                yield Observation(sum(numbers), slot.attributes)


class _Slot:
    """What is kept of one attribute set: a value, or what is asked for it at every export."""

    __slots__ = ("attributes", "lock", "sources", "value")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.lock = Lock()
        self.value: float | None = None
        self.sources: dict[weakref.ref[object], Source] = {}  # by owner, one each: so that there is no end of them

    def observe(self, source: Source, owner: object) -> None:
        with self.lock:
            self.sources[weakref.ref(owner)] = source

    def call(self, function: Callable[[], float], owner: object) -> None:
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


class Instruments(ForkAware):
    """All instruments, on one meter provider. Get them with :func:`instruments_of`."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter(semconv.SCOPE, __version__, provider)

        def histogram(metric: Metric) -> Histogram:
            return Histogram(metric, meter)

        def total(metric: Metric) -> Total:
            return Total(metric, meter, run_deferred)

        self.rpc_duration = histogram(semconv.RPC_DURATION)
        self.synthesis_duration = histogram(semconv.SYNTHESIS_DURATION)
        self.first_byte = histogram(semconv.SYNTHESIS_FIRST_BYTE)
        self.first_audio = histogram(semconv.SYNTHESIS_FIRST_AUDIO)
        self.underrun = histogram(semconv.STREAM_UNDERRUN)
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
        self.provider_states = ProviderStates(self.available, self.health_age)
        register(self)

    def after_fork_in_child(self) -> None:
        """Start from nothing."""
        for instrument in vars(self).values():
            if isinstance(instrument, Histogram | Total):
                instrument.after_fork()


class _ByProvider(ForkAware):
    """The instruments of each meter provider."""

    def __init__(self) -> None:
        self._instruments: weakref.WeakKeyDictionary[MeterProvider, Instruments] = weakref.WeakKeyDictionary()
        self._global: Instruments | None = None
        self._creating = Lock()
        register(self)

    def get(self, provider: MeterProvider) -> Instruments:
        with self._creating:
            instruments = self._instruments.get(provider)
            if instruments is None:
                if provider is not get_meter_provider():
                    instruments = Instruments(provider)
                elif self._global is None:
                    instruments = self._global = Instruments(provider)
                else:
                    instruments = self._global
                self._instruments[provider] = instruments
            return instruments

    def after_fork_in_child(self) -> None:
        self._creating = Lock()
        deferred.after_fork_in_child()


_by_provider = _ByProvider()


def instruments_of(provider: MeterProvider) -> Instruments:
    """The instruments on ``provider``: one set however many ask, since the SDK merges no two instruments of one name.

    Those made on the global provider before it was set, when a proxy stands in for it, are those of the one that is set.
    """
    return _by_provider.get(provider)
