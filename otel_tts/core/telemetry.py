"""Telemetry: the object from which an application gets its requests, and with which it reports the state of providers and caches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, ParamSpec, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.context import set_value
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from otel_tts import semconv
from otel_tts.core import arguments, clean
from otel_tts.core.attempt import Attempt
from otel_tts.core.clock import Clock, RequestClock, SystemClock
from otel_tts.core.connection import Opening
from otel_tts.core.deferred import deferrable, outside_collections, run_deferred
from otel_tts.core.emitter import Emitter
from otel_tts.core.enclosing import begin_request, call_around, current_context
from otel_tts.core.guard import guard, guarded, guarded_or
from otel_tts.core.instruments import instruments_of
from otel_tts.core.invocation import Invocation
from otel_tts.core.labels import Labels
from otel_tts.core.noop import NOOP
from otel_tts.core.prices import Prices
from otel_tts.core.providers import Providers, ProviderState
from otel_tts.core.purpose import PURPOSE, Attributes, as_label, current
from otel_tts.core.streams import Current
from otel_tts.core.synthesis import Synthesis
from otel_tts.semconv import AttemptReason, Attribute, RequestKind
from otel_tts.settings import Settings, plugins
from otel_tts.version import __version__

P = ParamSpec("P")
T = TypeVar("T")


class Telemetry:
    """The telemetry of one service. Make one when the service starts, before or after :func:`otel_tts.configure`.

    Where `otel-tts run` could not set the program up (one line on standard error says why), it records nothing, unless providers are given
    here: then it takes no setting of the environment, and no global provider.

    Args:
        voices: all values that metrics use as labels; any other becomes ``_OTHER``. By default the first 50 seen are used.
        languages: likewise.
        providers: likewise.
        models: likewise.
        attributes: the application's own attributes that metrics of requests carry too, each with how many values become labels (1 to
            200), or with all values: ``{"app.tenant": 20, "app.tier": ("free", "paid")}``. Any other value becomes ``_OTHER``.
        prices: US dollars per million characters, see :class:`otel_tts.core.prices.Prices`; by default those of ``OTEL_TTS_PRICES``.
        settings: by default those of the environment.
        tracer_provider: with which spans are created; by default the global one.
        meter_provider: with which metrics are recorded; by default the global one.
        clock: by default that of the operating system.

    Raises:
        SettingError: a setting is not usable, or an argument is of the wrong kind.
        ValueError: prices, or the attributes or one of their limits, are not usable.
    """

    _off: ClassVar[bool] = False
    """Whether zero code has found, and said, that this process cannot be observed as the environment wants it."""

    def __init__(
        self,
        *,
        voices: Iterable[str] | None = None,
        languages: Iterable[str] | None = None,
        providers: Iterable[str] | None = None,
        models: Iterable[str] | None = None,
        attributes: Mapping[str, int | Iterable[str]] | None = None,
        prices: Mapping[str, float | Mapping[str, float]] | None = None,
        settings: Settings | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        clock: Clock | None = None,
    ) -> None:
        arguments.check("Telemetry", locals(), _RULES)
        if self._off:
            settings = settings if settings is not None else Settings.load({})
            tracer_provider = tracer_provider if tracer_provider is not None else NoOpTracerProvider()
            meter_provider = meter_provider if meter_provider is not None else NoOpMeterProvider()
        if settings is None:
            plugins.check_imports()
            settings = Settings.load()
        guard.strict = guard.strict or settings.strict
        clock = clock if clock is not None else SystemClock()
        if not settings.metrics_enabled:
            meter_provider = NoOpMeterProvider()
        elif meter_provider is None:
            meter_provider = metrics.get_meter_provider()
        from_file = prices is None and settings.prices
        price_list = Prices.from_file(settings.prices) if from_file else Prices(prices)
        instruments = instruments_of(meter_provider, settings.metrics_dropped)
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
            own_labels=_own_labels(attributes or {}),
            providers=Providers(clock, provider_labels, instruments.provider_states),
        )

    @property
    def emitter(self) -> Emitter:
        """The tracer, instruments and labels of this Telemetry, for interceptors and instrumentations."""
        return self._emitter

    @outside_collections(lambda *_, **__: NOOP)
    def synthesis(
        self,
        text: str | None = None,
        voice: str | None = None,
        language: str | None = None,
        *,
        stream: bool = False,
        conversation: str | None = None,
        kind: RequestKind | str | None = None,
        attributes: Attributes | None = None,
    ) -> Synthesis:
        """Start a request to speak.

        Inside an attempt, a look-up or the stream of an open request, and inside an RPC with an open request, it returns another handle
        of that one: it is counted once, however many layers start it, and so are its attempts, of which those of the innermost
        layer count. Directly in the block of another one it is a request of
        its own, which alone is counted if that one calls no provider and finds no cached audio. It is always one of its own after an
        interruption, in the consumer of a generator that yields audio inside such a block, and, outside RPCs, if it states another
        conversation.

        Args:
            text: as received; its length is recorded, the text itself only with text capture on. None if it arrives in pieces, see
                :meth:`Synthesis.add_text`.
            voice: as requested.
            language: as requested, a BCP 47 tag.
            stream: whether audio is delivered in pieces.
            conversation: the id of the conversation (session, call) that it is part of; by default that of the
                :meth:`conversation` around; empty: of none.
            kind: ``interactive``, or ``prefetch`` or ``batch``, for which nobody waits; by default likewise.
            attributes: the application's own, on spans; on metrics only those declared to :class:`Telemetry`. Those of the
                :meth:`conversation` around are added.
        """
        purpose = None
        if conversation is not None or kind is not None or attributes is not None:
            purpose = current().with_(conversation, kind, attributes)
        stream = clean.flag("stream", stream)
        request = begin_request(self._emitter, text, voice, language, stream=stream, purpose=purpose)
        return Synthesis(request, call_around(request) if request.record.attempts else None)

    @staticmethod
    def conversation(
        id: str | None = None, *, kind: RequestKind | str | None = None, attributes: Attributes | None = None
    ) -> Current:
        """Return a block in which all requests are part of a conversation, also those of instrumented SDKs and frameworks.

        Args:
            id: of the conversation (session, call), the same in all its blocks; None: that of the block around; empty: none.
            kind: as for :meth:`synthesis`.
            attributes: as for :meth:`synthesis`.
        """
        return _conversation(id, kind, attributes)

    @guarded_or(lambda *_: NOOP)
    def connection(self, provider: str) -> Opening:
        """Measure a connection to a provider being opened: a block, whose duration is recorded. See also :meth:`Attempt.connection`.

        Args:
            provider: the provider that is connected to.
        """
        return Opening(self._emitter, provider)

    @outside_collections(lambda *_, **__: NOOP)
    def probe(self, provider: str, model: str | None = None, *, remote: bool = False) -> Attempt:
        """Start a health check of a provider, outside of any request: an attempt that does not count in success rates.

        Args:
            provider: who is called.
            model: with which model.
            remote: whether the provider is called (span kind CLIENT) rather than run in this process (INTERNAL).
        """
        provider, model = clean.name(provider) if provider is not None else clean.missing("provider"), clean.optional_name(model)  # type: ignore[redundant-expr]
        timeline, remote = RequestClock(self._emitter.clock), clean.flag("remote", remote)
        return Attempt(Invocation(self._emitter, timeline, None, provider, model, AttemptReason.PROBE, remote=remote))

    @guarded_or(lambda *_: NOOP)
    def provider(self, name: str) -> ProviderState:
        """Return the state of a provider, to report it: ``tts.provider("piper").available(False)``.

        All Telemetry objects on one meter provider share the state; it exists as long as one of them.

        Args:
            name: of the provider.
        """
        return self._emitter.providers.get(name)

    @deferrable
    def observe_cache(
        self, tier: str, *, entries: Callable[[], float] | None = None, size: Callable[[], float] | None = None
    ) -> None:
        """Read the number of entries and the bytes of a cache tier at every export, as long as this Telemetry exists.

        If several observe a tier of the same name, their sum is exported.

        Args:
            tier: the name of the tier.
            entries: returns the number of entries; called in a thread of its own.
            size: returns the bytes; likewise.
        """
        tier = clean.name(tier)
        if entries is not None:
            self._emitter.instruments.cache_entries.call(entries, (tier,), self)
        if size is not None:
            self._emitter.instruments.cache_size.call(size, (tier,), self)

    @deferrable
    def cache_evicted(self, tier: str, reason: str, count: int = 1) -> None:
        """Report that entries left a cache tier.

        Args:
            tier: the name of the tier.
            reason: ``size``, ``expired`` or ``invalid``; anything else counts as ``_OTHER``.
            count: how many, a whole number of 0 or more.
        """
        reason = clean.one_of(semconv.CACHE_EVICTION_REASON.values, reason)
        self._emitter.instruments.cache_evictions.add(count, (clean.name(tier), reason))

    @staticmethod
    def carry(function: Callable[P, T]) -> Callable[P, T]:
        """Wrap a function so that it runs in another thread with the current OpenTelemetry context.

        Executors and threads do not pass it on: without this, what the function calls is not part of the request.

        Args:
            function: what will run in the other thread.

        Returns:
            A function with the same arguments and result.
        """
        context = current_context()

        @functools.wraps(function)
        def carried(*args: P.args, **kwargs: P.kwargs) -> T:
            with Current(context):
                return function(*args, **kwargs)

        return carried

    @guarded
    def run_deferred(self) -> None:
        """Finish requests that were dropped without an end. This also happens before every export of metrics."""
        run_deferred()


@guarded_or(lambda *_: NOOP)
def _conversation(id: str | None, kind: RequestKind | str | None, attributes: Attributes | None) -> Current:
    return Current(set_value(PURPOSE, current().with_(id, kind, attributes)))


def _own_labels(declared: Mapping[str, int | Iterable[str]]) -> tuple[tuple[str, Labels], ...]:
    if not isinstance(declared, Mapping):
        raise ValueError(  # noqa: TRY004 - as of all that is wrong with an argument
            f"attributes={clean.shown(declared)} are none. Give a mapping of each name to a number of values, or to all values."
        )
    labels = []
    for key, bound in declared.items():
        limit, values = (bound, None) if isinstance(bound, int) else (_MOST_VALUES, frozenset(map(as_label, bound)))
        if isinstance(bound, str) or not 0 < limit <= _MOST_VALUES:
            raise ValueError(f"{key}: {bound!r} is no bound. Give a number of values from 1 to {_MOST_VALUES}, or all values.")
        labels.append((key, Labels(Attribute(key, "string", "The application's own.", limit=limit), values)))
    return tuple(labels)


_RULES: Mapping[str, arguments.Rule] = {
    "voices": arguments.NAMES,
    "languages": arguments.NAMES,
    "providers": arguments.NAMES,
    "models": arguments.NAMES,
    "settings": arguments.SETTINGS,
    "tracer_provider": arguments.TRACER_PROVIDER,
    "meter_provider": arguments.METER_PROVIDER,
    "clock": arguments.has("monotonic", "a clock, see otel_tts.core.clock.Clock"),
}
_MOST_VALUES = 200
"""The most values of one of the application's own attributes on metrics."""
