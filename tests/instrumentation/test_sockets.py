"""Speech over WebSockets with the vendors' SDKs, against a local server of their protocols with a real engine."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import PCM16, ALaw, Encoded, MuLaw, PCMFloat32
from otel_tts.instrumentation.elevenlabs import ElevenLabsInstrumentor
from otel_tts.instrumentation.sockets.conversation import Conversation
from otel_tts.instrumentation.sockets.websockets import WebSocketsInstrumentor, protocol_of
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe
from tests.instrumentation.socket_clients import CLIENTS, RATE, Client
from tests.instrumentation.speech_sockets import SpeechSockets

pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning"),  # Deepgram's SDK uses its legacy client,
    pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning"),  # ElevenLabs' an old name,
    pytest.mark.filterwarnings(r"ignore:connect\(\):DeprecationWarning"),  # and Cartesia's an old way of connecting
]

_CARTESIA: dict[str, Any] = {
    "context_id": "a", "continue": True, "voice": {"id": "v"}, "model_id": "m",
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
}  # fmt: skip
PIECES = ("Good morning. ", "How are ", "you today?")
TEXT = "".join(PIECES)


def seconds(audio: bytes) -> float:
    """Its length."""
    return len(audio) / 2 / RATE


def clients(*without: str) -> Any:
    """The clients of a test."""
    return pytest.mark.parametrize("name", [name for name in CLIENTS if name not in without])


def asked(client: type[Client]) -> dict[str, Any]:
    """What is asked for, as attributes."""
    return {"gen_ai.provider.name": client.provider, "gen_ai.request.model": client.model, "tts.voice": client.voice}


@clients()
def test_two_utterances_on_one_connection(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """Each is a request of its own with its own clock; the host gets what the server sent; opening the connection is counted once."""
    observe(WebSocketsInstrumentor)
    kind = CLIENTS[name]
    audio_received = []
    with kind(provider.url) as client:
        for _ in range(2):
            client.say(PIECES)
            audio_received.append(client.all())
    syntheses = capture_tts.syntheses(outcome="ok")
    assert len(capture_tts.syntheses()) == len(syntheses) == 2
    for synthesis, audio in zip(syntheses, audio_received, strict=True):
        assert audio in provider.audio.values()
        assert {key: synthesis[key] for key in asked(kind)} == asked(kind)
        assert synthesis["tts.audio.duration"] == synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio))
        assert synthesis["tts.text.length"] in (len(TEXT), len(TEXT) + 1)
        assert 0 < (synthesis.first_byte or 0) < 30
        assert 0 <= synthesis["tts.time_to_first_segment"] < 30
        assert 0 < synthesis["tts.real_time_factor"] < 20
    assert [synthesis.attempts[0]["tts.connection.reused"] for synthesis in syntheses] == [False, True]
    opened = [span for span in capture_tts.spans if span.name == "tts.connect"]
    assert [dict(span.attributes or {}) for span in opened] == [{"gen_ai.provider.name": kind.provider}]
    assert capture_tts.total("tts.connection.uses") == 2


@clients()
@pytest.mark.parametrize(("text", "outcome"), [(PIECES, "empty"), (("... ", "!"), "rejected")])
def test_an_utterance_without_audio(
    name: str, text: tuple[str, ...], outcome: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """A provider that ends without a sample has failed if there were words to speak; without any, nobody has."""
    observe(WebSocketsInstrumentor)
    provider.mute = True
    with CLIENTS[name](provider.url) as client:
        client.say(text)
        assert client.all() == b""
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, [attempt.outcome for attempt in synthesis.attempts]) == (outcome, [outcome])


@clients("elevenlabs multi-context", "elevenlabs dialogue")
def test_an_interruption(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """The provider is told to stop: cancelled, because the listener interrupted, with what had been made; the next one is whole."""
    observe(WebSocketsInstrumentor)
    with CLIENTS[name](provider.url) as client:
        provider.hold.clear()
        client.say(PIECES)
        first = client.take()
        assert first
        client.interrupt()
        provider.hold.set()
        if name != "cartesia async":  # which drops what comes for a context that was cancelled
            first += client.all()
        client.say(("A new one.",))
        second = client.all()
    cancelled, whole = capture_tts.synthesis(outcome="cancelled"), capture_tts.synthesis(outcome="ok")
    assert (cancelled["tts.cancel.reason"], cancelled.attempts[0]["tts.cancel.reason"]) == ("interrupted", "interrupted")
    assert cancelled["tts.audio.delivered_duration"] == pytest.approx(seconds(first))
    assert cancelled["tts.time_to_interruption"] >= cancelled.first_byte
    assert cancelled["tts.time_to_silence"] >= 0.0
    assert whole["tts.audio.delivered_duration"] == pytest.approx(seconds(second))
    assert capture_tts.total("tts.synthesis.time_to_silence") == 1


@pytest.mark.parametrize(("fault", "error_type"), [("error", "server_error"), ("lost", "connection"), ("closed", "connection")])
@clients()
def test_what_breaks_in_the_middle(
    name: str, fault: str, error_type: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """An error of the server, a lost connection, and a close without an end: partial, and the host sees what it would see."""
    kind = CLIENTS[name]

    def speak() -> tuple[bytes, str]:
        audio, ended = b"", "end"
        try:
            with kind(provider.url) as client:
                provider.fault = fault
                client.say(PIECES)
                while (piece := client.take()) is not None:
                    audio += piece
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises
            ended = type(error).__name__
        return audio, ended

    plain = speak() if "async" not in name or fault == "error" else None
    observe(WebSocketsInstrumentor)
    if plain is None:
        # Cartesia's client waits forever when its connection is lost: only a timeout of the host's ends that.
        with kind(provider.url) as client:
            provider.fault = fault
            client.say(PIECES)
            audio = client.take() or b""
            with pytest.raises((TimeoutError, Exception)):
                client.run(_within(client, 0.5))  # type: ignore[attr-defined]  # it runs in a loop
    else:
        audio, ended = speak()
        assert (audio, ended) == plain
    gc.collect()
    synthesis = capture_tts.synthesis(outcome="partial")
    assert (synthesis["error.type"], synthesis.attempts[0].outcome) == (error_type, "partial")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(audio))


async def _within(client: Any, seconds: float) -> None:
    receive = client.events.__anext__ if hasattr(client, "events") else client.connection.recv
    await asyncio.wait_for(receive(), seconds)
    raise AssertionError("There was more.")


@pytest.mark.parametrize("how", ["refused", "forbidden"])
@clients()
def test_a_connection_that_cannot_be_opened(
    name: str, how: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """The host gets the same exception; how long it took and why stand in the connections, and there was no utterance."""
    kind = CLIENTS[name]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"ws://127.0.0.1:{listener.getsockname()[1]}"
    url = closed if how == "refused" else provider.url
    provider.refuse = how == "forbidden"

    def opened() -> type[BaseException]:
        try:
            with kind(url):
                return AssertionError
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises
            return type(error)

    plain = opened()
    observe(WebSocketsInstrumentor)
    assert opened() is plain is not AssertionError
    error_type = {"refused": "connection", "forbidden": "unauthorized"}[how]
    assert capture_tts.syntheses() == []
    assert (
        capture_tts.total("tts.connection.open.duration", {"gen_ai.provider.name": kind.provider, "error.type": error_type}) == 1
    )


@clients()
def test_a_host_that_leaves(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """It closes the connection with an utterance under way: cancelled, by the caller, with what it had got."""
    observe(WebSocketsInstrumentor)
    with CLIENTS[name](provider.url) as client:
        provider.hold.clear()
        client.say(PIECES)
        first = client.take()
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.cancel.reason"] == "caller"
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(first or b""))


@clients()
def test_inside_a_request_of_the_application(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """An utterance inside an open Synthesis is its attempt; inside an attempt of the application it is nothing more."""
    observe(WebSocketsInstrumentor)
    tts = capture_tts.telemetry()
    with CLIENTS[name](provider.url) as client:
        with tts.synthesis(TEXT, stream=True, conversation="call 1"):
            client.say(PIECES)
            client.all()
        with tts.synthesis(TEXT) as s, s.attempt("mine"):
            client.say(PIECES)
            client.all()
    first, second = capture_tts.syntheses()
    assert first["tts.text.length"] == len(TEXT)
    assert (first["gen_ai.conversation.id"], [a.provider for a in first.attempts]) == ("call 1", [CLIENTS[name].provider])
    assert [a.provider for a in second.attempts] == ["mine"]


@pytest.mark.parametrize("name", [name for name in CLIENTS if "async" in name])
def test_patience_is_no_end(name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """A host whose patience is at its end, or whose task is cancelled, gets its exception; the rest of the audio still comes."""
    observe(WebSocketsInstrumentor)
    with CLIENTS[name](provider.url) as client:
        provider.hold.clear()
        client.say(PIECES)
        first = client.take() or b""
        receive = client.connection.recv  # type: ignore[attr-defined]  # of both SDKs
        if name.startswith("deepgram"):  # Cartesia's own task receives, and is not cancelled with its caller
            with pytest.raises(TimeoutError):
                client.run(asyncio.wait_for(receive(), 0.05))  # type: ignore[attr-defined]
        provider.hold.set()
        rest = client.all()
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds(first + rest))


@clients()
def test_a_price(
    name: str, provider: SpeechSockets, observe: Observe, capture_tts: Capture, price: Callable[[str], None]
) -> None:
    """What the provider's characters cost, and of what was cut off, what nobody heard of it."""
    price(CLIENTS[name].provider)
    observe(WebSocketsInstrumentor)
    with CLIENTS[name](provider.url) as client:
        client.say(PIECES)
        client.all()
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.usage.cost"] == pytest.approx(4e-6 * synthesis["tts.text.length"])
    assert capture_tts.total("tts.usage.cost_wasted") == 0


