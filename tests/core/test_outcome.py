"""How exceptions and statuses become outcomes."""

from __future__ import annotations

import asyncio
import math
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import httpx
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from rq.timeouts import JobTimeoutException

from otel_tts.core import outcome
from otel_tts.core.outcome import Cause, met_deadline
from otel_tts.semconv import ERROR_TYPES, GRPC_STATUS_CODES, ErrorType, Outcome

CANCELLED = ("cancelled", None)
INVALID = ("rejected", "invalid_input")

HTTP = {
    400: INVALID,
    422: INVALID,
    401: ("error", "unauthorized"),
    403: ("error", "unauthorized"),
    404: ("error", "not_found"),
    408: ("error", "timeout"),
    409: ("error", "_OTHER"),
    429: ("error", "rate_limited"),
    500: ("error", "server_error"),
    502: ("error", "server_error"),
    503: ("error", "unavailable"),
    504: ("error", "timeout"),
    599: ("error", "server_error"),
}

GRPC = {
    "CANCELLED": CANCELLED,
    "UNKNOWN": ("error", "server_error"),
    "INVALID_ARGUMENT": INVALID,
    "DEADLINE_EXCEEDED": ("error", "timeout"),
    "NOT_FOUND": ("error", "not_found"),
    "ALREADY_EXISTS": ("error", "_OTHER"),
    "PERMISSION_DENIED": ("error", "unauthorized"),
    "RESOURCE_EXHAUSTED": ("error", "rate_limited"),
    "FAILED_PRECONDITION": ("error", "_OTHER"),
    "ABORTED": ("error", "_OTHER"),
    "OUT_OF_RANGE": INVALID,
    "UNIMPLEMENTED": ("rejected", "unsupported"),
    "INTERNAL": ("error", "server_error"),
    "UNAVAILABLE": ("error", "unavailable"),
    "DATA_LOSS": ("error", "server_error"),
    "UNAUTHENTICATED": ("error", "unauthorized"),
}


def parts_of(cause: Cause) -> tuple[str, str | None]:
    """A cause as plain values."""
    return cause.outcome.value, cause.error_type.value if cause.error_type is not None else None


def carrying(**attributes: Any) -> Exception:
    """An exception of some client."""
    error: Exception = type("ClientError", (Exception,), attributes)("the text")
    return error


@pytest.fixture(scope="module")
def http() -> Iterator[str]:
    """A real HTTP server, that answers with the status in the path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", HTTP)
def test_a_real_http_status(http: str, status: int) -> None:
    """The errors of httpx and of urllib mean what their status means for an attempt."""
    with pytest.raises(httpx.HTTPStatusError) as raised:
        httpx.get(f"{http}/{status}").raise_for_status()
    assert parts_of(outcome.from_exception(raised.value)) == HTTP[status]
    with pytest.raises(urllib.error.HTTPError) as opened:
        urllib.request.urlopen(f"{http}/{status}")
    opened.value.close()
    assert parts_of(outcome.from_exception(opened.value)) == HTTP[status]


@pytest.mark.parametrize(
    "attributes",
    [
        {"status_code": 429},
        {"status": 429},
        {"code": 429},
        {"response": type("Response", (), {"status_code": 429})()},
        {"response": {"ResponseMetadata": {"HTTPStatusCode": 429}}},
        {"response": None, "status_code": "429", "status": True, "code": 429},
    ],
)
def test_where_clients_carry_their_status(attributes: dict[str, Any]) -> None:
    """Each of the attributes by which clients carry an HTTP status is found, whatever stands in the others."""
    assert parts_of(outcome.from_exception(carrying(**attributes))) == ("error", "rate_limited")


@pytest.mark.parametrize(
    ("status", "error_type"), [(1000, "connection"), (1006, "connection"), (1015, "connection"), (1016, "_OTHER"), (-1, "_OTHER")]
)
def test_how_a_websocket_was_closed_as_a_status(status: int, error_type: str) -> None:
    """LiveKit's plugins raise a connection that has ended so; other numbers say nothing."""
    assert parts_of(outcome.from_exception(carrying(status_code=status))) == ("error", error_type)


@pytest.mark.parametrize(
    "attributes", [{"status_code": 0}, {"code": 1006}, {"status": "x"}, {"response": {}}, {"response": {"ResponseMetadata": 1}}]
)
def test_what_is_no_status(attributes: dict[str, Any]) -> None:
    """A number that is no HTTP status, and an attribute of another kind, say nothing."""
    assert parts_of(outcome.from_exception(carrying(**attributes))) == ("error", "_OTHER")


@pytest.mark.parametrize("code", GRPC)
def test_a_real_grpc_status(code: str) -> None:
    """The error of a gRPC client means what its code means for an attempt."""

    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(getattr(grpc.StatusCode, code), "no")

    handler = grpc.method_handlers_generic_handler("s", {"m": grpc.unary_unary_rpc_method_handler(refuse)})
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary("/s/m")
            with pytest.raises(grpc.RpcError) as raised:
                call(b"", timeout=10)
        assert parts_of(outcome.from_exception(raised.value)) == GRPC[code]
    finally:
        server.stop(0).wait()


