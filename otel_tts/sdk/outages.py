"""Outages: a receiver that the SDK's exporters cannot reach is two lines in the log, when it begins and when it is over.

The exporters log each attempt and each export that fails, for ever. Those records are held back, and only those: what a receiver refuses,
what cannot be encoded and what the exporters of the host log stay as they are. The queue of `otel_tts.sdk.direct` does the same for spans.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from otel_tts.errors import OtelTtsError

R = TypeVar("R", bound=Enum)

_logger = logging.getLogger(__name__)

_UNAVAILABLE = frozenset(("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"))
"""Codes of gRPC after which an exporter tries again. RESOURCE_EXHAUSTED may be a request that is too large, which is worth each line."""

REMEDY = (
    "Does it run, is that its address, and is OTEL_EXPORTER_OTLP_PROTOCOL the protocol that it speaks there? "
    "`otel-tts doctor` checks it."
)
"""What to do about an outage."""
_exporting = threading.local()
"""The outage log of the export that the thread is in."""


class OutageLog:
    """The log messages about the outages of one destination.

    Args:
        subject: what is sent, for people, such as ``Metrics``.
        destination: where it is sent, for people.
        consequence: what becomes of it in the meantime.
    """

    def __init__(self, subject: str, destination: str, consequence: str) -> None:
        self._subject, self._destination, self._consequence = subject, destination, consequence
        self._is_out = False
        self.is_reached = True
        """Whether the receiver answered the last export."""

    def watch(self, export: Callable[[], R]) -> R:
        """Return what an export returns. The exporter's records of an outage are held back, and its end is said.

        Args:
            export: sends one batch.
        """
        self.is_reached = True
        _exporting.log = self
        try:
            result = export()
        finally:
            _exporting.log = None
        if self._is_out and result.name == "SUCCESS":
            self._is_out = False
            _logger.warning("%s are sent to %s again.", self._subject, self._destination)
        return result

    def failed(self, reason: object, *, is_reported: bool) -> None:
        """Say that there is an outage, once.

        Args:
            reason: why the receiver was not reached.
            is_reported: whether that has been said elsewhere.
        """
        if not self._is_out and not is_reported:
            _logger.warning(
                "%s cannot be sent to %s (%s). %s %s", self._subject, self._destination, reason, self._consequence, REMEDY
            )
        self._is_out = True
        self.is_reached = False


def hold_back(exporter: logging.Logger) -> None:
    """Let the records of an exporter through, except those of an outage during an export of ours.

    Args:
        exporter: the logger of the exporter.
    """
    if _is_news not in exporter.filters:
        exporter.filters.insert(
            0, _is_news
        )  # before the SDK's own, which drops what is repeated within 20 s: the reason may be in it


def _is_news(record: logging.LogRecord) -> bool:
    log: OutageLog | None = getattr(_exporting, "log", None)
    if log is None or not isinstance(record.args, tuple):
        return True
    reason = _reason(str(record.msg), record.args)
    if reason is None:
        return True
    is_reported = isinstance(reason, OtelTtsError)  # a receiver of gRPC: `sdk.receiver` has said so
    name = why(reason) if isinstance(reason, BaseException) else getattr(reason, "name", reason)
    log.failed(name, is_reported=is_reported)
    return False


def why(error: BaseException) -> str:
    """Return why a receiver was not reached, in words where they are known; without its address, in which a password may stand.

    Args:
        error: what the connection ended with.
    """
    text = str(error).lower()
    words = {"resolve": "no such host", "getaddrinfo": "no such host", "refused": "connection refused", "timed out": "timed out"}
    return next((cause for part, cause in words.items() if part in text), type(error).__name__)


def _reason(message: str, arguments: tuple[Any, ...]) -> object | None:
    """Return why an exporter did not reach its receiver; None if the record is about something else."""
    if message.startswith("Transient error %s encountered while exporting"):
        reason = arguments[0]
        return None if getattr(reason, "name", "") == "RESOURCE_EXHAUSTED" else reason or "no reason given"
    if message.startswith("Failed to export %s batch due to timeout"):
        return "no reply"
    if message.startswith("Failed to export %s batch code") and arguments[1] is None:  # no status: there was no response
        return arguments[2]  # type: ignore[no-any-return]
    if message.startswith("Failed to export %s to %s, error code") and getattr(arguments[2], "name", "") in _UNAVAILABLE:
        return arguments[2]  # type: ignore[no-any-return]
    return None
