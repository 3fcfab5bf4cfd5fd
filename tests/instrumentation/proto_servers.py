"""Services with known protos that know nothing of telemetry: protos reduced to what a request to speak needs, and servers.

The fields have the names, numbers and types of the real protos. Everything is compiled into a descriptor pool of its own, so
that it meets no other copy of the same proto in this process.
"""

from __future__ import annotations

import asyncio
import functools
import io
import tempfile
import threading
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import hibari
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from otel_tts import Telemetry
from otel_tts.grpc import Mapping as ProtoMapping
from otel_tts.grpc import aio_server_interceptor, server_interceptor

RATE = hibari.SAMPLE_RATE

PROTOS = {
    "google.proto": """
        syntax = "proto3";
        package google.cloud.texttospeech.v1;
        service TextToSpeech {
          rpc SynthesizeSpeech(SynthesizeSpeechRequest) returns (SynthesizeSpeechResponse);
          rpc StreamingSynthesize(stream StreamingSynthesizeRequest) returns (stream StreamingSynthesizeResponse);
        }
        enum AudioEncoding {
          AUDIO_ENCODING_UNSPECIFIED = 0; LINEAR16 = 1; MP3 = 2; OGG_OPUS = 3; MULAW = 5; ALAW = 6; PCM = 7; M4A = 8;
        }
        message MultiSpeakerMarkup {
          message Turn { string speaker = 1; string text = 2; }
          repeated Turn turns = 1;
        }
        message SynthesisInput {
          oneof input_source { string text = 1; string markup = 5; string ssml = 2; MultiSpeakerMarkup multi_speaker_markup = 4; }
        }
        message CustomVoiceParams { string model = 1; }
        message VoiceSelectionParams { string language_code = 1; string name = 2; CustomVoiceParams custom_voice = 4; }
        message AudioConfig { AudioEncoding audio_encoding = 1; int32 sample_rate_hertz = 5; }
        message SynthesizeSpeechRequest {
          SynthesisInput input = 1; VoiceSelectionParams voice = 2; AudioConfig audio_config = 3;
        }
        message SynthesizeSpeechResponse { bytes audio_content = 1; }
        message StreamingAudioConfig { AudioEncoding audio_encoding = 1; int32 sample_rate_hertz = 2; }
        message StreamingSynthesizeConfig { VoiceSelectionParams voice = 1; StreamingAudioConfig streaming_audio_config = 4; }
        message StreamingSynthesisInput {
          oneof input_source { string text = 1; string markup = 5; MultiSpeakerMarkup multi_speaker_markup = 7; }
        }
        message StreamingSynthesizeRequest {
          oneof streaming_request { StreamingSynthesizeConfig streaming_config = 1; StreamingSynthesisInput input = 2; }
        }
        message StreamingSynthesizeResponse { bytes audio_content = 1; }
    """,
    "riva_audio.proto": """
        syntax = "proto3";
        package nvidia.riva;
        enum AudioEncoding { ENCODING_UNSPECIFIED = 0; LINEAR_PCM = 1; FLAC = 2; MULAW = 3; OGGOPUS = 4; ALAW = 20; }
    """,
    "riva_tts.proto": """
        syntax = "proto3";
        package nvidia.riva.tts;
        import "riva_audio.proto";
        service RivaSpeechSynthesis {
          rpc Synthesize(SynthesizeSpeechRequest) returns (SynthesizeSpeechResponse);
          rpc SynthesizeOnline(SynthesizeSpeechRequest) returns (stream SynthesizeSpeechResponse);
        }
        message SynthesizeSpeechRequest {
          string text = 1;
          string language_code = 2;
          AudioEncoding encoding = 3;
          int32 sample_rate_hz = 4;
          string voice_name = 5;
        }
        message SynthesizeSpeechResponse { bytes audio = 1; }
    """,
    "yandex.proto": """
        syntax = "proto3";
        package speechkit.tts.v3;
        service Synthesizer {
          rpc UtteranceSynthesis(UtteranceSynthesisRequest) returns (stream UtteranceSynthesisResponse);
          rpc StreamSynthesis(stream StreamSynthesisRequest) returns (stream StreamSynthesisResponse);
        }
        message RawAudio {
          enum AudioEncoding { AUDIO_ENCODING_UNSPECIFIED = 0; LINEAR16_PCM = 1; }
          AudioEncoding audio_encoding = 1;
          int64 sample_rate_hertz = 2;
        }
        message ContainerAudio {
          enum ContainerAudioType { CONTAINER_AUDIO_TYPE_UNSPECIFIED = 0; WAV = 1; OGG_OPUS = 2; MP3 = 3; }
          ContainerAudioType container_audio_type = 1;
        }
        message AudioFormatOptions { oneof AudioFormat { RawAudio raw_audio = 1; ContainerAudio container_audio = 2; } }
        message TextTemplate { string text_template = 1; }
        message Hints { oneof Hint { string voice = 1; double speed = 3; string role = 5; } }
        message UtteranceSynthesisRequest {
          string model = 1;
          oneof Utterance { string text = 2; TextTemplate text_template = 3; }
          repeated Hints hints = 4;
          AudioFormatOptions output_audio_spec = 5;
        }
        message AudioChunk { bytes data = 1; }
        message TextChunk { string text = 1; }
        message UtteranceSynthesisResponse {
          AudioChunk audio_chunk = 1; TextChunk text_chunk = 2; int64 start_ms = 3; int64 length_ms = 4;
        }
        message SynthesisOptions { string model = 1; string voice = 2; AudioFormatOptions output_audio_spec = 7; }
        message SynthesisInput { string text = 1; }
        message ForceSynthesisEvent {}
        message StreamSynthesisRequest {
          oneof Event {
            SynthesisOptions options = 1; SynthesisInput synthesis_input = 2; ForceSynthesisEvent force_synthesis = 3;
          }
        }
        message StreamSynthesisResponse {
          AudioChunk audio_chunk = 1; TextChunk text_chunk = 2; int64 start_ms = 3; int64 length_ms = 4;
        }
    """,
    "yap_original.proto": """
        syntax = "proto3";
        package tts;
        service TTSService {
          rpc GenerateSpeech(TTSRequest) returns (TTSResponse);
          rpc GeneratePhonemeAudio(PhonemeAudioRequest) returns (TTSResponse);
          rpc ListVoices(ListVoicesRequest) returns (ListVoicesResponse);
        }
        message TTSRequest {
          string text = 1; string language_code = 2; optional string voice_id = 3; string audio_format = 4;
          optional string ssml = 7;
        }
        message PhonemeAudioRequest {
          string phoneme = 1; string word = 2; string language_code = 3; optional string voice_id = 4; string audio_format = 5;
        }
        message TTSResponse {
          bool success = 1; string message = 2; bytes audio_data = 3; string audio_format = 4; float duration = 5;
        }
        message ListVoicesRequest { optional string language_code = 1; }
        message ListVoicesResponse { bool success = 1; string message = 2; }
    """,
    "acme.proto": """
        syntax = "proto3";
        package acme.v1;
        service Speech {
          rpc Say(Words) returns (Sound);
          rpc Read(stream Words) returns (Sound);
          rpc Sing(Words) returns (stream Sound);
        }
        message Words { repeated string lines = 1; string speaker = 2; map<string, string> options = 3; }
        message Sound {
          message Result { bool fine = 1; }
          bytes pcm = 1;
          Result result = 2;
          double seconds = 3;
        }
    """,
    "alien.proto": """
        syntax = "proto3";
        package alien;
        message Request { string query = 1; }
        message Response { string answer = 1; }
    """,
}


