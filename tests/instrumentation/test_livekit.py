"""LiveKit Agents with four of its plugins and the fallback adapter, against local servers with real engines behind them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from otel_tts.instrumentation.livekit import LiveKitInstrumentor
from otel_tts.instrumentation.openai import OpenAIInstrumentor
from otel_tts.instrumentation.resends import ResendsInstrumentor
from otel_tts.instrumentation.sockets.websockets import WebSocketsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe
from tests.instrumentation.speech_http import SpeechHttp
from tests.instrumentation.speech_sockets import RATE, SpeechSockets

pytest.importorskip("livekit.agents", reason="it needs the extra `vendors`")

import aiohttp
from livekit.agents import APIConnectOptions, tts
from livekit.plugins import cartesia, deepgram, elevenlabs, openai
from openai import AsyncOpenAI

from tests.instrumentation.livekit_agent import agent

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
PIECES = ("Good morning. ", "How are ", "you today?")
TEXT = "".join(PIECES)
MODELS = {
    "cartesia": "sonic-3.5",
    "elevenlabs": "eleven_flash_v2_5",
    "elevenlabs dialogue": "eleven_v3",
    "deepgram flux": "flux-alexis-en",
}
for _name, _module, _part in (
    ("elevenlabs dialogue", elevenlabs.models, "is_dialogue_model"),
    ("deepgram flux", deepgram, "TTSv2"),
):
    if not hasattr(_module, _part):
        del MODELS[_name]  # plugins older than these protocols
VOICES = {"cartesia": "katie", "elevenlabs": "rachel", "elevenlabs dialogue": "rachel", "deepgram flux": None}
ONCE = APIConnectOptions(max_retry=0, timeout=5)
TWICE = APIConnectOptions(max_retry=1, retry_interval=0.01, timeout=5)
ANSWER = "Hello my friend. This is quite a long answer. And it goes on and on for a while."
WORDS = [f"{word} " for word in ANSWER.split()]


@asynccontextmanager
async def plugin(name: str, url: str) -> AsyncIterator[tts.TTS]:
    """One of the plugins."""
    async with aiohttp.ClientSession() as http:
        base = url.replace("ws", "http", 1)
        made: tts.TTS
        if name == "cartesia":
            made = cartesia.TTS(api_key="none", base_url=base, voice="katie", http_session=http)
        elif name in ("elevenlabs", "elevenlabs dialogue"):
            made = elevenlabs.TTS(
                api_key="none", base_url=f"{base}/v1", voice_id="rachel", model=MODELS[name], encoding="pcm_24000",
                http_session=http,
            )  # fmt: skip
        elif name == "deepgram flux":
            made = deepgram.TTSv2(api_key="none", base_url=f"{base}/v2/speak", model=MODELS[name], http_session=http)
        else:
            made = openai.TTS(api_key="none", base_url=url, voice="en_US-joe-medium", model="tts-1", response_format="pcm")
        try:
            yield made
        finally:
            await made.aclose()


async def read(stream: Any) -> bytes:
    """All of its audio."""
    return b"".join([bytes(event.frame.data) async for event in stream])


async def spoken(voice: tts.TTS, pieces: Sequence[str] = PIECES, options: APIConnectOptions = ONCE) -> bytes:
    """The audio of one utterance."""
    async with voice.stream(conn_options=options) as stream:
        for piece in pieces:
            stream.push_text(piece)
        stream.end_input()
        return await read(stream)


def seconds(audio: bytes) -> float:
    """Its length."""
    return len(audio) / 2 / RATE


sockets = pytest.mark.parametrize("name", MODELS)


@sockets
async def test_two_utterances_on_one_connection(
    name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """Each is one request, with its plugin's provider, model and voice; the host gets the same audio; LiveKit's span is the parent."""
    async with plugin(name, provider.url) as voice:
        plain = await spoken(voice)
    observe(LiveKitInstrumentor, WebSocketsInstrumentor)
    async with plugin(name, provider.url) as voice:
        played = [await spoken(voice) for _ in range(2)]
    assert {len(audio) for audio in played} == {len(plain)}
    first, second = capture_tts.syntheses()
    assert (first.outcome, second.outcome) == ("ok", "ok")
    for synthesis in (first, second):
        assert (synthesis["gen_ai.provider.name"], synthesis["tts.text.length"]) == (name.partition(" ")[0], len(TEXT))
        assert synthesis["gen_ai.request.model"].startswith(MODELS[name][:5])
        assert synthesis["tts.voice"] == VOICES[name]
        assert synthesis["tts.audio.duration"] == pytest.approx(seconds(plain), abs=0.02)
        assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(plain), abs=0.001)
        assert 0 < synthesis["tts.real_time_factor"] < 20
        assert 0 <= synthesis["tts.time_to_first_segment"] <= synthesis.first_byte
    made_s = first["tts.audio.duration"] + second["tts.audio.duration"]
    assert made_s == pytest.approx(seconds(b"".join(provider.audio.values())) - seconds(plain), abs=0.04), "what the server sent"
    parents = {span.context.span_id: span.name for span in capture_tts.spans if span.context is not None}
    assert [parents[s.span.parent.span_id] for s in (first, second) if s.span.parent is not None] == [
        "tts_request",
        "tts_request",
    ]
    assert second.attempts[0]["tts.connection.reused"] is True


async def test_a_plugin_over_http(studio: str, observe: Observe, capture_tts: Capture) -> None:
    """OpenAI's: one request with one attempt, also where its SDK is observed; sentences of a stream are attempts of one request."""
    observe(LiveKitInstrumentor, OpenAIInstrumentor)
    async with plugin("openai", studio) as voice:
        audio = await read(voice.synthesize("Good morning.", conn_options=ONCE))
        adapted = await spoken(
            tts.StreamAdapter(tts=voice), ("This is the first sentence of it. ", "This is another one, the second.")
        )
    whole, sentences = capture_tts.syntheses()
    assert [(s.outcome, [a.provider for a in s.attempts]) for s in (whole, sentences)] == [
        ("ok", ["openai"]), ("ok", ["openai", "openai"]),
    ]  # fmt: skip
    assert whole["tts.audio.delivered_duration"] == pytest.approx(seconds(audio), abs=0.001)
    assert sentences["tts.audio.delivered_duration"] == pytest.approx(seconds(adapted), abs=0.001)
    assert sentences["tts.audio.duration"] == pytest.approx(seconds(adapted), abs=0.1)


