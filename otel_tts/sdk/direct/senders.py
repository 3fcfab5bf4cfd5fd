"""Senders of OTLP bytes, over HTTP or gRPC, set up by the standard ``OTEL_EXPORTER_OTLP_*`` variables.

The official exporters read the same variables and do the same, but accept spans only, not bytes. One difference: if a receiver is not
available, spans are not dropped after ``OTEL_EXPORTER_OTLP_TIMEOUT``; they stay in the queue, in order, until they can be sent.
"""

from __future__ import annotations

import gzip
import logging
import math
import time
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from otel_tts.sdk.losses import LOSSES
from otel_tts.sdk.outages import REMEDY, why
from otel_tts.sdk.per_process import PerProcess
from otel_tts.settings.named_file import read_bytes
from otel_tts.version import __version__

if TYPE_CHECKING:
    import grpc

_logger = logging.getLogger(__name__)

_USER_AGENT = f"otel-tts/{__version__}"
_TIMEOUT_S = 10.0
_UNAVAILABLE_HTTP = (429, 502, 503, 504)  # https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
_UNAVAILABLE_GRPC = (
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNAVAILABLE",
    "DATA_LOSS",
)


class Sender(Protocol):
    """A sender of export requests for spans."""

    def send(self, request: bytes, count: int) -> float | None:
        """Send a request of ``count`` spans. Return None when it is done; else the seconds to wait before a retry, 0: no minimum.

        Args:
            request: encoded, with all its spans.
            count: how many spans it has.
        """

    def close(self) -> None:
        """Close the connection."""


def sender(protocol: str, environ: Mapping[str, str]) -> Sender:
    """Return the sender for ``grpc`` or ``http/protobuf``, which a forked child builds again.

    Args:
        protocol: `grpc` or `http/protobuf`.
        environ: the environment variables.
    """
    build: Callable[[], Sender] = (lambda: GRPCSender(environ)) if protocol == "grpc" else (lambda: HTTPSender(environ))
    return _PerProcessSender(build)


class _PerProcessSender:
    """A sender that a forked child builds again: it can use neither its parent's connections nor their locks."""

    def __init__(self, build: Callable[[], Sender]) -> None:
        self._own = PerProcess(build)

    def send(self, request: bytes, count: int) -> float | None:
        return self._own().send(request, count)

    def close(self) -> None:
        self._own().close()


def _setting(environ: Mapping[str, str], name: str, default: str = "") -> str:
    """Return the value of a standard variable: that for traces, else that for all signals."""
    return (
        environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "").strip()
        or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()
        or default
    )


def _timeout_s(environ: Mapping[str, str]) -> float:
    value = _setting(environ, "TIMEOUT", str(_TIMEOUT_S))
    try:
        return float(value)
    except ValueError:
        _logger.warning("OTEL_EXPORTER_OTLP_TIMEOUT=%r is no number of seconds. It is taken as %g.", value, _TIMEOUT_S)
        return _TIMEOUT_S