@functools.cache
def messages() -> Mapping[str, Any]:
    """The classes of all messages, by their full names."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in PROTOS.items():
            Path(directory, name).write_text(text, "utf-8")
        out = Path(directory, "descriptors")
        assert protoc.main(["protoc", f"-I{directory}", f"--descriptor_set_out={out}", *PROTOS]) == 0
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in sorted(files.file, key=lambda file: len(file.dependency)):
        pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name for file in files.file], pool)


def message(name: str, **fields: Any) -> Any:
    """A message by the full name of its type."""
    return messages()[name](**fields)


# -- speech ------------------------------------------------------------------------------------------------------------


@functools.cache
def _engine() -> hibari.Hibari:
    return hibari.Hibari(threads=1)


@functools.cache
def spoken(text: str) -> Sequence[bytes]:
    """The sentences of a text, as a real engine speaks them: 16-bit samples of ``RATE`` Hz."""
    return [(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes() for samples in _engine().stream(text, seed=0)]


def wav(pcm: bytes) -> bytes:
    """The same as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(pcm)
    return file.getvalue()


def seconds(*pcm: bytes) -> float:
    """How long samples last."""
    return len(b"".join(pcm)) / 2 / float(RATE)


# -- servers -----------------------------------------------------------------------------------------------------------


def service(
    method: str, behavior: Any, request: Any, *, request_streaming: bool = False, response_streaming: bool = False
) -> grpc.GenericRpcHandler:
    """A service with one method, whose requests are of the class ``request``."""
    kind = f"{'stream' if request_streaming else 'unary'}_{'stream' if response_streaming else 'unary'}"
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    name, _, short = method.rpartition("/")
    return grpc.method_handlers_generic_handler(
        name, {short: make(behavior, request.FromString, lambda response: type(response).SerializeToString(response))}
    )


@contextmanager
def sync_server(telemetry: Telemetry, handler: grpc.GenericRpcHandler, mapping: ProtoMapping | None) -> Iterator[int]:
    """A server of ``grpc``; gives its port."""
    interceptors = [server_interceptor(telemetry, mapping=mapping)]
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler], interceptors=interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


@contextmanager
def aio_server(telemetry: Telemetry, handler: grpc.GenericRpcHandler, mapping: ProtoMapping | None) -> Iterator[int]:
    """A server of ``grpc.aio``, in a loop and thread of its own; gives its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[grpc.aio.Server, int]:
        interceptors = [aio_server_interceptor(telemetry, mapping=mapping)]
        server = grpc.aio.server(ThreadPoolExecutor(4), handlers=[handler], interceptors=interceptors)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


SERVERS: Mapping[str, Callable[..., Any]] = {"sync": sync_server, "aio": aio_server}


def call(
    port: int,
    method: str,
    requests: Sequence[Any],
    response: Any,
    *,
    request_streaming: bool = False,
    response_streaming: bool = False,
    cancel_after: int | None = None,
    timeout: float | None = None,
) -> tuple[grpc.StatusCode, list[Any]]:
    """Make one RPC, perhaps cancel it after some responses; gives what its client saw: the status and the responses."""
    kind = f"{'stream' if request_streaming else 'unary'}_{'stream' if response_streaming else 'unary'}"
    seen = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = getattr(channel, kind)(f"/{method}", lambda m: type(m).SerializeToString(m), response.FromString)
        asked = iter(requests) if request_streaming else requests[0]
        rpc = stub(asked, timeout=timeout) if response_streaming else stub.future(asked, timeout=timeout)
        try:
            if not response_streaming:
                seen.append(rpc.result())
            while response_streaming and len(seen) != cancel_after:
                seen.append(next(rpc))
            if cancel_after is not None:
                rpc.cancel()
        except (StopIteration, grpc.RpcError):
            pass
        return rpc.code(), seen
