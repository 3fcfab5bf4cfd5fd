"""The whole service over real gRPC, with a real engine."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import soundfile
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from otel_tts import Telemetry
from otel_tts.service import PortTakenError, ServiceConfig, serve
from otel_tts.service.cache import cache_tiers
from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from otel_tts.service.providers import Provider
from otel_tts.service.speech import EngineRequest

TEXT = "Hello there. How are you today?"
RATE = 24000


@pytest.mark.parametrize("encoding", ["UNSPECIFIED", "WAV", "PCM", "FLAC", "MP3", "OPUS"])
async def test_a_unary_answer_holds_all_the_audio(start: Any, hibari: Provider, capture_tts: Any, encoding: str) -> None:
    """In every encoding a file of the duration that the answer states; WAV unless asked otherwise."""
    client = await start(hibari)
    number = tts_pb2.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding}")
    response = await client.speak(TEXT, voice="heart", language="en-US", encoding=number)
    assert response.rendition == tts_pb2.Rendition(
        provider="hibari",
        model="hibari-heart",
        voice="heart",
        language="en-US",
        cache=tts_pb2.CACHE_STATUS_BYPASS,
        encoding=number or tts_pb2.AUDIO_ENCODING_WAV,
        sample_rate=RATE,
        trace_id=response.rendition.trace_id,
    )
    assert 1.5 < response.audio_duration_seconds < 5
    raw = {"format": "RAW", "samplerate": RATE, "channels": 1, "subtype": "PCM_16"} if encoding == "PCM" else {}
    samples, rate = soundfile.read(io.BytesIO(response.audio), **raw)
    assert (len(samples) / rate, rate) == (pytest.approx(response.audio_duration_seconds, abs=0.001), RATE)
    await client.until(capture_tts.syntheses)
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, synthesis["tts.audio.delivered_duration"]) == ("ok", response.audio_duration_seconds)
    assert response.rendition.trace_id == f"{synthesis.span.context.trace_id:032x}"
    assert capture_tts.total("tts.encode.duration") == 1


@pytest.mark.parametrize("encoding", ["UNSPECIFIED", "WAV", "PCM", "MP3", "OPUS"])
async def test_a_stream_is_header_chunks_and_trailer(start: Any, hibari: Provider, capture_tts: Any, encoding: str) -> None:
    """The chunks make one playable file, sentence by sentence; PCM unless asked otherwise; a hit sounds the same."""
    client = await start(hibari, cache=cache_tiers("memory://"))
    number = tts_pb2.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding}")
    received, again = [await client.listen(TEXT, encoding=number) for _ in range(2)]
    assert [one.header.cache for one in (received, again)] == [tts_pb2.CACHE_STATUS_MISS, tts_pb2.CACHE_STATUS_HIT]
    assert received.header.encoding == number or tts_pb2.AUDIO_ENCODING_PCM
    assert received.trailer.chunk_count == len(received.chunks) > 1
    raw = {"format": "RAW", "samplerate": RATE, "channels": 1, "subtype": "PCM_16"} if encoding in ("PCM", "UNSPECIFIED") else {}
    for one in (received, again):
        samples, rate = soundfile.read(io.BytesIO(one.audio), **raw)
        assert (len(samples) / rate, rate) == (pytest.approx(received.trailer.audio_duration_seconds, abs=0.15), RATE)
    await client.until(lambda: len(capture_tts.syntheses()) == 2)
    assert capture_tts.total("tts.synthesis.time_to_first_byte") == 2
    delivered = {
        p.attributes["tts.audio.source"]: p.value
        for p in capture_tts.points("tts.synthesis.audio", {"tts.audio.state": "delivered"})
    }
    assert delivered == {source: pytest.approx(received.trailer.audio_duration_seconds) for source in ("provider", "cache")}


async def test_flac_cannot_be_streamed(start: Any, hibari: Provider) -> None:
    """The message says what can."""
    error = (await (await start(hibari)).listen(TEXT, encoding=tts_pb2.AUDIO_ENCODING_FLAC)).error
    assert (error.code(), "Ask for WAV, PCM, MP3 or OPUS" in error.details()) == (grpc.StatusCode.UNIMPLEMENTED, True)


async def test_the_sample_rate_can_be_chosen(start: Any, hibari: Provider) -> None:
    """Within what the encoding has."""
    client = await start(hibari)
    response = await client.speak(TEXT, sample_rate=8000)
    assert (response.rendition.sample_rate, soundfile.read(io.BytesIO(response.audio))[1]) == (8000, 8000)
    received = await client.listen(TEXT, sample_rate=48000)
    assert (received.header.sample_rate, len(received.audio) / 96000) == (
        48000,
        pytest.approx(received.trailer.audio_duration_seconds, abs=0.01),
    )


async def test_audio_too_long_for_one_message_is_refused_with_the_way_out(start: Any, scripted: Any, capture_tts: Any) -> None:
    """Before the client's own limit of 4 MiB would do it; the cache keeps it, and a stream delivers it."""
    engine = scripted("one")
    engine.script = [scripted.SECOND] * 140
    client = await start(engine, cache=cache_tiers("memory://"))
    error = await client.refused()
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        (
            "The audio is 140 s long, in this encoding too much for one message of 4 MiB. "
            "Call SynthesizeStream, ask for MP3 or OPUS, or send the text in parts."
        ),
    )
    received = await client.listen()
    assert (received.header.cache, received.trailer.audio_duration_seconds) == (tts_pb2.CACHE_STATUS_HIT, 140)
    await client.until(lambda: len(capture_tts.syntheses()) == 2)
    assert [s.outcome for s in capture_tts.syntheses()] == ["rejected", "ok"]
    engine.script = [scripted.SECOND] * 130
    assert len((await client.speak("Just below.")).audio) == 130 * 32000 + 44