class _ExportLog:
    """Log messages about sending: one when spans cannot be sent, with the reason, and one when they can be again."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._failing = False

    def accepted(self, response: bytes) -> None:
        if self._failing:
            _logger.warning("Spans are sent to %s again.", self._endpoint)
        self._failing = False
        if response:  # the receiver may have accepted only some of them, and then reports it
            from google.protobuf.message import DecodeError
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

            try:
                partial = ExportTraceServiceResponse.FromString(response).partial_success
            except DecodeError:  # the response is not OTLP
                return
            if partial.rejected_spans:
                LOSSES.note()
            if partial.rejected_spans or partial.error_message:
                _logger.warning(
                    "%s has refused spans: %d (%s)",
                    self._endpoint,
                    partial.rejected_spans,
                    partial.error_message or "no reason given",
                )

    def unavailable(self, reason: object, *, is_reported: bool = False) -> None:
        if not self._failing and not is_reported:
            _logger.warning("Spans cannot be sent to %s (%s). They wait in the queue. %s", self._endpoint, reason, REMEDY)
        self._failing = True

    def refused(self, count: int, reason: object) -> None:
        LOSSES.note()
        _logger.error(
            "%s has refused spans: %d (%s). They are dropped. Is that the address of a receiver of OTLP?",
            self._endpoint,
            count,
            reason,
        )


class HTTPSender:
    """Sender of OTLP over HTTP. Proxies, certificates and ``.netrc`` are those of Python's ``requests``.

    Args:
        environ: the environment variables.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        import requests

        from otel_tts.sdk.receiver import CheckedSession, SpeaksGRPCError

        general = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or "http://localhost:4318"
        self._url = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip() or f"{general.removesuffix('/')}/v1/traces"
        self._timeout_s = _timeout_s(environ)
        headers = parse_env_headers(_setting(environ, "HEADERS"), liberal=True)
        compression = _setting(environ, "COMPRESSION", "none").lower()
        compressions: dict[str, Callable[[bytes], bytes]] = {"none": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
        if compression not in compressions:
            _logger.warning(
                "OTEL_EXPORTER_OTLP_COMPRESSION=%r is not allowed: it takes %s.", compression, " or ".join(compressions)
            )
            compression = "none"
        self._compress = compressions[compression]
        self._headers = {"content-type": "application/x-protobuf", "user-agent": _USER_AGENT, **headers}
        if compression != "none":
            self._headers.setdefault("content-encoding", compression)
        certificate, key = _setting(environ, "CLIENT_CERTIFICATE"), _setting(environ, "CLIENT_KEY")
        self._session = CheckedSession()
        self._session.verify = _setting(environ, "CERTIFICATE") or True
        if certificate:
            self._session.cert = (certificate, key) if key else certificate
        # Proxies and certificates are read from the environment once: requests would do it again for every request.
        merged = self._session.merge_environment_settings(self._url, {}, None, None, None)
        self._session.auth = requests.utils.get_netrc_auth(self._url)
        self._session.trust_env = False
        self._session.proxies = merged["proxies"]
        self._session.verify = merged["verify"]
        self._unreachable = (requests.ConnectionError, requests.Timeout)
        self._speaks_grpc = SpeaksGRPCError
        self._reports = _ExportLog(_without_user(self._url))

    def send(self, request: bytes, count: int) -> float | None:
        """Send a request.

        Args:
            request: encoded, with all its spans.
            count: how many spans it has.
        """
        body = self._compress(request)
        deadline = time.monotonic() + self._timeout_s
        try:
            try:
                response = self._post(body, self._timeout_s)
            except self._unreachable:
                if (left := deadline - time.monotonic()) <= 0:
                    raise
                response = self._post(body, left)  # the receiver may have closed the kept connection in the meantime
        except self._unreachable as error:
            self._reports.unavailable(why(error))
            return 0.0
        except self._speaks_grpc as error:
            self._reports.unavailable(error, is_reported=True)
            return 0.0
        if response.status_code in _UNAVAILABLE_HTTP:
            self._reports.unavailable(f"{response.status_code} {response.reason}")
            return _retry_after_s(response.headers.get("retry-after", ""))
        if 200 <= response.status_code < 400:
            self._reports.accepted(response.content)
        else:
            self._reports.refused(count, f"{response.status_code} {response.reason}")
        return None

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _post(self, body: bytes, timeout_s: float) -> Any:
        return self._session.post(self._url, data=body, headers=self._headers, timeout=timeout_s, allow_redirects=False)


def _retry_after_s(header: str) -> float:
    """Return the seconds of a ``Retry-After`` header, which has seconds or a date; 0 if it has neither."""
    try:
        value = float(header)
    except ValueError:
        try:
            moment = parsedate_to_datetime(header)
        except (TypeError, ValueError):
            return 0.0
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    return max(0.0, value) if math.isfinite(value) else 0.0


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class GRPCSender:
    """Sender of OTLP over gRPC.

    Args:
        environ: the environment variables.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        endpoint = _setting(environ, "ENDPOINT", "http://localhost:4317")
        parts = urlsplit(endpoint)
        self._target = parts.netloc or endpoint
        insecure = _setting(environ, "INSECURE")
        self._secure = parts.scheme == "https" or not (insecure.lower() == "true" if insecure else parts.scheme == "http")
        self._environ = environ
        self._timeout_s = _timeout_s(environ)
        self._metadata = tuple(parse_env_headers(_setting(environ, "HEADERS"), liberal=True).items())
        self._reports = _ExportLog(self._target)
        self._connect()

    def _connect(self) -> None:
        import grpc

        compression = _setting(self._environ, "COMPRESSION", "none").lower()
        options = (("grpc.primary_user_agent", _USER_AGENT),)
        compress = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
        if self._secure:
            self._channel = grpc.secure_channel(self._target, self._credentials(), options=options, compression=compress)
        else:
            self._channel = grpc.insecure_channel(self._target, options=options, compression=compress)
        self._export: Any = self._channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")

    def _credentials(self) -> grpc.ChannelCredentials:
        import grpc

        def content(name: str) -> bytes | None:
            path = _setting(self._environ, name)
            try:
                return read_bytes(path) if path else None
            except OSError as error:
                _logger.error("OTEL_EXPORTER_OTLP_%s=%r cannot be read: %s.", name, path, error.strerror)  # noqa: TRY400
                return None

        if not _setting(self._environ, "CERTIFICATE"):
            return grpc.ssl_channel_credentials()
        return grpc.ssl_channel_credentials(content("CERTIFICATE"), content("CLIENT_KEY"), content("CLIENT_CERTIFICATE"))

    def send(self, request: bytes, count: int) -> float | None:
        """Send a request.

        Args:
            request: encoded, with all its spans.
            count: how many spans it has.
        """
        import grpc

        try:
            response = self._export(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            retry_s = _retry_info_s(error.trailing_metadata())
            # A request that is too large for the receiver is RESOURCE_EXHAUSTED, too: without RetryInfo, a retry would fail for ever.
            if code.name not in _UNAVAILABLE_GRPC or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_s is None):
                self._reports.refused(count, f"{code.name} {details}")
                return None
            self._reports.unavailable(code.name)
            if code is grpc.StatusCode.UNAVAILABLE:  # a new channel connects at once; the old one waits longer after each failure
                self._channel.close()
                self._connect()
            return retry_s or 0.0
        self._reports.accepted(response)
        return None

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def _retry_info_s(metadata: Any) -> float | None:
    """Return the seconds that the receiver asks to wait before a retry; None if it does not."""
    encoded = dict(metadata or ()).get("google.rpc.retryinfo-bin")
    if encoded is None:
        return None
    from google.rpc.error_details_pb2 import RetryInfo

    delay = RetryInfo.FromString(encoded).retry_delay
    return float(delay.seconds + delay.nanos / 1e9)
