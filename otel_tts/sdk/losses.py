"""Losses: whether telemetry was dropped, by local files or since a receiver refused it, which the SDK's own flush does not say."""

from __future__ import annotations


class Losses:
    """Whether something of this process could not be stored or was refused."""

    def __init__(self) -> None:
        self._lost = False

    def note(self) -> None:
        """Something was dropped."""
        self._lost = True

    def take(self) -> bool:
        """Return whether something was dropped since the last call."""
        lost, self._lost = self._lost, False
        return lost


LOSSES = Losses()
"""Of all signals."""