async def test_retries_and_a_fallback(provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """The fallback adapter's hop has the real names, LiveKit's retries are attempts, and its tries at recovery are nobody's request."""
    observe(LiveKitInstrumentor)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"ws://127.0.0.1:{listener.getsockname()[1]}"
    async with plugin("cartesia", gone) as first, plugin("elevenlabs", provider.url) as second:
        adapter = tts.FallbackAdapter([first, second], max_retry_per_tts=1)
        audio = await spoken(adapter, options=APIConnectOptions(max_retry=0, retry_interval=0.01, timeout=5))
        await asyncio.sleep(0.1)  # it tries whether the first one is good again
        await adapter.aclose()
    synthesis = capture_tts.synthesis()
    assert synthesis.outcome == "ok"
    assert [(a.provider, a.reason, a.outcome) for a in synthesis.attempts] == [
        ("cartesia", "initial", "error"), ("cartesia", "retry", "error"), ("elevenlabs", "fallback", "ok"),
    ]  # fmt: skip
    assert synthesis["gen_ai.provider.name"] == "elevenlabs"
    assert synthesis["tts.fallback.used"] is True
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio), abs=0.001)
    hop = {"tts.fallback.from": "cartesia", "tts.fallback.to": "elevenlabs", "error.type": "connection"}
    assert capture_tts.total("tts.provider.fallbacks", hop) == 1


