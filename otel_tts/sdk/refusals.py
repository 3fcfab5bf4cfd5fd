"""What to do about a pull endpoint that cannot be opened, for each kind of error."""

from __future__ import annotations

import errno
import socket

HOST, PORT = "PROMETHEUS_HOST", "PROMETHEUS_PORT"
STANDARD_HOST, STANDARD_PORT = "OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"
ARGUMENT = "prometheus_port in the code, or PROMETHEUS_PORT of `otel-tts serve`,"
"""Where a port comes from that was given to ``configure()``: the service gives it that of its variable."""


def remedy(error: Exception, host: str = HOST, port: str = PORT) -> str:
    """Return what to do about an endpoint that cannot be opened.

    Args:
        error: what opening it raised.
        host: the name of the setting that its address comes from.
        port: the name of the setting that its port comes from.
    """
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            f"Stop the program that uses the port or set {port} to another one; 0 takes a free one. "
            "Of several workers only one can be scraped: let them push, with OTEL_EXPORTER_OTLP_ENDPOINT."
        )
    if isinstance(error, PermissionError):
        return f"This user may not open that port: set {port} to one from 1024 on; 0 takes a free one."
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return (
            "The host is no address, nor a name that this machine can look up: "
            f"set {host} to an address of this machine, such as 127.0.0.1."
        )
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"This machine has no such address: set {host} to one that it has, such as 127.0.0.1; 0.0.0.0 stands for all."
    if isinstance(error, OverflowError):
        return f"A port is a number from 0 to 65535, and 0 takes a free one: set {port} to such a number."
    return f"Set {host} to an address of this machine, and {port} to a port; 0 takes a free one."
