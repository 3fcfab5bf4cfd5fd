"""Order: what a caller asks for, read from the wire and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from otel_tts.service.encoding import SAMPLE_RATES, Encoder, Encoding, output_rate
from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from otel_tts.service.speech import EngineRequest, InvalidInputError, Voice
from otel_tts.service.text import normalise, validate

M = TypeVar("M")

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Order:
    """A valid request. Empty strings stand for "whatever suits"."""

    text: str
    ssml: bool
    voice: str
    language: str
    provider: str
    rate: float
    pitch: float
    volume_gain_db: float
    encoding: Encoding
    sample_rate: int | None
    """Hz; None for the voice's own."""
    no_cache: bool

    def speech(self, voice: Voice, language: str) -> EngineRequest:
        """What an engine with that voice is asked.

        Args:
            voice: the voice of the provider.
            language: for a voice that speaks any; empty: it finds out.
        """
        language = voice.language if voice.language != "mul" or not language else language
        return EngineRequest(self.text, voice.id, language, self.rate, self.pitch, self.volume_gain_db, self.ssml)


def encoding_number(encoding: Encoding) -> tts_pb2.AudioEncoding.ValueType:
    """How the API numbers an encoding.

    Args:
        encoding: the encoding of the audio that is sent.
    """
    return tts_pb2.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding.name}")


def given_text(request: tts_pb2.SynthesizeRequest) -> str:
    """The text or SSML as the caller sent it.

    Args:
        request: the message.
    """
    return request.ssml if request.WhichOneof("input") == "ssml" else request.text


def readable(request: M | None) -> M:
    """The request, if it is one.

    Args:
        request: the message; None: it could not be read.

    Raises:
        InvalidInputError: the bytes that came were none.
    """
    if request is None:
        raise InvalidInputError(
            "request", "The request cannot be read: it is no yap.tts.v1 message, or a text in it is not UTF-8."
        )
    return request


def read(request: tts_pb2.SynthesizeRequest, *, stream: bool, max_text: int) -> Order:
    """The order that ``request`` stands for.

    Args:
        request: the message.
        stream: whether audio is delivered in pieces.
        max_text: the most code points.

    Raises:
        InvalidInputError: it cannot be spoken; the message says what to change.
        UnsupportedError: the encoding cannot be streamed.
    """
    text, ssml = given_text(request), request.WhichOneof("input") == "ssml"
    validate(text, ssml=ssml, limit=max_text)
    if request.language and not _LANGUAGE.fullmatch(request.language):
        raise InvalidInputError("language", 'The language is no BCP 47 tag. Send one such as "en" or "en-US", or none.')
    encoding, sample_rate = _encoding(request.encoding, stream=stream), request.sample_rate or None
    output_rate(encoding, SAMPLE_RATES[-1], sample_rate)
    if stream:
        Encoder(encoding, SAMPLE_RATES[-1])
    return Order(
        # Line by line, because the end of a line ends a sentence.
        text="\n".join(filter(None, map(normalise, text.splitlines()))),
        ssml=ssml,
        voice=request.voice,
        language=request.language,
        provider=request.provider,
        rate=request.speaking_rate if request.HasField("speaking_rate") else 1.0,
        pitch=request.pitch,
        volume_gain_db=request.volume_gain_db,
        encoding=encoding,
        sample_rate=sample_rate,
        no_cache=request.no_cache,
    )


def _encoding(number: int, *, stream: bool) -> Encoding:
    if number == tts_pb2.AUDIO_ENCODING_UNSPECIFIED:
        return Encoding.PCM if stream else Encoding.WAV
    for encoding in Encoding:
        if encoding_number(encoding) == number:
            return encoding
    raise InvalidInputError("encoding", f"There is no encoding {number}. Use one of {', '.join(Encoding.__members__)}.")