async def test_voices_are_listed_by_language_and_provider(start: Any, scripted: Any, hibari: Provider) -> None:
    """Those of the preferred provider first."""
    client = await start(hibari, scripted("two", language="de-DE"), scripted("three", language="en-GB"))

    async def voices(**request: str) -> list[str]:
        return [voice.id for voice in (await client.stub.ListVoices(tts_pb2.ListVoicesRequest(**request))).voices]

    assert await voices() == ["heart", "two-voice", "three-voice"]
    assert await voices(language="en") == ["heart", "three-voice"]
    assert await voices(language="EN-gb") == ["three-voice"]
    assert await voices(language="fr") == []
    assert await voices(provider="two") == ["two-voice"]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await voices(provider="polly")
    assert (refused.value.code(), refused.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "There is no provider 'polly'. Use one of hibari, two, three, or none.",
    )


async def test_the_order_of_providers_follows_voice_and_language(start: Any, scripted: Any) -> None:
    """Who has the voice or speaks the language comes first; another voice of the language stands in."""
    us, gb, de = scripted("us"), scripted("gb", language="en-GB"), scripted("de", language="de-DE")
    anything = scripted("anything", language="mul")
    client = await start(us, gb, de, anything, circuit_failures=100)
    everyone, calls = (us, gb, de, anything), list[EngineRequest]()
    for engine in everyone:
        engine.calls = calls

    async def asked(**request: str) -> list[str]:
        for engine in everyone:
            engine.script = [RuntimeError()]
        calls.clear()
        await client.refused(**request)
        return [f"{call.voice} {call.language}" for call in calls]

    assert await asked() == ["us-voice en-US", "gb-voice en-GB", "de-voice de-DE", "anything-voice mul"]
    assert await asked(language="de") == ["de-voice de-DE", "anything-voice de"]
    assert await asked(language="en-GB") == ["gb-voice en-GB", "anything-voice en-GB", "us-voice en-US"]
    assert await asked(voice="gb-voice") == ["gb-voice en-GB", "anything-voice en-GB", "us-voice en-US"]
    assert await asked(provider="gb") == ["gb-voice en-GB"]
    for engine in everyone:
        engine.script = [scripted.SECOND]
    assert (await client.speak(voice="gb-voice")).rendition.provider == "gb"
    error = await client.refused(voice="gb-voice", language="de")
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "The voice speaks en-GB, not 'de'. Leave out one of the two.",
    )


