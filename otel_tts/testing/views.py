"""Views: a request and its attempts as their spans tell, with plain properties to compare in a test."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan

from otel_tts import semconv
from otel_tts.semconv import Attribute, Metric

Point = NumberDataPoint | HistogramDataPoint
Key = str | Attribute


def attributes_of(owner: ReadableSpan | Point) -> dict[str, Any]:
    """Return the attributes of a span or point; empty without any.

    Args:
        owner: the span or point.
    """
    return dict(owner.attributes or {})


def key_of(name: Key | Metric) -> str:
    """Return the name of a metric or the key of an attribute.

    Args:
        name: it itself, or its definition in ``semconv``.
    """
    if isinstance(name, str):
        return name
    return name.name if isinstance(name, Metric) else name.key


class AttemptView:
    """One attempt at a provider, as its span tells.

    Args:
        span: of the request, or of the attempt.
    """

    def __init__(self, span: ReadableSpan) -> None:
        self.span = span

    def __getitem__(self, attribute: Key) -> Any:
        return attributes_of(self.span).get(key_of(attribute))

    @property
    def provider(self) -> str:
        """Who was asked."""
        return str(self[semconv.PROVIDER])

    @property
    def model(self) -> str | None:
        """With which model."""
        model = self[semconv.MODEL]
        return None if model is None else str(model)

    @property
    def reason(self) -> str:
        """Why: ``initial``, ``retry``, ``fallback`` or ``probe``."""
        return str(self[semconv.ATTEMPT_REASON])

    @property
    def outcome(self) -> str:
        """How it ended."""
        return str(self[semconv.OUTCOME])

    @property
    def error_type(self) -> str | None:
        """What went wrong."""
        error_type = self[semconv.ERROR_TYPE]
        return None if error_type is None else str(error_type)


class SynthesisView:
    """One request to speak, as its spans tell. ``view[attribute]`` gives any attribute of the span, None where it has none.

    Args:
        span: of the request, or of the attempt.
        attempts: of the request, in the order of their start.
    """

    def __init__(self, span: ReadableSpan, attempts: list[AttemptView]) -> None:
        self.span = span
        self.attempts = attempts

    def __getitem__(self, attribute: Key) -> Any:
        return attributes_of(self.span).get(key_of(attribute))

    @property
    def outcome(self) -> str:
        """How it ended."""
        return str(self[semconv.OUTCOME])

    @property
    def cache_result(self) -> str:
        """``hit``, ``miss``, ``bypass`` or ``coalesced``."""
        return str(self[semconv.CACHE_RESULT])

    @property
    def first_byte(self) -> float | None:
        """Seconds to the first audio byte, of a stream."""
        seconds = self[semconv.TIME_TO_FIRST_BYTE]
        return None if seconds is None else float(seconds)

    @property
    def first_audio(self) -> float | None:
        """Seconds to the first audible sample, of a stream."""
        seconds = self[semconv.TIME_TO_FIRST_AUDIO]
        return None if seconds is None else float(seconds)
