"""Host names for which a server without passwords answers.

Any web page may point a name of its own at an address of this machine or network (DNS rebinding): then the page can read, in the
browser of a user, what the server there returns. The browser sends that name in the header ``Host``, so the server answers only for
names that nobody on the internet can own, and for allowed ones.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - these mean all addresses
ANY = "*"


def is_answered(header: str | None, allowed: Sequence[str]) -> bool:
    """Return whether a request with this ``Host`` is answered.

    Nobody on the internet can own an address, a name without a dot or a name under ``localhost``. An HTTP/1.0 request may have no ``Host``:
    browsers do not send these.

    Args:
        header: the value of the `Host` header; None without one.
        allowed: further names; ``*.example.org`` means all names below it, ``*`` all names.
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
    """Return the name in a ``Host`` header, without port, brackets and the dot at its end; None if it is not valid.

    Args:
        header: the value of the `Host` header.
    """
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
    """Return the names of a server that listens on ``bound``, for servers that need a list. Empty: all names.

    Args:
        bound: the address that it listens on.
        allowed: further names.
    """
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