def test_which_audio_is_read() -> None:
    """Raw samples of every kind that the three protocols have; what is compressed has a name and no length."""

    def first(address: str, message: str) -> Any:
        protocol = protocol_of(address)
        assert protocol is not None
        return next(iter(protocol.sent(message))).asked.audio  # type: ignore[union-attr]  # it is text

    speak, eleven = '{"type": "Speak", "text": "Hi."}', '{"text": "Hi.", "context_id": "a"}'
    assert first("ws://host/v1/speak?encoding=mulaw&sample_rate=8000", speak) == MuLaw(8000)
    assert first("ws://host/v1/speak?encoding=alaw", speak) == ALaw(8000)
    assert first("ws://host/v1/speak", speak) == PCM16(24000)
    assert first("ws://host/v2/speak?model=flux-alexis-en&sample_rate=48000", speak) == PCM16(48000)
    assert first("ws://host/v2/speak?model=flux-alexis-en&encoding=mulaw&sample_rate=16000", speak) == MuLaw(16000)
    assert first("ws://host/v2/speak?model=flux-alexis-en", speak) == Encoded("linear16"), (
        "the model's own rate, which nobody says"
    )
    line = '{"voices": ["a"], "inputs": [{"text": "Hi.", "voice_id": "a"}]}'
    assert first("wss://host/v1/text-to-dialogue/stream-input?output_format=pcm_16000", line) == PCM16(16000)
    for path in ("stream-input", "multi-stream-input"):
        assert first(f"wss://host/v1/text-to-speech/v/{path}?output_format=ulaw_8000", eleven) == MuLaw(8000)
        assert first(f"wss://host/v1/text-to-speech/v/{path}?output_format=pcm_16000", eleven) == PCM16(16000)
        assert first(f"wss://host/v1/text-to-speech/v/{path}", eleven) == Encoded("mp3", 44100)
    for encoding, expected in {"pcm_f32le": PCMFloat32(44100), "pcm_s16le": PCM16(44100), "pcm_mulaw": MuLaw(44100)}.items():
        asked = {"container": "raw", "encoding": encoding, "sample_rate": 44100}
        message = {"context_id": "a", "transcript": "Hi.", "voice": {"id": "v"}, "model_id": "m", "output_format": asked}
        assert first("wss://host/tts/websocket?cartesia_version=1", json.dumps(message)) == expected


