"""Telemetry: where an application gets its syntheses, and tells the state of its providers and caches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.trace import TracerProvider

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.attempt import Attempt
from otel_tts.core.clock import Clock, SystemClock, Timeline
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.instruments import instruments_of
from otel_tts.core.invocation import Invocation
from otel_tts.core.labels import Labels
from otel_tts.core.noop import NOOP
from otel_tts.core.prices import Prices
from otel_tts.core.providers import Providers, ProviderState
from otel_tts.core.request import begin, current_context
from otel_tts.core.streams import Current
from otel_tts.core.synthesis import Synthesis
from otel_tts.semconv import AttemptReason
from otel_tts.settings import Settings
from otel_tts.version import __version__

P = ParamSpec("P")
T = TypeVar("T")


class Telemetry:
    """The telemetry of one service. Make one when the service starts, before or after :func:`otel_tts.configure`.

    Args:
        voices, languages, providers, models: all values that metrics shall keep apart; any other value becomes ``_OTHER``. Without
            them, the first 50 seen of each are kept.
        prices: US dollars per million characters, see :class:`otel_tts.core.prices.Prices`; by default those of ``OTEL_TTS_PRICES``.
        settings: by default those of the environment.
        tracer_provider, meter_provider: by default the global ones.
        clock: by default the system's.

    Raises:
        SettingError: a setting is not usable.
        ValueError: a price is not usable.
    """

    def __init__(
        self,
        *,
        voices: Iterable[str] | None = None,
        languages: Iterable[str] | None = None,
        providers: Iterable[str] | None = None,
        models: Iterable[str] | None = None,
        prices: Mapping[str, float | Mapping[str, float]] | None = None,
        settings: Settings | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        clock: Clock | None = None,
    ) -> None:
        settings = settings if settings is not None else Settings.load()
        clock = clock if clock is not None else SystemClock()
        if not settings.metrics_enabled:
            meter_provider = NoOpMeterProvider()
        elif meter_provider is None:
            meter_provider = metrics.get_meter_provider()
        from_file = prices is None and settings.prices
        price_list = Prices.from_file(settings.prices) if from_file else Prices(prices)
        instruments = instruments_of(meter_provider)
        provider_labels = Labels(semconv.PROVIDER, providers)
        self._emitter = Emitter(
            settings=settings,
            clock=clock,
            tracer=trace.get_tracer(semconv.SCOPE, __version__, tracer_provider),
            instruments=instruments,
            prices=price_list,
            provider_labels=provider_labels,
            model_labels=Labels(semconv.MODEL, models),
            voice_labels=Labels(semconv.VOICE, voices),
            language_labels=Labels(semconv.LANGUAGE, languages),
            score_labels=Labels(semconv.SCORE_NAME),
            providers=Providers(clock, provider_labels, instruments.provider_states),
        )

    @property
    def emitter(self) -> Emitter:
        """What interceptors and instrumentations need to emit for the same service."""
        return self._emitter

    @guarded_or(lambda *_, **__: NOOP)
    def synthesis(
        self, text: str | None = None, voice: str | None = None, language: str | None = None, *, stream: bool = False
    ) -> Synthesis:
        """Begin a request to speak. Inside an open Synthesis it is that one: a request is counted once, however many layers ask.

        text: as received; its length is recorded, itself only with text capture on. None when it arrives in pieces, see
        :meth:`Synthesis.add_text`. stream: whether audio is delivered in pieces.
        """
        return Synthesis(begin(self._emitter, text, voice, language, stream=stream))

    @guarded_or(lambda *_, **__: NOOP)
    def probe(self, provider: str, model: str | None = None, *, remote: bool = False) -> Attempt:
        """Ask a provider for its health, outside of any request: an attempt that is kept out of success rates."""
        provider, model = clean.name(provider), clean.optional_name(model)
        timeline = Timeline(self._emitter.clock)
        return Attempt(Invocation(self._emitter, timeline, None, provider, model, AttemptReason.PROBE, remote=remote))

    @guarded_or(lambda *_: NOOP)
    def provider(self, name: str) -> ProviderState:
        """The state of a provider, to report it: ``tts.provider("piper").available(False)``."""
        return self._emitter.providers.get(name)

    @guarded
    def observe_cache(
        self, tier: str, *, entries: Callable[[], float] | None = None, size: Callable[[], float] | None = None
    ) -> None:
        """Have the number of entries and the bytes of a cache tier read at every export, as long as this Telemetry exists.

        Where several observe a tier of the same name, their sum is exported.

        Args:
            tier: the name of the tier.
            entries: gives the number of entries; called in a thread of its own.
            size: gives the bytes; likewise.
        """
        tier = clean.name(tier)
        if entries is not None:
            self._emitter.instruments.cache_entries.call(entries, (tier,), self)
        if size is not None:
            self._emitter.instruments.cache_size.call(size, (tier,), self)

    @guarded
    def cache_evicted(self, tier: str, reason: str, count: int = 1) -> None:
        """Entries left a cache tier. ``reason``: ``size``, ``expired`` or ``invalid``, anything else counts as ``_OTHER``."""
        reason = reason if reason in semconv.CACHE_EVICTION_REASON.values else semconv.OTHER
        self._emitter.instruments.cache_evictions.add(count, (clean.name(tier), reason))

    @staticmethod
    def carry(function: Callable[P, T]) -> Callable[P, T]:
        """``function``, to be run in another thread with the OpenTelemetry context of here: executors and threads drop it."""
        context = current_context()

        @functools.wraps(function)
        def carried(*args: P.args, **kwargs: P.kwargs) -> T:
            with Current(context):
                return function(*args, **kwargs)

        return carried

    @guarded
    def flush_abandoned(self) -> None:
        """Finish requests that were dropped without an end. Happens by itself before every export of metrics."""
        self._emitter.instruments.run_deferred()
