"""The Collector: its health check, and its port for OTLP. Whether telemetry passes through it is seen where it arrives."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http.client import OK
from urllib.parse import urlsplit

from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.finding import HopAbsentError, HopBrokenError, HopUnknownError

_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OTLP_PORTS = (4318, 4317)
_PORTS = {"http": 80, "https": 443}
_TIMEOUT_S = 3.0

Address = tuple[str, int]


class Collector:
    """The Collector that services send to.

    Args:
        health: its health check.
        addresses: hosts and ports where it takes OTLP.
        remedy: what to do when it does not answer.
        expected: whether it is a fault when there is none.

    Attributes:
        dead: whether neither its health check answered nor anything listened for OTLP; known after `check`.
    """

    def __init__(self, health: Server, addresses: tuple[Address, ...], remedy: str, *, expected: bool) -> None:
        self._health = health
        self._addresses = addresses
        self.remedy = remedy
        self.expected = expected
        self.dead = False

    @property
    def silence(self) -> str:
        """What does not answer when it is dead, for people."""
        listed = " or ".join(f"{host}:{port}" for host, port in self._addresses)
        return f"{self._health.shown} does not answer, and nothing listens for OTLP at {listed}"

    def check(self) -> str:
        """It says that it is well.

        Raises:
            HopAbsentError: nobody answers where one is expected.
            HopBrokenError: it answers that it is not well.
            HopUnknownError: its health check does not answer, where none is expected or something takes OTLP all the same.
        """
        try:
            answer = self._health.ask("/")
        except HopAbsentError as absent:
            listening = next((f"{host}:{port}" for host, port in self._addresses if _listens(host, port)), None)
            self.dead = listening is None
            if self.expected:
                raise HopAbsentError(self.silence if self.dead else absent.message, self.remedy) from None
            if self.dead:
                raise HopUnknownError(f"{absent.message}, and no Collector is configured") from None
            raise HopUnknownError(
                f"{absent.message}, but {listening} accepts connections; what arrives shows whether it works"
            ) from None
        if answer.status != OK:
            raise HopBrokenError(
                f"{self._health.shown} answers {answer.excerpt}", "The Collector's log says why it is not ready."
            )
        return f"{self._health.shown} is healthy"


def configured(environ: Mapping[str, str]) -> tuple[Address, ...]:
    """Where OpenTelemetry's variables send OTLP, without repetitions; empty when they name nothing.

    Args:
        environ: variables by their names.
    """
    addresses = []
    for value in filter(None, (environ.get(name, "").strip() for name in _VARIABLES)):
        parts = urlsplit(value if "//" in value else f"//{value}")
        try:
            port = parts.port or _PORTS.get(parts.scheme, _OTLP_PORTS[-1])
        except ValueError:  # no number: `otel-tts config` says so
            continue
        if parts.hostname:
            addresses.append((parts.hostname, port))
    return tuple(dict.fromkeys(addresses))


def is_one_for_all(environ: Mapping[str, str]) -> bool:
    """Whether all signals are sent to one address, as to a Collector. An address for one signal may be the store's own receiver.

    Args:
        environ: variables by their names.
    """
    return bool(environ.get(_VARIABLES[0], "").strip())


def usual(health_url: str) -> tuple[Address, ...]:
    """Where a Collector takes OTLP when nobody says otherwise: on the host of its health check.

    Args:
        health_url: the address of its health check.
    """
    host = urlsplit(health_url).hostname or "127.0.0.1"
    return tuple((host, port) for port in _OTLP_PORTS)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _TIMEOUT_S):
            return True
    except OSError:
        return False
