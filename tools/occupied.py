"""Programs of others on the usual ports: listens on those that are given, and answers nothing, until it is ended."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import suppress

if __name__ == "__main__":
    listeners = []
    for port in map(int, sys.argv[1:]):
        with suppress(OSError):  # somebody else listens there already
            listeners.append(socket.create_server(("127.0.0.1", port)))
    signal.pause()