_SAMPLES = base64.b64encode(bytes(24_000)).decode()


@pytest.mark.parametrize(
    ("address", "text", "flush", "audio", "end"),
    [
        ("/v1/text-to-speech/v/stream-input?output_format=pcm_24000", {"text": "Hi. "}, {"text": "Ho. ", "flush": True},
         {"audio": _SAMPLES}, {"isFinal": True}),
        ("/v1/text-to-speech/v/multi-stream-input?output_format=pcm_24000", {"text": "Hi. ", "context_id": "a"},
         {"text": "Ho. ", "context_id": "a", "flush": True}, {"audio": _SAMPLES, "contextId": "a"}, {"isFinal": True, "contextId": "a"}),
        ("/v1/text-to-dialogue/stream-input?output_format=pcm_24000", {"voices": ["a"], "inputs": [{"text": "Hi. ", "voice_id": "a"}]},
         {"inputs": [{"text": "Ho. ", "voice_id": "a", "new_turn": True}], "flush": True}, {"audio": _SAMPLES}, {"is_final": True}),
        ("/tts/websocket", _CARTESIA | {"transcript": "Hi. "}, _CARTESIA | {"transcript": "Ho. ", "flush": True},
         {"type": "chunk", "data": _SAMPLES, "context_id": "a"}, {"type": "done", "context_id": "a"}),
    ],
)  # fmt: skip
def test_a_flush(
    capture_tts: Capture, address: str, text: dict[str, Any], flush: dict[str, Any], audio: dict[str, Any], end: dict[str, Any]
) -> None:
    """A flush in the middle is no end: what comes before and after it is one request. Only Deepgram's ends an utterance."""
    protocol = protocol_of(f"wss://host{address}")
    assert protocol is not None
    conversation = Conversation(capture_tts.telemetry(), protocol)
    for message, answer in ((text, audio), (flush, audio), (text, audio)):
        conversation.sent(json.dumps(message))
        conversation.received(json.dumps(answer), None)
    conversation.received(json.dumps(end), None)
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.text.length"], synthesis["tts.audio.duration"]) == (12, pytest.approx(1.5))