@pytest.mark.parametrize("adapted", [False, True])
async def test_resends_of_a_vendor_s_sdk(observe: Observe, capture_tts: Capture, adapted: bool) -> None:
    """A plugin whose SDK asks again by itself after a 429: one attempt with a resend; LiveKit's own retry is an attempt."""
    observe(LiveKitInstrumentor, OpenAIInstrumentor, ResendsInstrumentor)
    with SpeechHttp().running() as vendor:
        for most in (2, 0):
            vendor.reset()
            vendor.statuses = [429]
            async with AsyncOpenAI(base_url=vendor.url, api_key="none", max_retries=most) as client:
                voice = openai.TTS(client=client, model="tts-1", voice="alloy", response_format="pcm")
                if adapted:
                    audio = await spoken(tts.StreamAdapter(tts=voice), options=TWICE)
                else:
                    audio = await read(voice.synthesize(TEXT, conn_options=TWICE))
            assert seconds(audio) > 1
            assert vendor.asked >= 2
    resent, retried = capture_tts.syntheses(outcome="ok")
    assert {attempt.outcome for attempt in resent.attempts} == {"ok"}
    assert (resent["tts.resend.count"], resent.attempts[0]["tts.resend.count"]) == (1, 1)
    (event,) = [event for span in capture_tts.spans for event in span.events if event.name == "tts.resend"]
    assert event.attributes is not None
    assert (event.attributes["error.type"], event.attributes["http.response.status_code"]) == ("rate_limited", 429)
    assert 0 <= float(str(event.attributes["tts.resend.delay"])) < 10
    assert [(attempt.reason, attempt.outcome, attempt.error_type) for attempt in retried.attempts][:2] == [
        ("initial", "error", "rate_limited"),
        ("retry", "ok", None),
    ]


# Cartesia's plugin takes an error message for the end, since both say "done".
@pytest.mark.parametrize(
    ("name", "fault"),
    [(n, f) for n in MODELS for f in ("error", "lost", "closed") if (n, f) != ("cartesia", "error")],
)
async def test_what_breaks_in_the_middle(
    name: str, fault: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """An error of the server, a lost connection and a close without an end: partial, with what the host got, and its exception."""

    async def broken() -> type[BaseException] | None:
        async with plugin(name, provider.url) as voice:
            provider.fault = fault
            try:
                await spoken(voice)
            except Exception as error:  # noqa: BLE001 - whatever the plugin raises
                return type(error)
            return None

    plain = await broken()
    observe(LiveKitInstrumentor)
    assert await broken() is plain is not None
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, [a.outcome for a in synthesis.attempts]) == ("partial", ["partial"])
    assert synthesis["tts.audio.delivered_duration"] > 0
    if fault != "error":
        assert synthesis["error.type"] == "connection", "the plugins raise it with the close code as its status"