async def test_health_and_reflection_are_served(start: Any, hibari: Provider) -> None:
    """As grpc's own tools ask for them."""
    client = await start(hibari)
    health = health_pb2_grpc.HealthStub(client.channel)
    for name in ("", "yap.tts.v1.TextToSpeech"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    async for answer in call:
        services = [service.name for service in answer.list_services_response.service]
        assert services == ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "yap.tts.v1.TextToSpeech"]
        break


async def test_requests_under_way_end_before_the_service_stops(scripted: Any) -> None:
    """Within the grace, their callers get all of the audio."""
    go = asyncio.Event()
    engine = scripted("one", scripted.SECOND, go, scripted.SECOND)
    config = ServiceConfig.load({}, port=0, cache=(), stop_grace=5.0)
    async with AsyncExitStack() as stack:
        async with serve(config, Telemetry(), providers=[engine]) as service:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.address))
            request = tts_pb2.SynthesizeRequest(text="Hi.").SerializeToString()
            call = channel.unary_stream("/yap.tts.v1.TextToSpeech/SynthesizeStream")(request)
            parts = [await call.read()]  # the header
            asyncio.get_running_loop().call_later(0.05, go.set)
        while (part := await call.read()) is not grpc.aio.EOF:
            parts.append(part)
        assert (await call.code(), len(parts)) == (grpc.StatusCode.OK, 4)


async def test_a_taken_port_is_one_clear_line(start: Any, scripted: Any) -> None:
    """Two services never share a port."""
    client = await start(scripted("one"))
    with pytest.raises(PortTakenError) as taken:
        await start(scripted("two"), port=client.service.port)
    assert str(taken.value) == (
        f"Port {client.service.port} of 127.0.0.1 cannot be used: Address already in use. Set TTS_PORT to another, or 0 for any."
    )


def program(tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    """``python -m otel_tts.service``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TTS_"))}
    own = {"TTS_PORT": "0", "PROMETHEUS_PORT": "0", "OTEL_TTS_DATA_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "otel_tts.service"],
        env={**inherited, **own, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("disabled", ["false", "true"])
def test_the_program_serves_until_it_is_told_to_stop(tmp_path: Path, disabled: str) -> None:
    """It says what it serves and where telemetry goes; switching telemetry off changes nothing else; SIGTERM ends it with 0."""
    with program(tmp_path, OTEL_SDK_DISABLED=disabled) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        (address,) = (line.split()[1] for line in lines if line.startswith("gRPC:"))
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(
                "/yap.tts.v1.TextToSpeech/Synthesize",
                tts_pb2.SynthesizeRequest.SerializeToString,
                tts_pb2.SynthesizeResponse.FromString,
            )
            response = call(tts_pb2.SynthesizeRequest(text=TEXT))
        assert response.audio_duration_seconds > 1
        assert bool(response.rendition.trace_id) == (disabled == "false")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert any(line.startswith("traces:") for line in lines) == (disabled == "false")
    assert any("tts.synthesize" in path.read_text() for path in tmp_path.rglob("*.jsonl")) == (disabled == "false")


def test_the_program_refuses_what_it_cannot_do_in_one_line(tmp_path: Path) -> None:
    """A taken port and a wrong setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for environment, reason in (
            ({"TTS_PORT": str(port)}, f"otel-tts: Port {port} of 127.0.0.1 cannot be used: Address already in use."),
            ({"TTS_CACHE_URL": "redis://"}, "otel-tts: TTS_CACHE_URL='redis://' is not allowed: it takes off, or a "),
        ):
            with program(tmp_path, **environment) as process:
                _, errors = process.communicate(timeout=20)
            (line,) = errors.splitlines()
            assert (process.returncode, line.startswith(reason)) == (1, True)
