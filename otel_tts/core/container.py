"""Container recognition: the format of audio by its first bytes, then by the ``Content-Type``, and only then as requested.

The service and all instrumentors use it. Raw samples are not taken for a container by accident: a signature is at least four bytes
long, or a second frame is found where the first one says that it must be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from otel_tts.core.formats import (
    PCM16,
    PCM24,
    PCM32,
    ALaw,
    AudioFormat,
    Encoded,
    MuLaw,
    NoAudio,
    PCMFloat32,
    PCMFloat64,
    Samples,
    Wav,
    stated,
)
from otel_tts.semconv import OTHER

TEXT = "text"
_LONGEST = 64 * 1024  # with this many bytes, the decision is made without more
_TEXT_BYTES = 64  # bytes that must be printable in a text
_PRINTABLE = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n") | frozenset(range(0x80, 0x100))  # UTF-8 beyond ASCII too
_SPACE = b" \t\r\n"
_NAME = frozenset(range(0x20, 0x7F))  # the bytes of the name of a chunk

_SIGNS: Mapping[bytes, str] = {
    b"fLaC": "flac", b"OggS": "ogg", b"\x1a\x45\xdf\xa3": "webm", b".snd": "au", b"caff": "caf", b"riff": "w64", b"NIST": "nist",
    b"Crea": "voc", b"#!AM": "amr", b"#!SI": "silk", b"\x02#!S": "silk", b"wvpk": "wavpack", b"\x30\x26\xb2\x75": "asf",
}  # fmt: skip
"""By the first four bytes."""
_CHUNKED = (b"RIFF", b"RF64", b"BW64", b"RIFX", b"FORM")  # then a size, then four characters that say what is inside
_OGG = ((b"OpusHead", "opus"), (b"\x01vorbis", "vorbis"), (b"\x7fFLAC", "flac"))
_BITRATES = {
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1, layer III
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5, layer III
}  # kbit/s
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_STARTS = frozenset(sign[0] for sign in _SIGNS) | frozenset(b"RBFI\xff\xef<{[" + _SPACE)


def recognise(data: bytes, *, end: bool = False) -> str | None:
    """Return the name of the format of ``data``: ``wav``, ``mp3``, ``flac``, :data:`TEXT`, …; empty without a signature, as raw samples.

    None means that more bytes are needed.

    Args:
        data: the first bytes.
        end: whether these are all bytes; then the result is never None.
    """
    if data and data[0] not in _STARTS and data[4:8] != b"ftyp" and len(data) >= 8:
        return ""
    for look in (_riff, _signed, _mp4, _mpeg, _adts, _text):
        name = look(data)
        if name or (name is None and not end and len(data) < _LONGEST):
            return name
    return _SIGNS.get(data[:4], "")  # too short to say what is in it


def format_of(name: str, expected: AudioFormat) -> AudioFormat:
    """Return the format of bytes that were recognised.

    Args:
        name: what :func:`recognise` returned; empty for bytes without a signature.
        expected: the requested format, which bytes without a signature have.
    """
    if not name:
        return expected
    if name == Wav.name:
        return Wav()
    if name == TEXT:
        return expected if expected.name == OTHER else NoAudio()  # events and other wrappings of audio are text
    if isinstance(expected, Encoded) and (name == expected.name or (name == "ogg" and expected.name in ("opus", "vorbis"))):
        return expected
    return Encoded(name)


# -- by the first bytes: a name, "" for no match, None where more bytes are needed --------------------------------------------------


def _riff(data: bytes) -> str | None:
    if not any(sign.startswith(data[:4]) for sign in _CHUNKED) or not _NAME.issuperset(data[8:12]):
        return ""
    if len(data) < 12:
        return None
    return Wav.name if data[8:12] == b"WAVE" and data[:4] not in (b"RIFX", b"FORM") else "riff"


def _signed(data: bytes) -> str | None:
    if name := _SIGNS.get(data[:4]):
        if name != "ogg":
            return name
        return next((kind for sign, kind in _OGG if sign in data[:128]), None if len(data) < 128 else name)
    if data[:3] == b"ID3":
        return None if len(data) < 5 else "mp3" if data[3] in (2, 3, 4) and data[4] != 0xFF else ""
    return None if len(data) < 4 and any(sign.startswith(data) for sign in (*_SIGNS, b"ID3")) else ""


def _mp4(data: bytes) -> str | None:
    if data[:3] != b"\0\0\0" or not b"ftyp".startswith(data[4:8]):
        return "" if len(data) >= 3 or not b"\0\0\0".startswith(data) else None
    return "mp4" if len(data) >= 8 else None


def _mpeg(data: bytes) -> str | None:
    return _twice(data, _mpeg_frame, "mp3")


def _adts(data: bytes) -> str | None:
    return _twice(data, _adts_frame, "aac")


def _twice(data: bytes, frame: Callable[[bytes], tuple[int, bytes] | None], name: str) -> str | None:
    """Require a frame to be followed by another of its kind: one frame header alone may be raw samples."""
    if data[:1] != b"\xff":
        return ""
    if len(data) < 7:
        return None
    first = frame(data[:7])
    if first is None:
        return ""
    length, kind = first
    if len(data) < length + 7:
        return None
    second = frame(data[length : length + 7])
    return name if second is not None and second[1] == kind else ""


def _mpeg_frame(head: bytes) -> tuple[int, bytes] | None:
    """Return the length in bytes of the MPEG audio frame with this header, and the bits that all frames of a stream share."""
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if head[0] != 0xFF or head[1] < 0xE0 or version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    per_frame = 144000 if version == 3 else 72000
    length = per_frame * _BITRATES[3 if version == 3 else 2, 1][bitrate - 1] // _MPEG_RATES[version][rate] + (head[2] >> 1 & 1)
    return length, bytes((head[1] & 0xFE, rate))


def _adts_frame(head: bytes) -> tuple[int, bytes] | None:
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or (head[2] >> 2 & 15) > 12 or length < 7:
        return None
    return length, bytes((head[1], head[2]))


def _text(data: bytes) -> str | None:
    """Recognise JSON or markup: by its first characters, with nothing but printable text after them."""
    head = data.removeprefix(b"\xef\xbb\xbf")[: _TEXT_BYTES * 4].lstrip(_SPACE)
    if not head:
        return None if len(data) < _TEXT_BYTES * 4 else ""
    if not _PRINTABLE.issuperset(head[:_TEXT_BYTES]):
        return ""
    opening, following = head[:1], head[1:].lstrip(_SPACE)[:1]
    if opening not in (b"{", b"[", b"<"):
        return ""
    if not following:
        return None
    if opening == b"<":
        plausible = following in (b"!", b"?") or following.isalpha()
    else:
        plausible = following in b'"}' if opening == b"{" else following in b'"{[]tfn-0123456789'
    if not plausible:
        return ""
    return TEXT if len(head) >= _TEXT_BYTES or head.rstrip()[-1:] in b"}]>" else None


# -- by the host that answers -----------------------------------------------------------------------------------------------------

OPENAI_RATE = 24000
"""Hz of the headerless audio of OpenAI's own models, as its API documents it."""
_OPENAI = re.compile(r"(.+\.)?(api\.openai\.com|openai\.azure\.com|cognitiveservices\.azure\.com|services\.ai\.azure\.com)")


