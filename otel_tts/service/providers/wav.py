"""WAV as it arrives: PCM out of the bytes of a stream whose end is not there yet."""

from __future__ import annotations

import struct

from otel_tts.service.providers.base import EngineError

_LONGEST_HEADER = 1 << 16
_UNKNOWN_SIZE = 0x7FFFF000
"""Streaming servers cannot know the size of the data and write 0, -1 or the largest number they can."""
_PCM, _EXTENSIBLE = 1, 0xFFFE


class WavStream:
    """Feed it the bytes of a WAV file with 16-bit mono PCM; it gives back the PCM."""

    def __init__(self) -> None:
        self.sample_rate = 0  # Hz; 0 until the header has been read
        self._head = b""
        self._in_data = False
        self._left: int | None = None  # bytes of PCM to come; None: until the stream ends

    def feed(self, data: bytes) -> bytes:
        """The PCM in ``data``: none while the header is incomplete, none behind the end of the audio.

        Raises:
            EngineError: not a WAV file, or another kind of audio in it.
        """
        if not self._in_data:
            self._head += data
            data = self._read_header()
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    def finish(self) -> None:
        """Nothing more comes.

        Raises:
            ConnectionError: the audio is shorter than its header says.
        """
        if self._left or (self._head and not self._in_data):
            raise ConnectionError("The WAV audio broke off before its end.")

    def _read_header(self) -> bytes:
        """What follows the header; nothing while it is incomplete."""
        head = self._head
        if head[:4] != b"RIFF"[: len(head)] or (len(head) >= 12 and head[8:12] != b"WAVE"):
            raise EngineError("The audio is no WAV file.")
        position = 12
        while len(head) >= position + 8:
            identifier, size = struct.unpack_from("<4sI", head, position)
            position += 8
            if identifier == b"data":
                if not self.sample_rate:
                    raise EngineError("The WAV audio has no format in its header.")
                self._in_data = True
                self._left = size if 0 < size < _UNKNOWN_SIZE else None
                return head[position:]
            if identifier == b"fmt " and len(head) >= position + 16:
                encoding, channels, self.sample_rate, _, _, bits = struct.unpack_from("<HHIIHH", head, position)
                if encoding not in (_PCM, _EXTENSIBLE) or channels != 1 or bits != 16 or not self.sample_rate:
                    raise EngineError(
                        f"The WAV audio has format {encoding}, {channels} channels and {bits} bits; only PCM, 1 and 16 are taken."
                    )
            position += size + size % 2
        if len(head) > _LONGEST_HEADER:
            raise EngineError("The WAV audio has a header without end.")
        return b""
