"""The stores behind Thanos: an answer is not whole when more of them are away than a sample has copies to lose.

Thanos asks the stores that it finds healthy, and says nothing of others once it knows that they are away: not by a warning, and not
where it was asked with ``partial_response=false``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from otel_tts.history.http import Backend


class Stores:
    """The state of Thanos' stores; other engines have none.

    Args:
        backend: what answers Prometheus's API.
        may_be_away: how many stores may be away without anything missing.
    """

    def __init__(self, backend: Backend, may_be_away: int = 0) -> None:
        self._backend = backend
        self._may_be_away = may_be_away
        self._is_thanos: bool | None = None

    @property
    def is_thanos(self) -> bool:
        """Whether there are stores to ask for. Raises `HistoryUnavailableError` when nothing answers."""
        if self._is_thanos is None:
            self._is_thanos = self._groups() is not None
        return self._is_thanos

    def missing_because(self) -> str | None:
        """Which stores are away, where they are too many; None where they are not.

        Raises:
            HistoryUnavailableError: nothing answers.
        """
        if not self.is_thanos:
            return None
        groups = self._groups()
        if groups is None:
            return "it does not tell which of its stores are away"
        away = sorted(set(_away(groups)))
        if len(away) <= self._may_be_away:
            return None
        return f"{len(away)} of its stores {'is' if len(away) == 1 else 'are'} away ({', '.join(away)})"

    def _groups(self) -> Mapping[str, Any] | None:
        match self._backend.optional("/api/v1/stores"):
            case {"status": "success", "data": dict(groups)}:
                return groups
        return None


def _away(groups: Mapping[str, Any]) -> Iterator[str]:
    for stores in groups.values():
        for store in stores if isinstance(stores, list) else ():
            match store:
                case {"lastError": error, **others} if error:
                    yield str(others.get("name", "one without a name"))
