"""Layers: what a request knows of those that are begun directly in its block, before anything is known of its own audio.

An application and a library may each begin a request for the same speech. The outer one then calls no provider and asks no cache that has
the audio: the inner one speaks in its place, and is the one that counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from otel_tts import semconv
from otel_tts.core.outcome import Cause
from otel_tts.semconv import SERVED_FROM_CACHE, Outcome

if TYPE_CHECKING:
    from otel_tts.core.record import Record


class Outer(Protocol):
    """A request in whose block others were begun."""

    record: Record
    context: Context
    outcome: Outcome | None


class Layers:
    """The inner requests of one. Thread-safe without a lock: each change is one atomic operation."""

    __slots__ = ("_failure", "_open")

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._failure: Outcome | None = None  # of the first one that did not end well

    def began(self, request: object) -> None:
        """Note that a request began.

        Args:
            request: the inner one.
        """
        self._open.add(id(request))

    def ended(self, request: object, outcome: Outcome | None) -> None:
        """Note that a request ended.

        Args:
            request: the inner one.
            outcome: how it ended; None: unknown.
        """
        if outcome is not Outcome.OK:
            self._failure = self._failure or outcome
        self._open.discard(id(request))

    def replace(self, outer: Outer, ended: Cause) -> bool:
        """Return whether what was spoken inside counts in place of the outer request, whose outcome it then is.

        Not if that one has a source of audio of its own, if it was interrupted, or if it failed though all others ended well: else its
        failure is that of one of them, which is counted already.

        Args:
            outer: the outer request, at its end.
            ended: how it ended.
        """
        record = outer.record
        if record.attempts or record.cache in SERVED_FROM_CACHE or record.interrupted_ns is not None:
            return False
        if not ended.good and not self._failure and not self._open:
            return False
        outer.outcome = self._failure or ended.outcome
        get_current_span(outer.context).update_name(semconv.ENCLOSING_SPAN.name)
        return True