# -- turns of Deepgram's Flux, and dialogues --------------------------------------------------------------------------------------

_AUDIO = bytes(24_000)  # half a second


class Turns:
    """A conversation in messages of ``/v2/speak``, with what the SDK has types for."""

    def __init__(self, capture: Capture) -> None:
        protocol = protocol_of("wss://host/v2/speak?model=flux-alexis-en&sample_rate=24000")
        assert protocol is not None
        self._conversation, self._capture = Conversation(capture.telemetry(), protocol), capture

    def send(self, *texts: str, **message: Any) -> None:
        """Texts, then a message."""
        for text in texts:
            self._conversation.sent(json.dumps({"type": "Speak", "text": text}))
        if message:
            self._conversation.sent(json.dumps(message))

    def receive(self, kind: str, **message: Any) -> None:
        """A message of the provider."""
        self._conversation.received(json.dumps({"type": kind, **message}), None)

    def audio(self) -> None:
        """Half a second of it."""
        self._conversation.received(_AUDIO, None)

    def end(self, number: int) -> None:
        """A turn is over."""
        self.receive("SpeechMetadata", speech_id=f"dg_sp_{number}")

    def interrupted(self, number: int) -> None:
        """A turn was cut off."""
        self.receive("SpeechInterrupted", audio_played_ms=0, metadata={"speech_id": f"dg_sp_{number}"})

    @property
    def outcomes(self) -> list[tuple[str, int, float]]:
        """Of each request the outcome, its characters and its seconds of audio."""
        return [(s.outcome, s["tts.text.length"], s["tts.audio.duration"] or 0.0) for s in self._capture.syntheses()]


