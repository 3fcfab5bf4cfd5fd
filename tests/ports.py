"""Ports for servers that cannot be asked to take any free one."""

from __future__ import annotations

import random
import socket

_PORTS = range(15_000, 32_000)
"""Below the range that systems give to outgoing connections: from it, a port that was free may be taken before its server starts."""
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that this process gave to nobody else."""
    while True:
        port = random.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
