"""Undecided attempts: those that ended without a fault of their engine, of which only what follows shows what they were.

A listener who leaves, a fault of the service itself and a time limit of the application all end an attempt by an exception that its engine
did not raise. If the request ends with it, the provider has done nothing wrong. If the request goes on to another attempt, the application
has given this one up: it failed, and the next one is a retry or a fallback.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otel_tts.core.outcome import Cause


@dataclass(slots=True, eq=False)
class Undecided:
    """An attempt that has ended, and is recorded once it is decided."""

    provider: str
    record: Callable[[Cause], None]
    """Records it with its cause. It must not refer to the request, which would then not reach its finaliser."""
    cause: Cause
    """How it ended, if the request does not go on."""
    given_up: Cause
    """How it failed, if the request goes on."""
    cut_off: bool
    """Whether its task was cancelled while it spoke. Then only an attempt at another provider shows that it was given up."""

    def is_given_up_for(self, provider: str | None) -> bool:
        """Return whether the next call shows that the application has given this one up.

        Args:
            provider: that is called next; None: the request has ended.
        """
        return provider is not None and not (self.cut_off and provider == self.provider)