def test_every_grpc_code_is_judged() -> None:
    """The table above leaves out OK only, which no client raises."""
    assert set(GRPC) == set(GRPC_STATUS_CODES) - {"OK"}


class BotoReadTimeoutError(Exception):
    """Named as clients name a timeout."""


class ConnectionClosedError(Exception):
    """Named as clients name a lost connection."""


class QuietError(Exception):
    """Says nothing."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncio.CancelledError(), CANCELLED),
        (GeneratorExit(), CANCELLED),
        (KeyboardInterrupt(), ("error", "shutdown")),
        (SystemExit(429), ("error", "shutdown")),
        (BaseExceptionGroup("g", [ValueError(), BaseExceptionGroup("g", [SystemExit()])]), ("error", "shutdown")),
        (type("Cancelled", (BaseException,), {})(), CANCELLED),
        (BaseExceptionGroup("g", [asyncio.CancelledError()]), CANCELLED),
        (type("ClientDisconnect", (Exception,), {})(), CANCELLED),
        (TimeoutError(), ("error", "timeout")),
        (httpx.ReadTimeout("the text"), ("error", "timeout")),
        (BotoReadTimeoutError(), ("error", "timeout")),
        (SoftTimeLimitExceeded(), ("error", "timeout")),  # Celery's
        (JobTimeoutException(), ("error", "timeout")),  # RQ's
        (type("TimeLimitExceeded", (BaseException,), {})(), ("error", "timeout")),  # Dramatiq's
        (type("Timeout", (BaseException,), {})(), ("error", "timeout")),  # gevent's
        (type("Inherited", (BotoReadTimeoutError,), {})(), ("error", "timeout")),
        (ConnectionResetError(), ("error", "connection")),
        (ConnectionClosedError(), ("error", "connection")),
        (httpx.ConnectError("the text"), ("error", "connection")),
        (socket.gaierror(), ("error", "_OTHER")),
        (urllib.error.HTTPError("u", 503, "m", Message(), None), ("error", "unavailable")),
        (QuietError(), ("error", "_OTHER")),
        (ValueError("a timeout while connecting, status_code 429"), ("error", "_OTHER")),
        (ExceptionGroup("g", [TimeoutError()]), ("error", "timeout")),
        (ExceptionGroup("g", [TimeoutError(), ConnectionResetError()]), ("error", "_OTHER")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_other_exceptions(error: BaseException, expected: tuple[str, str | None]) -> None:
    """By class and name of class, never by message."""
    assert parts_of(outcome.from_exception(error)) == expected


def test_an_exception_that_cannot_be_looked_at() -> None:
    """An exception whose properties raise is an error like any other."""

    class HostileError(Exception):
        @property
        def response(self) -> None:
            raise RuntimeError("the request has not been sent")

    class RpcError(Exception):
        details = ""

        def code(self) -> None:
            raise RuntimeError("not yet")

    assert parts_of(outcome.from_exception(HostileError())) == ("error", "_OTHER")
    assert parts_of(outcome.from_exception(RpcError())) == ("error", "_OTHER")


@pytest.mark.parametrize("code", GRPC_STATUS_CODES)
@pytest.mark.parametrize("attempted", [False, True])
def test_every_rpc_status_has_a_valid_outcome(code: str, attempted: bool) -> None:
    """Whatever an RPC is answered with, outcome and error type are a pair of the registry; only OK is ok."""
    cause = outcome.from_rpc_status(code, attempted=attempted)
    assert cause.error_type in (ERROR_TYPES[cause.outcome] or (None,))
    assert cause.good is (code == "OK")
    assert not (attempted and cause.outcome is Outcome.REJECTED)


@pytest.mark.parametrize("given", Outcome)
@pytest.mark.parametrize("error_type", [None, "made up", *ErrorType])
def test_a_cause_is_always_a_pair_of_the_registry(given: Outcome, error_type: str | None) -> None:
    """A known error type stays where its outcome allows it; any other becomes the outcome's own."""
    cause = Cause.from_outcome(given.value, error_type)
    assert cause.outcome is given
    assert cause.error_type in (ERROR_TYPES[given] or (None,))
    if error_type in ERROR_TYPES[given]:
        assert cause.error_type == error_type


def test_no_such_outcome() -> None:
    """The message says which there are."""
    with pytest.raises(
        ValueError, match=r"'okay' is no outcome\. Use one of: ok, rejected, cancelled, deadline, partial, empty, error\."
    ):
        Cause.from_outcome("okay")


@pytest.mark.parametrize("timeout_s", [0.04, 0.15, 1.0, 1.015, 12.31, 125.5, 3601.0])
def test_a_deadline_that_grpc_rounds_up_is_met(timeout_s: float) -> None:
    """A caller that gives up a little before the deadline that gRPC sends met its own; one that leaves in the first half did not."""
    value = math.ceil(timeout_s * 1000)
    unit = 10 ** max(0, len(str(value)) - 3)
    sent_s = math.ceil(value / unit) * unit / 1000
    assert met_deadline(sent_s - timeout_s, sent_s)
    assert met_deadline(sent_s - timeout_s + min(0.02, timeout_s / 4), sent_s)
    assert not met_deadline(sent_s / 2 + 0.03, sent_s)
    assert not met_deadline(None, None)