def test_turns_that_wait(capture_tts: Capture) -> None:
    """Two turns are asked for at once: each has its own audio. That a turn's text has come (`Flushed`) is not its end."""
    turns = Turns(capture_tts)
    for text in ("One. ", "Two, three. "):
        turns.send(text, type="Flush")
    turns.send(type="Flush")  # without text it is of no turn
    for number in (1, 2):
        turns.receive("SpeechStarted", speech_id=f"dg_sp_{number}")
        turns.receive("Flushed", speech_id=f"dg_sp_{number}")
        for _ in range(number):
            turns.audio()
        turns.end(number)
    assert turns.outcomes == [("ok", 5, 0.5), ("ok", 12, 1.0)]


def test_only_the_active_turn_is_interrupted(capture_tts: Capture) -> None:
    """What waits behind it is spoken; audio that was on its way is too late."""
    turns = Turns(capture_tts)
    turns.send("One. ", type="Flush")
    turns.send("Two, three. ", type="Flush")
    turns.receive("SpeechStarted", speech_id="dg_sp_1")
    turns.audio()
    turns.send(type="Interrupt")
    turns.audio()
    turns.interrupted(1)
    turns.receive("SpeechStarted", speech_id="dg_sp_2")
    turns.audio()
    turns.end(2)
    assert turns.outcomes == [("cancelled", 5, 1.0), ("ok", 12, 0.5)]


def test_an_interruption_that_comes_too_late(capture_tts: Capture) -> None:
    """The listener interrupts what has been made already: the turn is ok, and the next one is not taken for it."""
    turns = Turns(capture_tts)
    turns.send("One. ", type="Flush")
    turns.receive("SpeechStarted", speech_id="dg_sp_1")
    turns.audio()
    turns.end(1)
    turns.send(type="Interrupt")
    turns.send("Two, three. ", type="Flush")
    turns.interrupted(1)
    turns.audio()
    turns.end(2)
    assert turns.outcomes == [("ok", 5, 0.5), ("ok", 12, 0.5)]


@pytest.mark.parametrize("spoken", [False, True])
def test_an_interruption_that_is_ignored(spoken: bool, capture_tts: Capture) -> None:
    """Before the first audio there is nothing to interrupt, says Flux, and goes on: no turn stays open, no audio is lost."""
    turns = Turns(capture_tts)
    turns.send("One. ", type="Interrupt")
    if spoken:
        turns.send("Two, three. ")
    turns.receive("Warning", code="NO_AUDIO_GENERATED", description="")
    turns.send("Four. ", type="Flush")
    turns.receive("SpeechStarted", speech_id="dg_sp_1")
    turns.audio()
    turns.end(1)
    turns.send("Five. ", type="Flush")
    turns.audio()
    turns.end(2)
    first = [("cancelled", 5, 0.0), ("ok", 18, 0.5)] if spoken else [("cancelled", 11, 0.5)]
    assert turns.outcomes == [*first, ("ok", 6, 0.5)]


@pytest.mark.parametrize(
    ("code", "error_type"), [("DATA-0002", "invalid_input"), ("NET-0001", "server_error"), (None, "server_error")]
)
def test_errors_of_flux(code: str | None, error_type: str, capture_tts: Capture) -> None:
    """Its code says whether the caller's message was wrong."""
    turns = Turns(capture_tts)
    turns.send("One. ")
    turns.receive("Error", code=code, description="")
    assert capture_tts.synthesis().attempts[0]["error.type"] == error_type


