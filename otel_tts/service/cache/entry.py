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

from otel_tts.service.providers import Provider
from otel_tts.service.speech import Speech

SCHEMA = 1
"""Raise it when the key or the written form changes: entries of another schema are never found."""
_CHUNK = 64 * 1024
_MAGIC = f"otel-tts audio {SCHEMA} ".encode()


class Corrupt(ValueError):
    """Bytes that are no whole entry."""


def key(provider: Provider, speech: Speech) -> str:
    """The SHA-256, in hex, of all that changes the audio: who makes it, in which version, and everything that is asked.

    The provider is the one that is asked: audio that a fallback made stands under the fallback's key and is never taken for the
    preferred provider's.
    """
    asked = json.dumps([SCHEMA, provider.name, provider.version, provider.model(speech), asdict(speech)], sort_keys=True)
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
    def duration(self) -> float:
        """Seconds of audio."""
        return len(self.pcm) / (2 * self.sample_rate)

    def chunks(self) -> Iterator[bytes]:
        """The audio in pieces of at most 64 KiB."""
        return (self.pcm[start : start + _CHUNK] for start in range(0, len(self.pcm), _CHUNK))

    def __bytes__(self) -> bytes:
        """The written form: a line of JSON with the length and CRC-32 of the audio, then the audio."""
        header = {**asdict(replace(self, pcm=b"")), "pcm": len(self.pcm), "crc": zlib.crc32(self.pcm)}
        return b"%s%s\n%s" % (_MAGIC, json.dumps(header).encode(), self.pcm)

    @classmethod
    def parse(cls, data: bytes) -> Entry:
        """The entry that was written as ``data``.

        Raises:
            Corrupt: it is truncated, altered, or nothing of ours.
        """
        head, _, pcm = data.partition(b"\n")
        if not head.startswith(_MAGIC):
            raise Corrupt("no entry of this schema")
        try:
            header = json.loads(head[len(_MAGIC) :])
            length, checksum = header.pop("pcm"), header.pop("crc")
            entry = cls(pcm=pcm, **header)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Corrupt("its header cannot be read") from error
        if (length, checksum) != (len(pcm), zlib.crc32(pcm)):
            raise Corrupt("the audio is not what was written")
        return entry
