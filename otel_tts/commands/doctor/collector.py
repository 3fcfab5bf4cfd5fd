"""The Collector: what its health check says. Whether telemetry passes through it is seen where it arrives."""

from __future__ import annotations

from http.client import OK

from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.finding import HopAbsentError, HopBrokenError, HopUnknownError


def collector(server: Server, *, expected: bool) -> str:
    """The Collector says that it is well.

    Args:
        server: its health check.
        expected: whether it is a fault when there is none.

    Raises:
        HopBrokenError: it does not.
        HopUnknownError: nobody answers, where nobody is expected.
    """
    try:
        answer = server.ask("/")
    except HopAbsentError as absent:
        if expected:
            raise
        raise HopUnknownError(f"{absent.message}, and no Collector is configured; what arrives shows whether one works") from None
    if answer.status != OK:
        raise HopBrokenError(f"{server.shown} answers {answer.excerpt}", "The Collector's log says why it is not ready.")
    return f"{server.shown} is healthy"