def test_a_turn_that_is_ended_by_closing(provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """The host closes Flux's connection instead of a flush: the provider still speaks what it has, and the turn is whole."""
    observe(WebSocketsInstrumentor)
    with CLIENTS["deepgram flux"](provider.url) as client:
        connection = client.connection  # type: ignore[attr-defined]  # of the SDK
        connection.send_speak(client.types.SpeakV2Speak(text="Good morning. "))  # type: ignore[attr-defined]
        connection.send_close()
        audio = client.all()
    assert capture_tts.synthesis(outcome="ok")["tts.audio.duration"] == pytest.approx(seconds(audio))
    assert audio


def test_a_dialogue_on_a_connection_of_its_own(provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """Lines of two voices are one request, without a voice; the end of a turn is not its end."""
    from websockets.sync.client import connect

    observe(WebSocketsInstrumentor)
    audio = b""
    with connect(f"{provider.url}/v1/text-to-dialogue/stream-input?model_id=eleven_v3&output_format=pcm_24000") as socket:
        for message in (
            {"voices": ["a", "b"]},
            {"inputs": [{"text": "Good morning. ", "voice_id": "a"}]},
            {"keep_alive": True},
            {"inputs": [{"text": "How are you today?", "voice_id": "b", "new_turn": True}]},
            {"close_socket": True},
        ):
            socket.send(json.dumps(message))
        turns = 0
        while not (reply := json.loads(socket.recv())).get("is_final"):
            audio += base64.b64decode(reply.get("audio") or "")
            turns += bool(reply.get("is_final_audio_for_turn"))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert turns == 1
    assert (synthesis["tts.text.length"], synthesis["tts.voice"]) == (len("Good morning. How are you today?"), None)
    assert (synthesis.attempts[0].provider, synthesis["gen_ai.request.model"]) == ("elevenlabs", "eleven_v3")
    assert synthesis["tts.audio.duration"] == pytest.approx(seconds(audio))


# -- ElevenLabs' own client for one utterance -------------------------------------------------------------------------------------


def realtime(url: str, pieces: Iterable[str]) -> Iterator[bytes]:
    """``text_to_speech.convert_realtime``."""
    from elevenlabs import ElevenLabs

    client = ElevenLabs(api_key="none", base_url=url.replace("ws", "http"))
    client.text_to_speech._ws_base_url = url  # it takes TLS for granted
    return client.text_to_speech.convert_realtime(
        "rachel", text=iter(pieces), model_id="eleven_flash_v2_5", output_format="pcm_24000"
    )


def test_elevenlabs_realtime(provider: SpeechSockets, observe: Observe, capture_tts: Capture) -> None:
    """One request to speak from its first piece of text on; waiting for text is not the engine's time."""
    observe(ElevenLabsInstrumentor, WebSocketsInstrumentor)

    def slow() -> Iterator[str]:
        time.sleep(0.3)
        yield "Good morning. "
        time.sleep(1.5)
        yield "How are you?"

    audio = b"".join(realtime(provider.url, slow()))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.audio.duration"] == pytest.approx(seconds(audio))
    assert synthesis["tts.text.length"] == len("Good morning. How are you?")
    span = synthesis.span
    took = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    assert took >= 1.5
    assert synthesis["tts.real_time_factor"] * synthesis["tts.audio.duration"] <= took - 1.4
    assert (synthesis.attempts[0].provider, len(synthesis.attempts)) == ("elevenlabs", 1)


@pytest.mark.parametrize(
    ("fault", "outcome", "error_type"),
    [
        ("error", "partial", "connection"),  # the SDK raises the code with which the server closed the connection
        ("lost", "partial", "connection"),
        ("closed", "ok", None),  # the SDK takes it for the end
        ("refuse", "error", "unauthorized"),
        ("gone", "error", "connection"),
        ("leave", "cancelled", None),
    ],
)
def test_elevenlabs_realtime_breaks(
    fault: str, outcome: str, error_type: str | None, provider: SpeechSockets, observe: Observe, capture_tts: Capture
) -> None:
    """An error, a loss, a close without an end, a refusal, no server, a host that leaves: one request each, as the SDK ends it."""
    observe(ElevenLabsInstrumentor, WebSocketsInstrumentor)
    provider.fault, provider.refuse = fault if fault in ("error", "lost", "closed") else "", fault == "refuse"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"ws://127.0.0.1:{listener.getsockname()[1]}"
    chunks = realtime(gone if fault == "gone" else provider.url, ["Good morning. ", "How are you?"])
    if fault == "leave":
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]  # it is a generator
        gc.collect()
    elif fault == "closed":
        if not list(chunks):  # the SDK was still sending, and gives up what had come
            outcome, error_type = "empty", "no_audio"
    else:
        came: list[bytes] = []
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the SDK raises
            came.extend(chunks)
        if outcome == "partial" and not came:  # it failed while the SDK was still sending
            outcome = "error"
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, synthesis["error.type"]) == (outcome, error_type)


