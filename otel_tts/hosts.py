"""Names under which a server that has no passwords answers.

A page anywhere may point a name of its own at an address of this machine or network (DNS rebinding): then the browser sends what it gets
there to that page. It sends its own name in the header ``Host``, so only names that nobody else can have, or that were told, are answered.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - these mean all addresses
ANY = "*"


def is_answered(header: str | None, allowed: Sequence[str]) -> bool:
    """Whether a request with this ``Host`` is answered.

    Addresses, names without a dot and those under ``localhost`` can be nobody's on the internet. ``allowed``: further names;
    ``*.example.org`` holds for all below it, ``*`` for all. A request of HTTP/1.0 may have no ``Host``: no browser sends such.
    """
    if header is None or ANY in allowed:
        return True
    name = host_name(header)
    if name is None:
        return False
    if "." not in name or name.endswith(".localhost") or _is_address(name):
        return True
    return any(
        name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:])) for pattern in map(str.lower, allowed)
    )


def host_name(header: str) -> str | None:
    """The name in a ``Host`` header, without port, brackets and the dot at its end; None for what is none."""
    name, bracket, port = header.strip().lower().partition("]")
    if bracket:
        name = name.removeprefix("[")
    else:
        name, _, port = name.partition(":")
    port = port.removeprefix(":")
    if not name or (port and not port.isdigit()) or any(c in name for c in "/@?#\\ "):
        return None
    return name.rstrip(".")


def own_names(bound: str, allowed: Sequence[str]) -> list[str]:
    """The names of a server bound to ``bound``, for servers that want a list. Empty: all names."""
    if ANY in allowed:
        return []
    names = ["localhost", "*.localhost", "127.0.0.1", "::1", *allowed]
    if bound not in _WILDCARDS:
        return list(dict.fromkeys([*names, bound]))
    machine = socket.gethostname()
    try:
        addresses = [str(address[4][0]) for address in socket.getaddrinfo(machine, None)]
    except OSError:
        addresses = []
    return list(dict.fromkeys([*names, machine, *addresses]))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
