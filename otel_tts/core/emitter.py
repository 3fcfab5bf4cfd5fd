"""Emitter: what all requests of one :class:`otel_tts.Telemetry` share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, StatusCode, Tracer
from opentelemetry.util.types import Attributes

from otel_tts import semconv
from otel_tts.core.bounded import Bounded
from otel_tts.core.clock import Clock
from otel_tts.core.guard import guard, guarded
from otel_tts.core.instruments import Instruments
from otel_tts.core.labels import Labels
from otel_tts.core.outcome import Cause
from otel_tts.core.prices import Prices
from otel_tts.core.privacy import exception_attributes
from otel_tts.core.providers import Providers
from otel_tts.core.repeated import RepeatedAttributes
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
    starts: Bounded[Hashable, RepeatedAttributes] = field(default_factory=lambda: Bounded(_PLANS))
    """The attributes with which spans of requests start, by stream, voice and language, of requests that have a plan."""

    def start_span(
        self,
        name: str,
        kind: SpanKind,
        start: int,
        attributes: Attributes,
        context: Context | None = None,
        links: Iterable[Link] = (),
    ) -> Span:
        """Start a span at the wall time ``start``, nanoseconds; if the SDK fails, return one that records nothing.

        Args:
            name: of the span.
            kind: of the span.
            start: from when on, in seconds since the Unix epoch.
            attributes: those that samplers may look at.
            context: with the parent; None: the current context.
            links: to other spans.
        """
        try:
            return self.tracer.start_span(
                name, context, kind, attributes, tuple(links), start, False, False
            )  # by position: quicker
        except Exception as error:  # noqa: BLE001 - a sampler or span processor of the host may raise anything
            guard.caught("starting a span", error)
            return INVALID_SPAN

    @guarded
    def add_exception(self, span: Span, error: BaseException, timestamp_ns: int | None = None) -> None:
        """Add an ``exception`` event to a span, with its message only if text may be captured.

        Args:
            span: the span of the work that the exception ended.
            error: the exception.
            timestamp_ns: when, in nanoseconds since the epoch; None: now.
        """
        attributes = exception_attributes(error, capture_text=self.settings.capture_text)
        span.add_event(semconv.EXCEPTION_EVENT.name, attributes, timestamp_ns)

    def describe_failure(self, span: Span, cause: Cause, error: BaseException | None, timestamp_ns: int) -> None:
        """Set a span's status to ERROR and add the exception, if the cause is a failure.

        Args:
            span: the span of the work that ended.
            cause: how it ended.
            error: the exception, if no other span has it.
            timestamp_ns: when it ended, in nanoseconds since the epoch.
        """
        if cause.outcome in semconv.FAILURES:
            span.set_status(StatusCode.ERROR, str(cause.error_type))
            if error is not None:
                self.add_exception(span, error, timestamp_ns)

    def maker(self, provider: str | None, model: str | None, *, admit: bool = True) -> tuple[str, str]:
        """Return the bounded labels of a provider and a model.

        Args:
            provider: who made the audio; None: nobody.
            model: with which model; None: unknown.
            admit: see :meth:`Labels.bound`.
        """
        return self.provider_labels.bound(provider, admit=admit), self.model_labels.bound(model, admit=admit)
