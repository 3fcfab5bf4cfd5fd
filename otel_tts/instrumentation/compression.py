"""Compressed bodies of HTTP responses: gzip and deflate are read as httpx reads them, other codings are not read."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

_READ = ("gzip", "deflate")
_KNOWN = (*_READ, "br", "zstd")
_MOST_BYTES = 1 << 24
"""The most bytes that one piece of a body may have, decompressed."""


def _codings(headers: Mapping[str, str]) -> list[str]:
    """Return how a body is compressed; nothing for one that is not, and for codings that httpx does not know, either.

    Args:
        headers: of the response.
    """
    names = headers.get("content-encoding", "").lower().split(",")
    return [coding for name in names if (coding := name.strip()) in _KNOWN]


def is_read(headers: Mapping[str, str]) -> bool:
    """Return whether the audio of a body can be read while it streams: it is not compressed, or in a way that is read here.

    Args:
        headers: of the response.
    """
    listed = _codings(headers)
    return not listed or (len(listed) == 1 and listed[0] in _READ)


def reading(
    headers: Mapping[str, str], on_failure: Callable[[], None], read: Callable[[bytes], bytes] | None = None
) -> Callable[[bytes], bytes] | None:
    """Return the function that reads the audio of a piece of a body; None: the piece is the audio.

    Args:
        headers: of the response.
        on_failure: is called where the body is not what its coding says. The host's client raises there, too.
        read: takes the audio out of what is not compressed.
    """
    listed = _codings(headers)
    if len(listed) != 1 or listed[0] not in _READ:
        return read
    decompress = _Decompressor(listed[0], on_failure).feed
    return decompress if read is None else lambda data: read(decompress(data))


class _Decompressor:
    """Decompressor of a body that comes in pieces, of any size.

    Args:
        coding: ``gzip`` or ``deflate``.
        on_failure: is called where the body is not what its coding says.
    """

    def __init__(self, coding: str, on_failure: Callable[[], None]) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16 if coding == "gzip" else zlib.MAX_WBITS)
        self._may_be_bare = coding == "deflate"  # some servers leave out zlib's header
        self._on_failure = on_failure
        self._failed = False

    def feed(self, data: bytes) -> bytes:
        """Return what a piece of the body has.

        Args:
            data: bytes of the response.

        Raises:
            ValueError: it is too large.
        """
        if self._failed:
            return b""
        may_be_bare, self._may_be_bare = self._may_be_bare, False
        try:
            decompressed = self._inflate.decompress(self._inflate.unconsumed_tail + data, _MOST_BYTES)
        except zlib.error:
            if may_be_bare:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
                return self.feed(data)
            self._failed = True
            self._on_failure()
            return b""
        if self._inflate.unconsumed_tail:
            raise ValueError(f"A piece of a compressed body has more than {_MOST_BYTES} B.")
        return decompressed
