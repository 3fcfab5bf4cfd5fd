"""Losses: whether the local files dropped telemetry, which the SDK's own flush does not say."""

from __future__ import annotations


class Losses:
    """Whether the local files of this process could not take something."""

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
