"""What to do about a pull endpoint that cannot be opened, for each kind of error."""

from __future__ import annotations

import errno
import socket


def remedy(error: Exception) -> str:
    """Return what to do about an endpoint that cannot be opened.

    Args:
        error: what opening it raised.
    """
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            "Stop the program that uses the port or set PROMETHEUS_PORT to another one; 0 takes a free one. "
            "Of several workers only one can be scraped: let them push, with OTEL_EXPORTER_OTLP_ENDPOINT."
        )
    if isinstance(error, PermissionError):
        return "This user may not open that port: set PROMETHEUS_PORT to one from 1024 on; 0 takes a free one."
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return (
            "The host is no address, nor a name that this machine can look up: "
            "set PROMETHEUS_HOST to an address of this machine, such as 127.0.0.1."
        )
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return (
            "This machine has no such address: set PROMETHEUS_HOST to one that it has, such as 127.0.0.1; 0.0.0.0 stands for all."
        )
    if isinstance(error, OverflowError):
        return "A port is a number from 0 to 65535; 0 takes a free one."
    return "Set PROMETHEUS_HOST and PROMETHEUS_PORT to an address and a port of this machine; port 0 takes a free one."