@sockets
@pytest.mark.parametrize("how", ["refused", "forbidden"])
async def test_a_connection_that_cannot_be_opened(
    name: str, how: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """One failed request with each of LiveKit's tries as an attempt."""
    observe(LiveKitInstrumentor)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"ws://127.0.0.1:{listener.getsockname()[1]}"
    provider.refuse = how == "forbidden"
    async with plugin(name, gone if how == "refused" else provider.url) as voice:
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the plugin raises
            await spoken(voice, options=TWICE)
    synthesis = capture_tts.synthesis(outcome="error")
    expected = {"refused": "connection", "forbidden": "unauthorized"}[how]
    assert {a.error_type for a in synthesis.attempts} == {expected}
    assert [a.reason for a in synthesis.attempts] in (["initial"], ["initial", "retry"])
    assert capture_tts.total("tts.synthesis.characters", {"tts.characters.state": "wasted"}) == len(TEXT)


@sockets
async def test_a_flush(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """A flush in the middle is no end: it stays one request, to which the host's audio belongs."""
    observe(LiveKitInstrumentor)
    async with plugin(name, provider.url) as voice, voice.stream(conn_options=ONCE) as stream:
        stream.push_text("Good morning to all of you. ")
        stream.flush()
        stream.push_text("How are you today?")
        stream.end_input()
        audio = await read(stream)
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.text.length"] == len("Good morning to all of you. How are you today?")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio), abs=0.001)


async def test_a_stream_that_is_left(provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """A host that closes a stream before its end has gone away; one that was never given text asked for nothing."""
    observe(LiveKitInstrumentor)
    async with plugin("cartesia", provider.url) as voice:
        provider.hold.clear()
        async with voice.stream(conn_options=ONCE) as stream:
            stream.push_text(TEXT)
            stream.end_input()
            await anext(stream)
        async with voice.stream(conn_options=ONCE):
            await asyncio.sleep(0)
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, synthesis["tts.cancel.reason"]) == ("cancelled", "caller")


async def test_patience_and_tasks(provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """A provider that falls silent is a timeout of the plugin's; a task that is cancelled has gone away."""
    observe(LiveKitInstrumentor)
    async with plugin("cartesia", provider.url) as voice:
        provider.hold.clear()
        with pytest.raises(Exception):  # noqa: B017, PT011 - LiveKit's
            await spoken(voice, options=APIConnectOptions(max_retry=0, timeout=0.3))
        provider.hold.set()
    async with plugin("cartesia", provider.url) as voice:
        provider.hold.clear()
        task = asyncio.create_task(spoken(voice))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    late, gone = capture_tts.syntheses()
    assert (late.outcome, late["error.type"]) == ("partial", "timeout")
    assert (gone.outcome, gone["tts.cancel.reason"]) == ("cancelled", "caller")


async def test_inside_a_request_of_the_application(
    provider: SpeechSockets, observe: Observe, capture_tts: Capture, price: Callable[[str], None]
) -> None:
    """In an open Synthesis a stream is its attempt, priced as the provider's; its end is the application's."""
    price("cartesia")
    observe(LiveKitInstrumentor)
    tts_telemetry = capture_tts.telemetry(prices={"cartesia": 4.0})
    async with plugin("cartesia", provider.url) as voice:
        async with tts_telemetry.synthesis(TEXT, stream=True, conversation="call 1"):
            await spoken(voice)
        await spoken(voice)
    inside, alone = capture_tts.syntheses()
    assert [(s.outcome, len(s.attempts)) for s in (inside, alone)] == [("ok", 1), ("ok", 1)]
    assert inside["gen_ai.conversation.id"] == "call 1"
    assert inside["tts.usage.cost"] == alone["tts.usage.cost"] == pytest.approx(4e-6 * len(TEXT))


@pytest.mark.parametrize(("words", "outcomes"), [(WORDS, {"empty"}), (["... ", "!"], {"rejected"}), ([], set())])
async def test_an_agents_turn_without_audio(
    words: Sequence[str], outcomes: set[str], provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """Words of which the provider makes no audio are a failure of it; a turn without words is none, and without any text no request."""
    observe(LiveKitInstrumentor)
    provider.mute = True
    async with plugin("cartesia", provider.url) as voice, agent(voice, words) as (session, player):
        await session.generate_reply(user_input="Hello?")
    assert player.segments == []
    assert {synthesis.outcome for synthesis in capture_tts.syntheses()} == outcomes
    assert {attempt.outcome for synthesis in capture_tts.syntheses() for attempt in synthesis.attempts} == outcomes


@sockets
async def test_an_agent_that_is_interrupted(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """An AgentSession: a reply to its end, and one that the listener interrupts, with what was made, handed out and heard of each."""
    observe(LiveKitInstrumentor)
    tracer_parents = ("tts_request", "tts_node", "agent_turn")
    tts_telemetry = capture_tts.telemetry()
    async with plugin(name, provider.url) as voice:
        with tts_telemetry.conversation("call 7"):
            async with agent(voice, WORDS) as (session, player):
                await session.generate_reply(user_input="Hello?")
                provider.hold.clear()
                player.captured.clear()
                reply = session.generate_reply(user_input="Go on.")
                await player.captured.wait()
                reply.interrupt()
                provider.hold.set()
                await reply
    whole, cut = capture_tts.synthesis(outcome="ok"), capture_tts.synthesis(outcome="cancelled")
    assert whole["tts.text.length"] == len("".join(WORDS))
    assert whole["tts.audio.delivered_duration"] == pytest.approx(player.segments[0], abs=0.05)
    assert whole["tts.audio.heard_duration"] == pytest.approx(player.positions[0], abs=0.001)
    assert cut["tts.cancel.reason"] == "interrupted"
    assert cut["tts.audio.heard_duration"] == pytest.approx(player.positions[1], abs=0.001)
    assert cut["tts.audio.heard_duration"] <= cut["tts.audio.delivered_duration"] <= cut["tts.audio.duration"] + 0.02
    assert 0 <= cut["tts.time_to_silence"] < 2
    assert capture_tts.total("tts.synthesis.characters", {"tts.characters.state": "wasted"}) > 0
    assert {s["gen_ai.conversation.id"] for s in (whole, cut)} == {"call 7"}
    by_id = {span.context.span_id: span for span in capture_tts.spans if span.context is not None}
    names = []
    span: Any = cut.span
    while span is not None and span.parent is not None:
        span = by_id.get(span.parent.span_id)
        names.append(span.name if span is not None else "")
    assert names[: len(tracer_parents)] == list(tracer_parents)