def is_openai(host: str) -> bool:
    """Return whether a host serves OpenAI's own models. Other servers of that API send headerless audio of an unknown sample rate.

    Args:
        host: the host's name.
    """
    return _OPENAI.fullmatch(host) is not None


# -- by the Content-Type ------------------------------------------------------------------------------------------------------------

_WAVS = frozenset(("wav", "x-wav", "wave", "vnd.wave", "x-pn-wav"))
_RAW = frozenset(("pcm", "x-pcm", "raw", "x-raw", "lpcm", "x-lpcm", "s16le", "pcm_s16le", "l16"))
_ENCODED = {
    "mpeg": "mp3", "mp3": "mp3", "x-mp3": "mp3", "mpeg3": "mp3", "x-mpeg": "mp3", "flac": "flac", "x-flac": "flac", "opus": "opus",
    "aac": "aac", "aacp": "aac", "x-aac": "aac", "webm": "webm", "mp4": "mp4", "x-m4a": "mp4", "3gpp": "amr", "amr": "amr",
}  # fmt: skip
_SAMPLES: Mapping[str, type[Samples]] = {
    "s16le": PCM16, "pcm_s16le": PCM16, "linear16": PCM16, "signed-integer": PCM16, "signed-int": PCM16, "16": PCM16,
    "f32le": PCMFloat32, "pcm_f32le": PCMFloat32, "float": PCMFloat32, "float32": PCMFloat32,
    "f64le": PCMFloat64, "s24le": PCM24, "24": PCM24, "s32le": PCM32, "32": PCM32,
    "mulaw": MuLaw, "ulaw": MuLaw, "pcm_mulaw": MuLaw, "x-mulaw": MuLaw, "pcmu": MuLaw, "alaw": ALaw, "pcm_alaw": ALaw, "x-alaw": ALaw,
    "pcma": ALaw,
}  # fmt: skip
_TEXTUAL = ("json", "+json", "xml", "+xml", "html")


