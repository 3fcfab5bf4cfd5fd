"""Detection of a gRPC receiver to which telemetry is sent by HTTP: it is recognised by its response, and reported once.

Each gRPC server starts with a SETTINGS frame of HTTP/2, which a client of HTTP/1.1 reads as a bad status line. Over TLS it closes the
connection, since it accepts no other protocol than HTTP/2 in ALPN (RFC 7301). Without this module, the exporters would retry and log
that line for ever.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from http.client import BadStatusLine
from typing import Any
from urllib.parse import urlsplit

import requests

from otel_tts.errors import OtelTtsError

_logger = logging.getLogger(__name__)

_HANDSHAKE_TIMEOUT_S = 5.0

_reported: set[str] = set()
"""The hosts, with ports, that have been reported."""


class SpeaksGRPCError(OtelTtsError, requests.RequestException):
    """Error of a receiver that speaks gRPC. It is not a `requests.ConnectionError`, after which exporters retry: that is of no use."""


class CheckedSession(requests.Session):
    """A session that recognises a gRPC receiver, and believes the certificates that it is given before those of the environment."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Let OTEL_EXPORTER_OTLP_CERTIFICATE count where REQUESTS_CA_BUNDLE is set, too, which requests puts above a session's own."""
        own = self.verify if verify is None and self.verify is not True else verify
        return super().merge_environment_settings(url, proxies, stream, own, cert)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request.

        Raises:
            SpeaksGRPCError: the receiver speaks gRPC. It has been reported.
            requests.RequestException: the request failed for another reason.
        """
        try:
            return super().send(request, **kwargs)
        except requests.ConnectionError as error:
            is_direct = not requests.utils.select_proxy(str(request.url), kwargs.get("proxies"))
            if not (speaks_grpc(error) or (is_direct and was_ended(error) and takes_http2_only(str(request.url)))):
                raise
            report(str(request.url))
            raise SpeaksGRPCError(str(error)) from error


def speaks_grpc(error: BaseException) -> bool:
    """Return whether the response to an HTTP/1.1 request was a SETTINGS frame.

    Args:
        error: what an export over HTTP ended with.
    """
    for cause in _causes(error):
        if isinstance(cause, BadStatusLine):
            line = str(cause.args[0]) if cause.args else ""
            return line.startswith("\0\0") and line[3:4] == "\4"
    return False


def was_ended(error: BaseException) -> bool:
    """Return whether the receiver took a connection and ended it, in the handshake of TLS or after it, without a response.

    Args:
        error: what an export over HTTP ended with.
    """
    return any(isinstance(cause, ConnectionResetError | ssl.SSLEOFError) for cause in _causes(error)) or (
        "NO_APPLICATION_PROTOCOL" in str(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        wrapped = next((argument for argument in error.args if isinstance(argument, BaseException)), None)
        error = error.__cause__ or wrapped or error.__context__


def takes_http2_only(url: str) -> bool:
    """Return whether the receiver of an https URL agrees to HTTP/2 and not to HTTP/1.1. Sends nothing but two handshakes.

    Args:
        url: where telemetry is sent; one of another scheme is no such receiver.
    """
    return urlsplit(url).scheme == "https" and _agreed(url, "http/1.1") is None and _agreed(url, "h2") == "h2"


def _agreed(url: str, protocol: str) -> str | None:
    """The protocol that the receiver takes when it is offered one; None for neither."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent and nothing is believed but the name of the protocol
    context.set_alpn_protocols([protocol])
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443), _HANDSHAKE_TIMEOUT_S) as connection,
            context.wrap_socket(connection, server_hostname=parts.hostname) as secured,
        ):
            return secured.selected_alpn_protocol()
    except (OSError, ValueError):
        return None


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
