"""Detection of a gRPC receiver to which telemetry is sent by HTTP: it is recognised by its response, and reported once.

Each gRPC server starts with a SETTINGS frame of HTTP/2, which a client of HTTP/1.1 reads as a bad status line. Without this module, the
exporters would retry and log that line for ever.
"""

from __future__ import annotations

import logging
from http.client import BadStatusLine
from typing import Any
from urllib.parse import urlsplit

import requests

from otel_tts.errors import OtelTtsError

_logger = logging.getLogger(__name__)

_reported: set[str] = set()
"""The hosts, with ports, that have been reported."""


class SpeaksGRPCError(OtelTtsError, requests.RequestException):
    """Error of a receiver that speaks gRPC. It is not a `requests.ConnectionError`, after which exporters retry: that is of no use."""


class CheckedSession(requests.Session):
    """A session that recognises a gRPC receiver."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request.

        Raises:
            SpeaksGRPCError: the receiver speaks gRPC. It has been reported.
            requests.RequestException: the request failed for another reason.
        """
        try:
            return super().send(request, **kwargs)
        except requests.ConnectionError as error:
            if not speaks_grpc(error):
                raise
            report(str(request.url))
            raise SpeaksGRPCError(str(error)) from error


def speaks_grpc(error: BaseException | None) -> bool:
    """Return whether the response to an HTTP/1.1 request was a SETTINGS frame.

    Args:
        error: what an export over HTTP ended with; None without one.
    """
    while error is not None:
        if isinstance(error, BadStatusLine):
            line = str(error.args[0]) if error.args else ""
            return line.startswith("\0\0") and line[3:4] == "\4"
        wrapped = next((argument for argument in error.args if isinstance(argument, BaseException)), None)
        error = error.__cause__ or wrapped or error.__context__
    return False


def report(url: str) -> None:
    """Log what to set, once for each receiver, whatever signals are sent to it.

    Args:
        url: of the receiver.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    if host not in _reported:
        _reported.add(host)
        _logger.warning(
            "%s speaks gRPC, and telemetry is sent to it by HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc. Nothing arrives until then.",
            host,
        )


def is_news(record: logging.LogRecord) -> bool:
    """Return whether a log record of an exporter is about something else; for use as a filter of its logger.

    Args:
        record: the log record.
    """
    arguments = record.args if isinstance(record.args, tuple) else ()
    return not any(isinstance(argument, SpeaksGRPCError) for argument in arguments)