def declared_format(content_type: str, expected: AudioFormat) -> AudioFormat:
    """Return the format of a body by its ``Content-Type``.

    The sample rate of raw audio is that of the parameters or, without one, that of ``expected``.

    Args:
        content_type: the header, with all parameters.
        expected: the requested format.
    """
    kind, *rest = content_type.lower().split(";")
    maintype, _, subtype = kind.strip().partition("/")
    parameters = {name.strip(): value.strip().strip('"') for name, _, value in (item.partition("=") for item in rest)}
    if maintype == "text" or subtype.endswith(_TEXTUAL):
        return expected if expected.name == OTHER else NoAudio()
    if maintype != "audio":
        return expected  # none, or application/octet-stream
    if subtype in _WAVS:
        return Wav()
    if subtype in _ENCODED:
        return format_of(_ENCODED[subtype], expected)
    if subtype == "ogg":
        codec = parameters.get("codecs", "")
        return format_of(codec if codec in ("opus", "vorbis", "flac") else "ogg", expected)
    if subtype == "basic":
        return MuLaw()
    return _raw(subtype, parameters, expected)


def _raw(subtype: str, parameters: Mapping[str, str], expected: AudioFormat) -> AudioFormat:
    coding = next((parameters[key] for key in ("encoding", "codec", "bits", "bitdepth", "bit-depth") if key in parameters), "")
    kind = _SAMPLES.get(coding if coding and coding != "pcm" else subtype)
    if kind is None and subtype in _RAW and coding in ("", "pcm"):
        kind = type(expected) if isinstance(expected, Samples) else PCM16
    if kind is None:
        return Encoded(subtype)
    channels = parameters.get("channels", "") or (str(expected.channels) if isinstance(expected, Samples) else "1")
    rate = (
        parameters.get("rate") or parameters.get("samplerate") or parameters.get("sample-rate") or parameters.get("sample_rate")
    )
    if rate is None and isinstance(expected, Samples):
        rate = str(expected.sample_rate)
    if rate is None and kind in (MuLaw, ALaw):
        rate = "8000"
    return stated(kind, _number(rate), _number(channels)) if rate else Encoded(kind.name)


_DIGITS = 10  # a longer number is neither a rate nor channels, and Python refuses to read a very long one


def _number(parameter: str) -> int | str:
    return int(parameter) if parameter.isdecimal() and len(parameter) < _DIGITS else parameter
