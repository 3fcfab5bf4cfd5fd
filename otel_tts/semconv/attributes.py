"""Every attribute of spans, events and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from otel_tts.semconv.values import (
    AUDIO_FORMATS,
    GRPC_STATUS_CODES,
    OTHER,
    AttemptReason,
    CacheResult,
    CancelReason,
    ErrorType,
    LookupResult,
    Outcome,
    RequestKind,
)

AttributeType = Literal["string", "int", "double", "boolean", "string[]"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute key.

    values: all values it can have, if that is a closed set. limit: how many distinct values of an open set metrics have; all others
    become ``_OTHER``. An attribute with neither is never on a metric. unit: UCUM, of a number; ``{share}`` of a share from 0 to 1.
    """

    key: str
    type: AttributeType
    description: str
    values: tuple[str | bool, ...] = ()
    limit: int = 0
    unit: str = field(default="", compare=False)


RPC_SYSTEM_NAME = Attribute("rpc.system.name", "string", "The RPC system, always `grpc`.", values=("grpc",))
RPC_METHOD = Attribute("rpc.method", "string", "The fully qualified method, `package.Service/Method`.", limit=50)
RPC_RESPONSE_STATUS_CODE = Attribute(
    "rpc.response.status_code", "string", "The gRPC status code by name.", values=GRPC_STATUS_CODES
)
HTTP_STATUS_CODE = Attribute("http.response.status_code", "int", "The status of an HTTP answer.")
ERROR_TYPE = Attribute(
    "error.type", "string", "What went wrong; absent when nothing did.", values=tuple(ErrorType)
)  # on RPC spans and metrics: the status code's name, as the RPC conventions say
OPERATION_NAME = Attribute(
    "gen_ai.operation.name", "string", "The operation, always `text_to_speech`.", values=("text_to_speech",)
)
OUTPUT_TYPE = Attribute("gen_ai.output.type", "string", "The kind of output, always `speech`.", values=("speech",))
PROVIDER = Attribute(
    "gen_ai.provider.name",
    "string",
    "Who made the audio that was delivered (on a hit: who made it then), else the last one asked, else `_NONE`.",
    limit=50,
)
MODEL = Attribute("gen_ai.request.model", "string", "The provider's model, or its voice file where that is the model.", limit=50)
STREAM = Attribute("gen_ai.request.stream", "boolean", "Whether audio was streamed.", values=(True, False))
CONVERSATION = Attribute(
    "gen_ai.conversation.id",
    "string",
    "The conversation (session, call) that the utterance is part of, at most 128 letters. Never on metrics.",
)
KIND = Attribute(
    "tts.request.kind",
    "string",
    "What the request is for: somebody waits for it, it is made ahead of time, or in bulk. Absent: interactive.",
    values=tuple(RequestKind),
)
VOICE = Attribute("tts.voice", "string", "The voice asked for.", limit=50)
LANGUAGE = Attribute("tts.language", "string", "The language asked for, a BCP 47 tag.", limit=50)
TEXT = Attribute("tts.text", "string", "The text itself; only with text capture switched on.")
TEXT_LENGTH = Attribute(
    "tts.text.length",
    "int",
    "Unicode code points of the text as received; not set where nobody states all of it.",
    unit="{character}",
)
OUTCOME = Attribute("tts.outcome", "string", "How it ended.", values=tuple(Outcome))
CANCEL_REASON = Attribute(
    "tts.cancel.reason",
    "string",
    "Why it was cancelled: the caller left (also where the service dropped the stream without a word), the listener interrupted, another "
    "utterance took its place, it was stopped, or the HTTP request was HEAD, which gets no audio.",
    values=tuple(CancelReason),
)
CACHE_RESULT = Attribute("tts.cache.result", "string", "How the cache served the request.", values=tuple(CacheResult))
CACHE_TIER = Attribute("tts.cache.tier", "string", "The cache tier that answered.", limit=10)
CACHE_LOOKUP_RESULT = Attribute(
    "tts.cache.lookup.result", "string", "How one tier answered one look-up.", values=tuple(LookupResult)
)
CACHE_EVICTION_REASON = Attribute(
    "tts.cache.eviction.reason", "string", "Why an entry left.", values=("size", "expired", "invalid", OTHER)
)
ATTEMPT_COUNT = Attribute("tts.attempt.count", "int", "How often a provider was asked for this request.", unit="{attempt}")
ATTEMPT_REASON = Attribute("tts.attempt.reason", "string", "Why a provider was asked.", values=tuple(AttemptReason))
RESEND_COUNT = Attribute(
    "tts.resend.count",
    "int",
    "How often the provider's SDK sent a request once more by itself, after a failure; absent where that was not seen.",
    unit="{resend}",
)
RESEND_DELAY = Attribute(
    "tts.resend.delay", "double", "Seconds from the failure until the SDK sent the request once more.", unit="s"
)
FALLBACK_USED = Attribute("tts.fallback.used", "boolean", "Whether another provider than the first was asked.")
FALLBACK_PROVIDERS = Attribute(
    "tts.fallback.providers", "string[]", "The providers that failed or were skipped before another one was asked, in that order."
)
FALLBACK_FROM = Attribute("tts.fallback.from", "string", "The provider that failed.", limit=50)
FALLBACK_TO = Attribute("tts.fallback.to", "string", "The provider asked in its place.", limit=50)
AUDIO_DURATION = Attribute(
    "tts.audio.duration", "double", "Seconds of audio that the request made or found; absent if none is known.", unit="s"
)
AUDIO_DELIVERED = Attribute("tts.audio.delivered_duration", "double", "Seconds of audio handed to the caller.", unit="s")
AUDIO_HEARD = Attribute(
    "tts.audio.heard_duration", "double", "Seconds of audio that were played to the listener, where the player says so.", unit="s"
)
AUDIO_FORMAT = Attribute("tts.audio.format", "string", "The audio encoding.", values=AUDIO_FORMATS)
AUDIO_SAMPLE_RATE = Attribute("tts.audio.sample_rate", "int", "Samples per second.", unit="Hz")
AUDIO_STATE = Attribute(
    "tts.audio.state",
    "string",
    "Made by a provider, handed to the caller, or played to the listener, where the player says so.",
    values=("generated", "delivered", "heard"),
)
AUDIO_SOURCE = Attribute("tts.audio.source", "string", "Where the audio came from.", values=("provider", "cache"))
AUDIO_LOUDNESS = Attribute("tts.audio.loudness", "double", "Mean level of the voiced frames, in dB below full scale.", unit="dB")
AUDIO_SILENCE_RATIO = Attribute("tts.audio.silence_ratio", "double", "Share of the audio that is silent, 0 to 1.", unit="{share}")
AUDIO_CLIPPING_RATIO = Attribute(
    "tts.audio.clipping_ratio", "double", "Share of the samples at full scale, 0 to 1.", unit="{share}"
)
AUDIO_SPEAKING_RATE = Attribute(
    "tts.audio.speaking_rate", "double", "Code points of text per second of voiced audio.", unit="{character}/s"
)
AUDIO_TRAILING_SILENCE = Attribute("tts.audio.trailing_silence", "double", "Seconds of silence at the end.", unit="s")
TIME_TO_FIRST_BYTE = Attribute("tts.time_to_first_byte", "double", "Seconds until the first audio byte was handed out.", unit="s")
TIME_TO_FIRST_AUDIO = Attribute(
    "tts.time_to_first_audio",
    "double",
    "Seconds until the first audible sample could be heard. Silence that the audio begins with counts, so it can be after the end.",
    unit="s",
)
TIME_TO_FIRST_CHUNK = Attribute(
    "gen_ai.response.time_to_first_chunk",
    "double",
    "Seconds from asking the provider to its first audio. Of streams only.",
    unit="s",
)
TIME_TO_FIRST_TEXT = Attribute(
    "tts.time_to_first_text",
    "double",
    "Streamed text: seconds from the beginning of the span to the first part. The metrics' durations, and the other times of the request, "
    "begin there.",
    unit="s",
)
TIME_TO_FIRST_SEGMENT = Attribute(
    "tts.time_to_first_segment",
    "double",
    "Streamed text: seconds from its first part to the first segment that the engine was given to speak.",
    unit="s",
)
TIME_TO_INTERRUPTION = Attribute("tts.time_to_interruption", "double", "Seconds until the utterance was interrupted.", unit="s")
TIME_TO_SILENCE = Attribute(
    "tts.time_to_silence",
    "double",
    "Seconds from the interruption to the last audio that was handed out after it; 0 when none was.",
    unit="s",
)
REAL_TIME_FACTOR = Attribute(
    "tts.real_time_factor",
    "double",
    "Seconds spent waiting for the engine, and not for text, per second of audio; below 1 is faster than real time.",
    unit="1",
)
UNDERRUN = Attribute(
    "tts.stream.underrun",
    "double",
    "The worst shortfall that the listener met, in seconds, for a player without pre-roll.",
    unit="s",
)
UNDERRUN_PROVIDER = Attribute(
    "tts.underrun.provider", "double", "The worst shortfall that waiting for the engine caused by itself, in seconds.", unit="s"
)
UNDERRUN_CONSUMER = Attribute(
    "tts.underrun.consumer", "double", "The worst shortfall that slow reading added to the engine's, in seconds.", unit="s"
)
UNDERRUN_CAUSE = Attribute("tts.underrun.cause", "string", "Who left the player short.", values=("provider", "consumer"))
CHUNK_COUNT = Attribute("tts.stream.chunk.count", "int", "Audio chunks handed out.", unit="{chunk}")
TEXT_WAIT = Attribute(
    "tts.text.wait", "double", "Streamed text: seconds of waiting for more of it, after its first part.", unit="s"
)
QUEUE_WAIT = Attribute("tts.queue.wait", "double", "Seconds the request waited for a free engine.", unit="s")
CHARACTERS_STATE = Attribute(
    "tts.characters.state", "string", "What became of the text.", values=("synthesized", "cached", "wasted")
)
SCORE_NAME = Attribute("tts.score.name", "string", "The quality model that gave the score.", limit=10)
CONNECTION_REUSED = Attribute(
    "tts.connection.reused",
    "boolean",
    "Whether the connection to the provider had served another utterance or was opened ahead; absent when that is not known.",
    values=(True, False),
)
COST = Attribute("tts.usage.cost", "double", "US dollars that the request cost; absent when no price is known.", unit="{USD}")
DRIFT_COLUMN = Attribute("tts.drift.column", "string", "The measure that was compared with its reference.", limit=30)
REPORT_SERVICE = Attribute("tts.report.service", "string", "The service that a report is about.")
REPORT_WINDOW = Attribute("tts.report.window", "string", "The window that a report is about: its beginning and its length.")
REPORT_RESULT = Attribute(
    "tts.report.result", "string", "What became of the window.", values=("written", "unchanged", "kept", "unreadable")
)

# While text capture is off, an exception event has the class and the frames, never the message.
EXCEPTION_TYPE = Attribute("exception.type", "string", "The exception's class.")
EXCEPTION_STACKTRACE = Attribute("exception.stacktrace", "string", "The frames, without the exception's message.")
EXCEPTION_MESSAGE = Attribute("exception.message", "string", "The exception's message; only with text capture switched on.")
