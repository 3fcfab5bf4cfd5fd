"""The registry of instrumentors: which engine or SDK is observed, in which versions, by which calls, and how that was tested.

The coverage table in the README is generated from it; tests check that the entry points in ``pyproject.toml`` are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from otel_tts.instrumentation.aiobotocore import AiobotocoreInstrumentor
from otel_tts.instrumentation.cartesia import CartesiaInstrumentor
from otel_tts.instrumentation.deepgram import DeepgramInstrumentor
from otel_tts.instrumentation.edge import EdgeInstrumentor
from otel_tts.instrumentation.elevenlabs import ElevenLabsInstrumentor
from otel_tts.instrumentation.gemini import GeminiInstrumentor
from otel_tts.instrumentation.google import GoogleInstrumentor
from otel_tts.instrumentation.gtts import GttsInstrumentor
from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.kokoro import KokoroInstrumentor
from otel_tts.instrumentation.livekit import LiveKitInstrumentor
from otel_tts.instrumentation.openai import OpenAIInstrumentor
from otel_tts.instrumentation.pipecat import PipecatInstrumentor
from otel_tts.instrumentation.piper import PiperInstrumentor
from otel_tts.instrumentation.polly import PollyInstrumentor
from otel_tts.instrumentation.realtimetts import RealtimeTTSInstrumentor
from otel_tts.instrumentation.riva import RivaInstrumentor
from otel_tts.instrumentation.sherpa import SherpaInstrumentor
from otel_tts.instrumentation.sockets.aiohttp import AiohttpSocketsInstrumentor
from otel_tts.instrumentation.sockets.websockets import WebSocketsInstrumentor


@dataclass(frozen=True, slots=True)
class Library:
    """One engine or SDK."""

    name: str
    entry_point: str
    """The name with which it is switched off, in ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS``."""
    instrumentor: type[Instrumentor]
    sync: str
    """The calls that are observed, as people write them; empty: none."""
    asynchronous: str
    stream: str
    """Which of these return audio in pieces, each of which is measured."""
    readable: str
    """Which audio is measured in seconds; of any other, the first byte, the characters, the outcome and the price are known."""
    tested: str
    """What it was tested against."""
    tested_versions: Sequence[str]
    """The tested versions of the distribution: the oldest that is supported, and the newest that exists."""
    resends: str = "-"
    """Whether resends by the SDK itself are observed."""


_OVOS = "ovos-tts-server with Piper"

LIBRARIES: Sequence[Library] = (
    Library(
        "Piper",
        "tts_piper",
        PiperInstrumentor,
        "`PiperVoice.synthesize`, `.synthesize_wav`",
        "",
        "both",
        "all",
        "itself, and its own HTTP server",
        ("1.3.0", "1.8.0"),
    ),
    Library(
        "Hibari",
        "tts_hibari",
        HibariInstrumentor,
        "`Hibari()(text)`, `.stream`",
        "",
        "`.stream`",
        "all",
        "itself",
        ("0.2.1",),
    ),
    Library(
        "OpenAI",
        "tts_openai",
        OpenAIInstrumentor,
        "`audio.speech.create`",
        "the same",
        "through `with_streaming_response`",
        "`pcm`, `wav`",
        "local-tts-studio with Piper",
        ("1.60.0", "3.54.0"),
        resends="seen",
    ),
    Library(
        "ElevenLabs",
        "tts_elevenlabs",
        ElevenLabsInstrumentor,
        "`text_to_speech` and `text_to_dialogue`: `.convert`, `.stream`, both `…_with_timestamps`, all through `with_raw_response` too;"
        " `.convert_realtime`",
        "the same without `.convert_realtime`",
        "all but `.convert_with_timestamps`",
        "`pcm_*`, `wav_*`, `ulaw_*`, `alaw_*`",
        f"{_OVOS}; a local server of its HTTP protocol with Hibari",
        ("2.10.0", "2.78.0"),
        resends="seen, of `.convert_with_timestamps`; others make none",
    ),
    Library(
        "Amazon Polly",
        "tts_polly",
        PollyInstrumentor,
        "boto3's `synthesize_speech`",
        "",
        "its `AudioStream`",
        "`pcm`, `mulaw`, `alaw`",
        _OVOS,
        ("1.35.0", "1.44.5"),
        resends="seen",
    ),
    Library(
        "Amazon Polly, asyncio",
        "tts_aiobotocore",
        AiobotocoreInstrumentor,
        "",
        "`synthesize_speech` of aiobotocore and aioboto3, over aiohttp and httpx",
        "its `AudioStream`",
        "`pcm`, `mulaw`, `alaw`",
        _OVOS,
        ("3.8.0", "3.10.0"),
        resends="seen",
    ),
    Library(
        "Google Cloud",
        "tts_google",
        GoogleInstrumentor,
        "`synthesize_speech`, `streaming_synthesize`; `v1`, `v1beta1`",
        "the same",
        "`streaming_synthesize`",
        "`LINEAR16`, `PCM`, `MULAW`, `ALAW`",
        f"REST: {_OVOS}; gRPC: a server of Google's proto (`v1`) with Hibari",
        ("2.25.0", "2.38.0"),
        resends="seen, where the host asks for them",
    ),
    Library(
        "Google Gemini",
        "tts_gemini",
        GeminiInstrumentor,
        "`models.generate_content`, `.generate_content_stream`, where they ask for audio",
        "the same",
        "`.generate_content_stream`",
        "all: `audio/L16`, WAV",
        "a local server of its REST protocol with Hibari",
        ("3.0.0", "3.6.1"),
        resends="seen, where the host asks for them",
    ),
    Library(
        "Cartesia",
        "tts_cartesia",
        CartesiaInstrumentor,
        "`tts.generate`, `.generate_sse`, `.infill`, all through `with_raw_response` too",
        "the same",
        "`.generate_sse`; others through `with_streaming_response`",
        "`raw`, `wav`",
        f"{_OVOS}; a local server of its HTTP protocol with Hibari",
        ("3.0.0", "4.2.0"),
        resends="seen",
    ),
    Library(
        "Deepgram",
        "tts_deepgram",
        DeepgramInstrumentor,
        "`speak.v1.audio.generate`, `speak.v2.audio.generate`, both through `with_raw_response` too",
        "the same",
        "all",
        "`linear16`, `mulaw`, `alaw`",
        f"{_OVOS}; a local server of its HTTP protocol with Hibari",
        ("5.0.0", "7.17.0"),
        resends="makes none",
    ),
    Library(
        "Kokoro",
        "tts_kokoro",
        KokoroInstrumentor,
        "`Kokoro.create`, `.create_timed`",
        "`.create_stream`",
        "`.create_stream`",
        "all",
        "itself, with a model that gives a tone instead of speech",
        ("0.6.0", "0.6.1"),
    ),
    Library(
        "sherpa-onnx",
        "tts_sherpa",
        SherpaInstrumentor,
        "`OfflineTts.generate`",
        "",
        "with a callback",
        "all",
        "itself, with Piper's voice",
        ("2.0.1",),
    ),
    Library(
        "NVIDIA Riva",
        "tts_riva",
        RivaInstrumentor,
        "`SpeechSynthesisService.synthesize`, also with `future=True`, `.synthesize_online`",
        "",
        "`.synthesize_online`",
        "`LINEAR_PCM`",
        "a gRPC server of its proto with Hibari",
        ("2.16.0",),
    ),
    Library(
        "edge-tts",
        "tts_edge",
        EdgeInstrumentor,
        "`Communicate.stream_sync`, `.save_sync`",
        "`.stream`, `.save`",
        "all",
        "nothing: it gives MP3",
        "a local server of its protocol with Hibari, not Microsoft's",
        ("7.0.0", "7.3.1"),
        resends="seen",
    ),
    Library(
        "gTTS",
        "tts_gtts",
        GttsInstrumentor,
        "`gTTS.stream`, `.write_to_fp`, `.save`",
        "",
        "all, a piece for each part of the text",
        "nothing: it gives MP3",
        "a local server of its protocol with Hibari, not Google's",
        ("2.5.0", "2.5.4"),
        resends="makes none",
    ),
    Library(
        "LiveKit Agents",
        "tts_livekit",
        LiveKitInstrumentor,
        "",
        "every plugin's `synthesize` and `stream`, `FallbackAdapter`, `StreamAdapter`; `AgentSession`, with interruptions",
        "all",
        "all that LiveKit decodes, as it is handed out; of what plugins get, raw PCM and WAV",
        "its plugins for Cartesia, Deepgram (Flux), ElevenLabs (dialogues too) and OpenAI with local servers of their protocols",
        ("1.8.7", "1.8.9"),
        resends="seen, of vendors' SDKs; its own are attempts",
    ),
    Library(
        "Pipecat",
        "tts_pipecat",
        PipecatInstrumentor,
        "",
        "every `TTSService`, over HTTP and WebSockets; turns, sentences, interruptions",
        "all",
        "all that it hands out",
        "its services for Cartesia, Deepgram (Flux too), ElevenLabs (dialogues too) and OpenAI with local servers of their protocols",
        ("1.14", "1.14.0"),
        resends="seen, of vendors' SDKs",
    ),
    Library(
        "RealtimeTTS",
        "tts_realtimetts",
        RealtimeTTSInstrumentor,
        "`TextToAudioStream.play`, `.play_async`, `.stop`, with every engine; fallbacks",
        "",
        "all",
        "raw PCM of its engines",
        "itself, muted, with engines of a host's own (Hibari)",
        ("0.8.10",),
        resends="not seen",
    ),
    Library(
        "WebSockets of ElevenLabs, Cartesia and Deepgram",
        "tts_websockets",
        WebSocketsInstrumentor,
        "Cartesia's `tts.websocket_connect`, Deepgram's `speak.v1.connect` and `speak.v2.connect`; `websockets.sync.client`, also for"
        " ElevenLabs' contexts and dialogues",
        "the same; `websockets.asyncio.client`, `websockets.legacy.client`",
        "all",
        "raw PCM, µ-law, A-law",
        "a local server of their protocols with Hibari",
        ("15.0", "17.4"),
    ),
    Library(
        "The same WebSockets over aiohttp",
        "tts_aiohttp",
        AiohttpSocketsInstrumentor,
        "",
        "`ClientSession.ws_connect`; of LiveKit's and Pipecat's connections the opening",
        "all",
        "raw PCM, µ-law, A-law",
        "the same server",
        ("3.14.0", "3.14.5"),
    ),
)

HEAD = ("engine or SDK", "versions", "sync", "async", "streamed", "audio that is analysed", "resends", "tested against")


def rows() -> Iterator[Sequence[str]]:
    """Yield the rows of the coverage table."""
    for library in LIBRARIES:
        yield (
            library.name,
            f"`{library.instrumentor.requires}`",
            library.sync or "-",
            library.asynchronous or "-",
            library.stream or "-",
            library.readable,
            library.resends,
            f"{library.tested}; {', '.join(library.tested_versions)}",
        )
