"""Emitter: what all requests of one :class:`otel_tts.Telemetry` share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, Tracer
from opentelemetry.util.types import Attributes

from otel_tts.core.bounded import Bounded
from otel_tts.core.clock import Clock
from otel_tts.core.guard import guard
from otel_tts.core.instruments import Instruments
from otel_tts.core.labels import Labels
from otel_tts.core.prices import Prices
from otel_tts.core.providers import Providers
from otel_tts.settings import Settings

_PLANS = 1024


@dataclass(frozen=True, slots=True)
class Emitter:
    """The tracer, the instruments, the bounded labels, the prices and the clock."""

    settings: Settings
    clock: Clock
    tracer: Tracer
    instruments: Instruments
    prices: Prices
    provider_labels: Labels
    model_labels: Labels
    voice_labels: Labels
    language_labels: Labels
    score_labels: Labels
    own_labels: tuple[tuple[str, Labels], ...]
    """The application's own attributes that metrics carry."""
    providers: Providers
    plans: Bounded[Hashable, Any] = field(default_factory=lambda: Bounded(_PLANS))
    """The series of requests that have the same labels and outcome; see `otel_tts.core.plan`."""

    def start_span(
        self,
        name: str,
        kind: SpanKind,
        start: int,
        attributes: Attributes,
        context: Context | None = None,
        links: Iterable[Link] = (),
    ) -> Span:
        """Start a span at the wall time ``start``, nanoseconds; if the SDK fails, return one that records nothing."""
        try:
            return self.tracer.start_span(
                name, context, kind, attributes, tuple(links), start, record_exception=False, set_status_on_exception=False
            )
        except Exception as error:  # noqa: BLE001 - a sampler or span processor of the host may raise anything
            guard.caught("starting a span", error)
            return INVALID_SPAN

    def maker(self, provider: str | None, model: str | None, *, admit: bool = True) -> tuple[str, str]:
        """Return the bounded labels of a provider and a model. ``admit``: see :meth:`Labels.bound`."""
        return self.provider_labels.bound(provider, admit=admit), self.model_labels.bound(model, admit=admit)
