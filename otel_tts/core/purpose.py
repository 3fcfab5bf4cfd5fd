"""Purpose: what a request is for - the conversation that it is part of, its kind, and the application's own attributes.

It is set for one request, or for a block: requests that are started inside, for example by an SDK or a framework, use it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from opentelemetry.context import Context, create_key, get_current

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.guard import guard
from otel_tts.core.labels import Labels, OwnLabels
from otel_tts.semconv import RequestKind

PURPOSE = create_key("purpose")
"""The key of the Purpose in the OpenTelemetry context."""
Attributes = Mapping[str, str | bool | int | float]

_MOST = 32  # own attributes of a request
_RESERVED = frozenset(attribute.key for span in semconv.SPANS for attribute in span.attributes)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Purpose:
    """The purpose of a request."""

    kind: RequestKind = RequestKind.INTERACTIVE
    conversation: str | None = None
    attributes: Attributes = field(default_factory=dict)

    def with_(self, conversation: str | None, kind: RequestKind | str | None, attributes: Attributes | None) -> Purpose:
        """Return a copy with these values; None keeps the present one. Attributes are added.

        Args:
            conversation: the id of the conversation; None: as before; empty: none.
            kind: one of `RequestKind`; None: as before.
            attributes: the application's own; None: as before.
        """
        if conversation is None and kind is None and attributes is None:
            return self
        return replace(
            self,
            kind=self.kind if kind is None else clean.choice(RequestKind, "kind", kind, "It is left out.") or self.kind,
            conversation=self.conversation if conversation is None else clean.identifier(conversation),
            attributes={**self.attributes, **_clean(attributes)} if attributes is not None else self.attributes,
        )

    def update(self, inner: Purpose) -> Purpose:
        """Return a copy with what an inner layer knows in addition.

        Args:
            inner: what an inner layer stated.
        """
        if inner is self or inner == NONE:
            return self
        return replace(
            self, conversation=self.conversation or inner.conversation, attributes={**inner.attributes, **self.attributes}
        )

    def may_be(self, inner: Purpose) -> bool:
        """Return whether a request begun inside one with this purpose may be the same speech: of no other kind or conversation.

        Args:
            inner: the purpose of that request; what is not stated there is as here.
        """
        is_another = None not in (self.conversation, inner.conversation) and self.conversation != inner.conversation
        return not is_another and inner.kind in (self.kind, RequestKind.INTERACTIVE)

    def around(self, inner: Purpose) -> Purpose:
        """Return the purpose of a request begun inside one with this purpose.

        Args:
            inner: what is stated of that request.
        """
        return self if inner == NONE else replace(inner.update(self), kind=self.kind)

    @property
    def interactive(self) -> bool:
        """Whether somebody waits for the audio: only then the request counts for objectives, alerts and drift."""
        return self.kind is RequestKind.INTERACTIVE

    def span_attributes(self) -> dict[str, str | bool | int | float]:
        """Return the attributes for the request's span."""
        attributes = dict(self.attributes)
        if not self.interactive:
            attributes[semconv.KIND.key] = self.kind.value
        if self.conversation:
            attributes[semconv.CONVERSATION.key] = self.conversation
        return attributes

    def labels(self, declared: Sequence[tuple[str, Labels]]) -> OwnLabels:
        """Return those of the attributes that metrics carry, as labels.

        Args:
            declared: the keys of own attributes that metrics carry, each with its bounded labels.
        """
        return tuple((key, labels.bound(as_label(self.attributes[key]))) for key, labels in declared if key in self.attributes)


NONE = Purpose()
"""The purpose of a request for which none is stated."""


def current(context: Context | None = None) -> Purpose:
    """Return the Purpose in a context, by default the current one.

    Args:
        context: the OpenTelemetry context; None: the current one.
    """
    purpose = (context if context is not None else get_current()).get(PURPOSE)
    return purpose if isinstance(purpose, Purpose) else NONE


def as_label(value: str | bool | float | tuple[str, ...]) -> str:
    """Return the value of an attribute as a label.

    Args:
        value: of an own attribute.
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def _clean(attributes: Attributes) -> dict[str, str | bool | int | float]:
    """Return the attributes that can be recorded, with cleaned keys and values."""
    kept: dict[str, str | bool | int | float] = {}
    try:
        items = dict(attributes).items()
    except Exception as error:  # noqa: BLE001 - the host's object
        guard.pass_on(error)
        guard.misused("attributes", clean.shown(attributes), "use a mapping of names to values.", "They are left out.")
        return kept
    for given, value in items:
        if len(kept) >= _MOST:
            _logger.debug("Attributes of a request were left out: at most %d are kept.", _MOST)
            break
        key = clean.name(given)
        if not key or key in _RESERVED:
            _logger.debug("An attribute of a request was left out: it has no name, or the name of one of ours.")
        elif type(value) is bool:
            kept[key] = value
        elif value is not None:
            kept[key] = _value(value)
    return kept


def _value(value: object) -> str | int | float:
    try:
        return clean.name(value) if clean.is_a(value, str) else clean.number(value)
    except ValueError:
        return clean.name(value)
