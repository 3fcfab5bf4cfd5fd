"""Reader of RIFF/WAVE streams: it returns the audio of the bytes that arrive, also if sizes in headers are wrong.

Sizes in headers are hints. A server that streams does not know them, and writes 0, the largest number that fits, some large number, or
the size of the first piece. So audio ends only where the bytes end, or where the next chunk or the next file begins:

- After the announced end, a chunk is skipped, if it is a known one or the size of the file has room for it. What is recognised as
  something else cannot be read. Anything else is audio: the announced size was too small.
- A new file (``RIFF``, size, ``WAVE``) may begin anywhere. Servers that speak sentence by sentence send a file for each.
- If fewer bytes come than announced, they are all the audio. Whether the transfer is complete, only the transport knows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from otel_tts.core.container import recognise
from otel_tts.core.formats import PCM8, PCM16, PCM24, PCM32, ALaw, MuLaw, PCMFloat32, PCMFloat64, Samples, UnreadableAudioError

Pieces = list[tuple[Samples, bytes]]
"""Pieces of audio, in complete frames, each with the format of its samples."""

OPEN_END = 1 << 30
"""Announced sizes from here on, in bytes, are not trusted: more than three hours of any speech."""

_RIFFS = (b"RIFF", b"RF64", b"BW64")
_BEHIND = frozenset(
    (b"LIST", b"INFO", b"id3 ", b"ID3 ", b"JUNK", b"junk", b"PAD ", b"FLLR", b"fact", b"bext", b"iXML", b"axml", b"_PMX", b"cue ",
     b"smpl", b"inst", b"acid", b"PEAK", b"levl", b"umid", b"chna", b"data", b"fmt ")
)  # fmt: skip
"""The chunks that may follow audio."""
_PRINTABLE = frozenset(range(0x20, 0x7F))
_HEADER = 64 * 1024  # bytes of chunks before the audio: no engine writes more
_FMT = 4096  # bytes of the chunk ``fmt``, at most
_DS64 = 16  # bytes of the chunk ``ds64`` that are read
_LONG = 0xFFFFFFFF  # the size of a chunk whose size stands in ``ds64``
_SIGN = 12  # bytes by which a file or a list is recognised
_FILE, _CHUNK, _SKIP, _DATA = range(4)
_STRANGE = "Something that is no part of a WAV file follows its audio."

_CODINGS: Mapping[tuple[int, int], Callable[[int, int], Samples]] = {
    (1, 8): PCM8,
    (1, 16): PCM16,
    (1, 24): PCM24,
    (1, 32): PCM32,
    (3, 32): PCMFloat32,
    (3, 64): PCMFloat64,
    (6, 8): ALaw,
    (7, 8): MuLaw,
}  # by wFormatTag and wBitsPerSample
_EXTENSIBLE = 0xFFFE
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")  # the GUID of a plain wFormatTag, after the tag


class WavReader:
    """Reader of the bytes of one or several WAV files, split at any point, that returns their audio."""

    def __init__(self) -> None:
        self.format: Samples | None = None
        """The format of the current samples; None until a header states it."""
        self._state = _FILE
        self._held = b""  # bytes that wait for what follows them
        self._left: int | None = None  # bytes to the announced end of a chunk; None: it has none
        self._padded = False  # whether a byte of padding may follow: the size is odd, and one of complete frames
        self._room = 0  # bytes that the announced size of the file leaves for chunks after those that came
        self._long: int | None = None  # the size of the audio by the chunk ``ds64``, of files that may be larger than 4 GiB
        self._before = 0  # bytes of chunks before the audio
        self._frame = b""  # the beginning of a frame
        self._has_audio = False  # whether this file had its audio

    @property
    def whole(self) -> bool:
        """Whether the stream may end here: not within a header or a frame of samples."""
        if self._state == _FILE:
            return not self._held
        return self._has_audio and not self._rest()[1]

    @property
    def missing(self) -> int:
        """Bytes of audio that were announced and have not come; 0 if the announced size is not trusted."""
        return max(0, (self._left or 0) - len(self._held)) if self._state == _DATA else 0

    def feed(self, data: bytes) -> Pieces:
        """Read more bytes, and return the audio that is certain by now; the last few bytes wait for what follows them.

        Args:
            data: the next bytes of the file, any number.

        Raises:
            UnreadableAudioError: the bytes cannot be read. No more may be fed afterwards.
        """
        data = self._held + data
        pieces: Pieces = []
        position = 0
        while True:
            following = self._steps[self._state](self, data, position, pieces)
            if following is None:
                break
            position = following
        return pieces

    def rest(self) -> Pieces:
        """Return the audio that still waits, as if no more bytes came. More may be fed afterwards."""
        audio, _ = self._rest()
        return [(self.format, audio)] if audio and self.format is not None else []

    def _rest(self) -> tuple[bytes, bytes]:
        """Return the complete frames that wait, and what is none: the beginning of the next one, or of something else."""
        if self._state is not _DATA or self.format is None:
            return b"", self._frame
        held, left, other = self._held, self._left, b""
        if left is not None and len(held) > left:
            if self._padded and len(held) == left + 1:
                held = held[:-1]  # padding
            elif any(recognise(held[end:], end=True) for end in self._ends(left)):
                held, other = held[:left], held[left:]
        audio = self._frame + held
        whole = len(audio) - len(audio) % self.format.frame
        return audio[:whole], audio[whole:] + other

    # -- the steps by state: each returns the position of the next, or None, with the bytes that wait in `_held` --------------------------

    def _file(self, data: bytes, at: int, pieces: Pieces) -> int | None:
        head = data[at : at + _SIGN]
        if not (_begins(head[:4], _RIFFS) and b"WAVE".startswith(head[8:])):
            raise UnreadableAudioError("It is no WAV file.")
        if len(head) < _SIGN:
            self._held = data[at:]
            return None
        self._state, self.format, self._has_audio, self._before, self._long = _CHUNK, None, False, 0, None
        (size,) = struct.unpack_from("<I", head, 4)
        self._room = size - 4 if 4 < size < OPEN_END else 0
        return at + _SIGN

    def _chunk(self, data: bytes, at: int, pieces: Pieces) -> int | None:
        name = data[at : at + 4]
        if self._has_audio and name in _RIFFS:
            self._state = _FILE
            return at
        if len(data) < at + 8:
            self._held = data[at:]
            return None
        (size,) = struct.unpack_from("<I", data, at + 4)
        if name == b"fmt ":
            if size > _FMT:
                raise UnreadableAudioError("The WAV audio has no format in its header.")
            if len(data) < at + 8 + size:
                self._held = data[at:]
                return None
            self.format = _coding(data[at + 8 : at + 8 + size])
        elif name == b"ds64" and size >= _DS64:
            if len(data) < at + 8 + _DS64:
                self._held = data[at:]
                return None
            (self._long,) = struct.unpack_from("<Q", data, at + 16)
        elif name == b"data":
            self._begin_audio(size)
            return at + 8
        elif self._has_audio and not self._is_chunk(data[at : at + 8]):
            raise UnreadableAudioError(_STRANGE)
        self._room -= 8 + size + size % 2
        self._before += 8 + size
        if self._before > _HEADER and not self._has_audio:
            raise UnreadableAudioError("The WAV audio has a header without end.")
        self._state, self._left = _SKIP, size + size % 2
        return at + 8

    def _begin_audio(self, size_bytes: int) -> None:
        if self.format is None:
            raise UnreadableAudioError("The WAV audio has no format in its header.")
        if size_bytes == _LONG and self._long is not None:
            size_bytes = self._long
        self._state, self._has_audio = _DATA, True
        self._left = size_bytes if size_bytes < OPEN_END else None
        self._padded = size_bytes % 2 == 1 and size_bytes % self.format.frame == 0
        self._room -= 8 + size_bytes + size_bytes % 2

    def _skip(self, data: bytes, at: int, pieces: Pieces) -> int | None:
        left = self._left or 0
        if len(data) - at < left:
            self._left = left - (len(data) - at)
            self._held = data[len(data) :]
            return None
        self._state = _CHUNK
        return at + left

    def _data(self, data: bytes, at: int, pieces: Pieces) -> int | None:
        sign = _sign(data, at)
        left = self._left
        if left is not None and (sign is None or sign > at + left) and len(data) - at > left:
            # After the announced end, and not at the next file: is there a chunk, perhaps after a byte of padding?
            ends = self._ends(at + left)
            end = next((end for end in ends if end == sign or self._is_chunk(data[end : end + 8])), None)
            names = [recognise(data[end:], end=sign is not None) for end in ends]
            if end is not None:
                sign = end
            elif any(names):
                raise UnreadableAudioError(_STRANGE)
            elif sign is None and (None in names or len(data) - at - left < _SIGN + self._padded):
                self._hold(data, at, min(at + left, len(data) - _undecided(data, at)), pieces)
                return None
            else:
                self._left = left = None  # there is more audio than was announced
        if sign is None:
            self._hold(data, at, len(data) - _undecided(data, at), pieces)
            return None
        end = sign
        if left is not None and self._padded and end == at + left + 1:
            end -= 1  # padding
        self._give(data[at:end], pieces)
        if self._frame:  # the file ends within a frame
            raise UnreadableAudioError("The WAV audio ends within a sample.", self.format.sample_rate if self.format else None)
        self._state = _CHUNK
        return sign

    _steps = (_file, _chunk, _skip, _data)

    def _ends(self, end: int) -> tuple[int, ...]:
        """Return where the audio of this size may end: perhaps with a byte of padding."""
        return (end + 1, end) if self._padded else (end,)

    def _hold(self, data: bytes, at: int, end: int, pieces: Pieces) -> None:
        """Give the audio until ``end``; what follows it waits."""
        self._give(data[at:end], pieces)
        if self._left is not None:
            self._left -= end - at
        self._held = data[end:]

    def _is_chunk(self, head: bytes) -> bool:
        """Return whether a chunk begins with these 8 bytes: a known one, or one that ends where the file does, or before."""
        if head[:4] in _BEHIND:
            return True
        size = int.from_bytes(head[4:], "little")
        return len(head) == 8 <= self._room + 1 - size and _PRINTABLE.issuperset(head[:4])  # 1: padding that was left out

    def _give(self, data: bytes, pieces: Pieces) -> None:
        audio_format = self.format
        if audio_format is None:  # never: a format stands before the data
            return
        audio = self._frame + data
        whole = len(audio) - len(audio) % audio_format.frame
        self._frame = audio[whole:]
        if whole:
            pieces.append((audio_format, audio[:whole]))


def _begins(head: bytes, signs: tuple[bytes, ...]) -> bool:
    return any(sign.startswith(head) for sign in signs)


def _sign(data: bytes, at: int) -> int | None:
    """Return where the next file, or a list of texts, begins within audio."""
    places = []
    position = data.find(b"WAVE", at)
    while position >= 0:
        if position - 8 >= at and data[position - 8 : position - 4] in _RIFFS:
            places.append(position - 8)
            break
        position = data.find(b"WAVE", position + 1)
    position = data.find(b"LIST", at)
    while position >= 0:
        if data[position + 8 : position + 12] in (b"INFO", b"adtl"):
            places.append(position)
            break
        position = data.find(b"LIST", position + 1)
    return min(places, default=None)


def _undecided(data: bytes, at: int) -> int:
    """Return how many of the last bytes may be the beginning of a file or list."""
    for start in range(max(at, len(data) - _SIGN + 1), len(data)):
        rest = data[start:]
        if _begins(rest[:4], _RIFFS) and b"WAVE".startswith(rest[8:]):
            return len(rest)
        if _begins(rest[:4], (b"LIST",)) and _begins(rest[8:], (b"INFO", b"adtl")):
            return len(rest)
    return 0


def _coding(fmt: bytes) -> Samples:
    """Return the format that a chunk ``fmt`` describes."""
    if len(fmt) < 16:
        raise UnreadableAudioError("The WAV audio has no format in its header.")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and fmt[26:40] == _SUBFORMAT:
        tag = int.from_bytes(fmt[24:26], "little")
    coding = _CODINGS.get((tag, bits))
    stated = f"The WAV audio has format {tag}, channels: {channels}, bits: {bits}, rate: {rate} Hz, which cannot be read."
    try:
        read = (coding or PCM16)(rate, channels)
    except ValueError:  # no such rate or number of channels
        raise UnreadableAudioError(stated) from None
    if coding is None:
        raise UnreadableAudioError(stated, rate)
    return read
