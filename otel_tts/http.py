"""The HTTP client of readers, doctor and `grafana push`: headers, certificates, timeouts, proxies, and error messages for people."""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.utils import get_environ_proxies

from otel_tts.errors import OtelTtsError
from otel_tts.settings import ServerSettings, header_lines, redact_url
from otel_tts.settings.named_file import read_bytes
from otel_tts.version import __version__

_CONNECT_TIMEOUT_S = 3.0
_EXCERPT = 200
"""The most characters of a response in a message."""
_SHORTEST_SECRET = 6
"""The fewest characters of a secret that is masked: shorter ones are in many responses by chance."""
_UNTRUSTED = (18, 19, 20, 21)
"""OpenSSL's codes for a certificate of an unknown authority."""
_WRONG_NAME = (62, 64)


class NoResponseError(OtelTtsError, ConnectionError):
    """Error of a server that gave no response.

    Args:
        name: of the server, for people.
        problem: what happened, the text after the server's name.
        advice: what to do.
    """

    def __init__(self, name: str, problem: str, advice: str) -> None:
        super().__init__(f"{name[:1].upper()}{name[1:]} {problem}. {advice}")
        self.problem = problem
        self.advice = advice


class UnreachableError(NoResponseError):
    """Error of an address where nothing listens, or a name that is unknown."""


class TLSError(NoResponseError):
    """Error of a TLS connection: one side does not accept the other's certificate, or the server does not use TLS."""


