"""What the cache keeps, under which key, and how it is written down outside of this process.

Kept is the audio as the engine made it: PCM16, before any conversion. One entry serves every encoding and sample rate, unary
calls and streams, and its duration is exact; encoding again at a hit costs a millisecond for WAV and PCM, the defaults. So the
key covers what changes the engine's audio, and neither encoding nor sample rate, which change only what is done with it after.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from otel_tts.errors import OtelTtsError
from otel_tts.service.providers import Provider
from otel_tts.service.speech import EngineRequest

SCHEMA = 2
"""Raise it when the key or the written form changes: entries of another schema are never found."""
_CHUNK = 64 * 1024
_HIGHEST_RATE = 768_000  # Hz
_MAGIC = f"otel-tts audio {SCHEMA} ".encode()


class CorruptEntryError(OtelTtsError, ValueError):
    """Bytes that are no whole entry."""


def key(provider: Provider, speech: EngineRequest) -> str:
    """The SHA-256, in hex, of all that changes the audio: who makes it, in which version, and everything that is asked.

    The provider is the one that is asked: audio that a fallback made stands under the fallback's key and is never taken for the
    preferred provider's.

    Args:
        provider: who would make the audio.
        speech: what is to be spoken.
    """
    voice = provider.voice(speech.voice)
    rate = voice.sample_rate if voice is not None else None
    asked = json.dumps([SCHEMA, provider.name, provider.version, provider.model(speech), rate, asdict(speech)], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One utterance, and who made it. ``pcm`` is PCM16, mono, at ``sample_rate`` Hz."""

    pcm: bytes
    sample_rate: int
    provider: str
    model: str
    version: str

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return len(self.pcm) / (2 * self.sample_rate)

    def chunks(self) -> Iterator[bytes]:
        """The audio in pieces of at most 64 KiB."""
        return (self.pcm[start : start + _CHUNK] for start in range(0, len(self.pcm), _CHUNK))

    def written(self, key: str) -> bytes:
        """The written form: a line of JSON that tells all but the audio, and the CRC-32 of both; then the audio.

        Args:
            key: under which it is written.
        """
        header = {**asdict(replace(self, pcm=b"")), "pcm": len(self.pcm), "key": key}
        head = json.dumps(header, sort_keys=True).encode()
        return b"%s%08x %s\n%s" % (_MAGIC, _checksum(head, self.pcm), head, self.pcm)

    @classmethod
    def parse(cls, data: bytes, key: str) -> Entry:
        """The entry that was written as ``data`` under ``key``.

        Raises:
            CorruptEntryError: it is truncated, altered, another key's, or nothing of ours.
        """
        line, _, pcm = data.partition(b"\n")
        if not line.startswith(_MAGIC):
            raise CorruptEntryError("no entry of this schema")
        checksum, _, head = line[len(_MAGIC) :].partition(b" ")
        if checksum != b"%08x" % _checksum(head, pcm):
            raise CorruptEntryError("it is not what was written")
        try:
            header = json.loads(head)
            length, its_key = header.pop("pcm"), header.pop("key")
            entry = cls(pcm=pcm, **header)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CorruptEntryError("its header cannot be read") from error
        if (length, its_key) != (len(pcm), key):
            raise CorruptEntryError("it is another key's")
        if not entry._is_playable():
            raise CorruptEntryError("it holds no audio that could be played")
        return entry

    def _is_playable(self) -> bool:
        names = (self.provider, self.model, self.version)
        rate = self.sample_rate
        return (
            all(isinstance(name, str) for name in names)
            and type(rate) is int
            and 0 < rate <= _HIGHEST_RATE
            and bool(self.pcm)
            and len(self.pcm) % 2 == 0
        )


def _checksum(head: bytes, pcm: bytes) -> int:
    return zlib.crc32(pcm, zlib.crc32(head))