def test_other_sockets_are_left_alone(observe: Observe, capture_tts: Capture) -> None:
    """A WebSocket that speaks no known protocol is not looked at."""
    from threading import Thread

    from websockets.sync.client import connect
    from websockets.sync.server import serve

    observe(WebSocketsInstrumentor)
    with serve(lambda connection: connection.send(connection.recv()), "127.0.0.1", 0) as echo:
        thread = Thread(target=echo.serve_forever)
        thread.start()
        with connect(f"ws://127.0.0.1:{echo.socket.getsockname()[1]}/v2/chat") as connection:
            connection.send("Hello.")
            assert connection.recv() == "Hello."
        echo.shutdown()
        thread.join(10)
    assert capture_tts.spans == []


MESSAGES = (
    "{}", "[]", "null", '{"text": 1}', '{"text": "Hi.", "context_id": {}}', '{"audio": "!"}', '{"type": "Speak"}', '{"type": []}',
    '{"context_id": "a", "transcript": "Hi."}', '{"type": "chunk", "data": "not base64", "context_id": "a"}',
    '{"type": "Speak", "text": "Hi."}', '{"type": "Interrupt"}', '{"type": "SpeechInterrupted"}', '{"type": "SpeechMetadata"}',
    '{"type": "Warning", "code": "NO_AUDIO_GENERATED"}', '{"voices": 1, "inputs": 2}', '{"inputs": [{"text": "Hi.", "voice_id": "a"}]}',
    '{"close_socket": true}',
)  # fmt: skip
PATHS = (
    "/x/stream-input", "/v/multi-stream-input", "/tts/websocket", "/v1/speak?sample_rate=x", "/v2/speak",
    "/v1/text-to-dialogue/stream-input", "/v1/text-to-dialogue/multi-stream-input",
)  # fmt: skip


@given(
    st.lists(st.tuples(st.booleans(), st.text(max_size=40) | st.binary(max_size=40) | st.sampled_from(MESSAGES)), max_size=12),
    st.sampled_from(PATHS),
)
def test_hostile_messages(messages: list[tuple[bool, str | bytes]], path: str) -> None:
    """Whatever goes over a connection, nothing is raised in the host."""
    from otel_tts.core.guard import guard
    from otel_tts.core.telemetry import Telemetry

    strict, guard.strict = guard.strict, False
    try:
        protocol = None
        try:
            protocol = protocol_of(f"ws://host{path}")
        except ValueError:
            return
        assert protocol is not None
        conversation = Conversation(Telemetry(), protocol)
        for sent, data in messages:
            conversation.sent(data) if sent else conversation.received(data, 0)
        conversation.closed()
        conversation.lost(1006)
    finally:
        guard.strict = strict