@dataclass(frozen=True)
class Response:
    """The response of a server, of any status. ``secrets`` are never shown in an `excerpt`."""

    status: int
    content: bytes
    location: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")

    @cached_property
    def body(self) -> Any:
        """The content as JSON; None if it is not JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):  # RecursionError: nested too deeply
            return None

    @property
    def message(self) -> str:
        """Why it failed, on one line: the ``message`` or ``error`` of a JSON object, else the beginning of the text."""
        stated = (self.body.get("message") or self.body.get("error")) if isinstance(self.body, dict) else None
        message = redact_url(" ".join(str(stated or self.text).split()))
        for secret in self.secrets:
            message = message.replace(secret, "...")
        return message[:_EXCERPT]

    @property
    def excerpt(self) -> str:
        """Status and `message`."""
        return f"{self.status} {self.message}".strip()


class Client:
    """Client of one server.

    Redirects are not followed: a token in a header would be sent to another server. Proxies are those of the environment
    (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``); for servers on this machine, none is used. ``.netrc`` is not read.

    Args:
        server: address, headers, certificates, timeout. A user and a password in the address are used and never shown.
        headers: further headers; a header of ``server`` with the same name replaces one of these.
    """

    def __init__(self, server: ServerSettings, headers: Mapping[str, str] | None = None) -> None:
        self._server = server
        self._headers = dict(headers or {})
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update({"Accept": "application/json", "User-Agent": f"otel-tts/{__version__}"})
        self._checked = False

    @property
    def shown(self) -> str:
        """The address, for people, without a password."""
        return redact_url(self._server.url)

    @property
    def name(self) -> str:
        """The name and address of the server, for people: "Prometheus at http://127.0.0.1:9090"."""
        return f"{self._server.title} at {self.shown}" if self._server.url else self._server.title

    @property
    def variable(self) -> str:
        """The environment variable of the address."""
        return self._server.variable("url")

    def request(
        self, method: str, path: str, parameters: Mapping[str, str | float] | None = None, body: Mapping[str, Any] | None = None
    ) -> Response:
        """Make one request.

        Args:
            method: "GET", "POST".
            path: the part after the address, with its slash.
            parameters: of the query.
            body: sent as JSON.

        Raises:
            UnreachableError: nothing answers at the address.
            TLSError: there is no TLS connection.
            NoResponseError: no response in time, or another reason; a file with headers or a certificate cannot be used.
        """
        headers = self._current_headers()
        if not self._checked:
            self._check_certificates()
            self._checked = True
        url = f"{self._server.url}{path}"
        try:
            response = self._session.request(
                method,
                url,
                params=dict(parameters or {}),
                json=body,
                headers=headers,
                timeout=(min(_CONNECT_TIMEOUT_S, self._server.timeout), self._server.timeout),
                allow_redirects=False,
                proxies={} if _is_local(url) else get_environ_proxies(url),
                verify=_authorities(self._server),
                cert=_client_certificate(self._server),
            )
        except (requests.RequestException, OSError) as error:
            raise self._failure(error) from None
        location = redact_url(response.headers.get("Location", "")) if response.is_redirect else ""
        return Response(response.status_code, response.content, location, tuple(_secrets(self._server.url, headers)))

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _current_headers(self) -> dict[str, str]:
        """Return the headers of a request. The file is read each time: it is small, and a token in it may have been replaced."""
        from_file: Mapping[str, str] = {}
        if self._server.headers_file is not None:
            variable = self._server.variable("headers_file")
            try:
                from_file = header_lines(read_bytes(self._server.headers_file).decode("utf-8-sig")).fields
            except UnicodeDecodeError:
                raise self._no_response(f"was not asked: {variable} names a file that is no text", _RIGHT_FILE) from None
            except OSError as error:
                problem = f"was not asked: {variable} names {self._server.headers_file}, which cannot be read ({error.strerror})"
                raise self._no_response(problem, _RIGHT_FILE) from None
            except ValueError as error:
                problem = f"was not asked: {variable} names {self._server.headers_file}, which holds something else than {error}"
                raise self._no_response(problem, _RIGHT_FILE) from None
        return {**self._headers, **self._server.headers.fields, **from_file}

    def _check_certificates(self) -> None:
        """Load the certificates once, so that an error can name the file. A key must not need a passphrase: nobody is there to enter it."""
        context = ssl.create_default_context()

        def load_client_certificate(path: Path) -> None:
            context.load_cert_chain(path, self._server.client_key, password="")

        loads: tuple[tuple[str, Callable[[Path], None]], ...] = (
            ("certificate", context.load_verify_locations),
            ("client_certificate", load_client_certificate),
        )
        for name, load in loads:
            if (path := getattr(self._server, name)) is None:
                continue
            try:
                load(path)
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "no PEM file without a passphrase"
                raise TLSError(
                    self.name,
                    f"was not asked: {self._server.variable(name)} names {path}, which cannot be used ({reason})",
                    "Give the PEM file, with a key that needs no passphrase.",
                ) from None

    def _failure(self, error: Exception) -> NoResponseError:
        """Return the error for an exception of the HTTP library. Its text is not used: it may contain headers, users and passwords."""
        server = self._server
        if isinstance(error, requests.exceptions.ProxyError):
            return self._no_response(
                "was not reached: the proxy does not answer or refuses", "See HTTPS_PROXY, HTTP_PROXY, NO_PROXY."
            )
        if (tls := _tls_error(error)) is not None:
            return TLSError(self.name, *_tls_problem(tls, server))
        if isinstance(error, requests.Timeout):
            advice = f"Is it overloaded? Ask for a shorter time, or set {server.variable('timeout')} to more seconds."
            return self._no_response("did not answer in time", advice)
        if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
            return self._no_response("broke off its response", "Its own log says more.")
        return UnreachableError(self.name, "does not answer", f"Is it running, and is {self.variable} its address?")

    def _no_response(self, problem: str, advice: str) -> NoResponseError:
        return NoResponseError(self.name, problem, advice)


_RIGHT_FILE = "Give a file that holds headers as Name: value, one a line."


def _is_local(url: str) -> bool:
    """Return whether a server is on this machine, which a proxy cannot reach."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _authorities(server: ServerSettings) -> str | bool:
    """Return the file of the trusted authorities; True for those of the HTTP library."""
    if server.certificate is not None:
        return str(server.certificate)
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def _client_certificate(server: ServerSettings) -> str | tuple[str, str] | None:
    if server.client_certificate is None:
        return None
    return (str(server.client_certificate), str(server.client_key)) if server.client_key else str(server.client_certificate)


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS library's error inside one of the HTTP library, which stores it in one of several attributes."""
    pending, seen = [error], set()
    while pending:
        current = pending.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        if isinstance(current, ssl.SSLError):
            return current
        seen.add(id(current))
        pending += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]
    return None


def _tls_problem(error: ssl.SSLError, server: ServerSettings) -> tuple[str, str]:
    """Return what happened, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        problem = f"has a certificate that is not accepted ({error.verify_message.rstrip('.')})"
        if error.verify_code in _UNTRUSTED:
            return problem, f"Set {server.variable('certificate')} to the PEM file of the authority that signed it."
        if error.verify_code in _WRONG_NAME:
            return problem, "Give the address by a name that its certificate is for."
        return problem, "It needs another certificate."
    reason = (error.reason or "TLS failed").lower().replace("_", " ")
    if "wrong version" in reason or "http request" in reason:
        return f"does not speak TLS ({reason})", "Does its address begin with http://?"
    certificate, key = server.variable("client_certificate"), server.variable("client_key")
    return f"refuses the TLS connection ({reason})", f"Does it want a client certificate? Set {certificate} and {key}."


def _secrets(url: str, headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets that a response may repeat and no message may show: the values of headers, and the user's password."""
    password = urlsplit(url).password if "@" in url else None
    values = [*headers.values(), *(value.rpartition(" ")[2] for value in headers.values())]
    for secret in (*values, password or "", unquote(password or "")):
        if len(secret) >= _SHORTEST_SECRET:
            yield secret
