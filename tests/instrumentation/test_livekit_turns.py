"""Turns of LiveKit's agents that chance interrupts and breaks, beside what their providers and their player recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from otel_tts.instrumentation.asgi import enclosed
from otel_tts.instrumentation.livekit import LiveKitInstrumentor
from otel_tts.testing.capture import Capture
from otel_tts.testing.views import SynthesisView
from tests.instrumentation.conftest import Observe
from tests.instrumentation.virtual_time import VirtualLoop, virtual_time

pytest.importorskip("livekit.agents", reason="it needs the extra `vendors`")

from livekit.agents import Agent, AgentSession, APIConnectOptions, APIStatusError, tokenize, tts
from livekit.agents.voice.agent_session import SessionConnectOptions

from tests.instrumentation.livekit_agent import Script
from tests.instrumentation.livekit_voices import PATIENCE_S, PRICES, Call, Player, Studio, Voice, note_recoveries

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
SENTENCES = (
    "Hello there, my friend. ",
    "This is a sentence. ",
    "And one more of them, which is longer. ",
    "Yes. ",
    "The weather is fine today. ",
)
MOMENTS = ("never", "never", "before audio", "in the middle", "in the last frame", "twice", "by a close", "at any time")
KINDS = ("streamed", "whole", "adapted", "fallback", "fallback of whole", "fallback of both")
FRAME_S = 0.25
"""What LiveKit may hold back while it fills a frame, and its silence at an end."""


@dataclass
class Turn:
    """A turn, as the agent's surroundings saw it."""

    calls: list[Call]
    frames: list[tuple[float, float]]
    positions_s: list[float]
    """What the player had reported when LiveKit called the turn done."""
    interrupted: bool
    text: str
    began_s: float
    """When its first text came."""
    views: list[SynthesisView]

    @property
    def captured_s(self) -> float:
        """Audio that the player got."""
        return sum(seconds for _, seconds in self.frames)

    @property
    def shortfall_s(self) -> float:
        """The worst one that the player met."""
        worst_s = played_s = 0.0
        for at_s, seconds in self.frames:
            worst_s = max(worst_s, at_s - self.frames[0][0] - played_s)
            played_s += seconds
        return worst_s


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualLoop]:
    """Time that passes at once."""
    with virtual_time(monkeypatch) as loop:
        yield loop


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Prices, a record of recoveries, and nothing in the log of what is broken on purpose."""
    file = tmp_path / "prices.toml"
    file.write_text("".join(f"[{name}]\nusd_per_million_characters = {price}\n" for name, price in PRICES.items()))
    monkeypatch.setenv("OTEL_TTS_PRICES", str(file))
    note_recoveries(monkeypatch)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def voice_of(kind: str, studio: Studio) -> tts.TTS[Any]:
    """What an agent speaks with."""
    alpha, beta = (Voice(studio, name, streams=True) for name in ("alpha", "beta"))
    gamma, delta = (Voice(studio, name, streams=False) for name in ("gamma", "alpha"))
    retries = studio.random.choice([0, 1])
    voices: dict[str, Any] = {
        "streamed": lambda: alpha,
        "whole": lambda: gamma,
        "adapted": lambda: tts.StreamAdapter(tts=gamma, sentence_tokenizer=tokenize.basic.SentenceTokenizer()),
        "fallback": lambda: tts.FallbackAdapter([alpha, beta], max_retry_per_tts=retries),
        "fallback of whole": lambda: tts.FallbackAdapter([gamma, delta], max_retry_per_tts=retries),
        "fallback of both": lambda: tts.FallbackAdapter([gamma, alpha], max_retry_per_tts=retries),
    }
    made: tts.TTS[Any] = voices[kind]()
    return made


async def interrupt(moment: str, chance: Random, session: Any, reply: Any, player: Player) -> None:
    """Cut the reply off at this moment."""
    loop = asyncio.get_running_loop()
    if moment == "before audio":
        await asyncio.sleep(chance.choice([0.0, 0.005, 0.03, 0.3]))
    elif moment == "at any time":
        await asyncio.sleep(chance.random() * 6)
    elif moment == "in the last frame":
        await player.complete.wait()
        await asyncio.sleep(max(0.0, player.end_s - loop.time() - chance.choice([0.0, 0.001, 0.02])))
    else:
        await player.begun.wait()
        await asyncio.sleep(chance.random() * 2)
    if moment == "by a close":
        await session.aclose()
        return
    for _ in range(2 if moment == "twice" else 1):
        reply.interrupt()
        await asyncio.sleep(0.01)


async def pieces(script: Script) -> AsyncIterator[str]:
    """Its words, as an application hands them on."""
    for word in list(script.words):
        await asyncio.sleep(script.pause_s)
        yield word


def session_of(script: Script, voice: Any, player: Player, retries: int) -> Any:
    """A session that speaks what the script says to the player, and asks for each sentence so many times more."""
    patience = APIConnectOptions(max_retry=retries, retry_interval=0.2, timeout=5)
    session: Any = AgentSession(
        llm=script,
        tts=voice,
        turn_handling={"interruption": {"resume_false_interruption": False}},
        conn_options=SessionConnectOptions(tts_conn_options=patience, max_unrecoverable_errors=100),
    )
    session.output.audio = player
    return session


async def turns_of(kind: str, chance: Random, capture: Capture) -> list[Turn]:
    """The turns of one session."""
    loop, studio = asyncio.get_running_loop(), Studio(chance)
    voice, player, script = voice_of(kind, studio), Player(), Script([])
    session = session_of(script, voice, player, chance.choice([0, 1, 2]))
    await session.start(Agent(instructions="Answer."))
    turns: list[Turn] = []
    moment = ""
    while len(turns) < 4 and moment != "by a close":
        text = "".join(chance.sample(SENTENCES, chance.randrange(1, 5)))
        script.words, script.pause_s = [f"{word} " for word in text.split()], chance.choice([0.0, 0.01, 0.1, 0.5])

        calls, frames, played, views = len(studio.calls), len(player.frames), len(player.positions_s), len(capture.syntheses())
        player.begun.clear()
        player.complete.clear()
        began_s = loop.time()
        way, moment = chance.choice(["reply", "text", "pieces"]), chance.choice(MOMENTS)
        spoken: Any = text if way == "text" else pieces(script)
        reply = session.generate_reply(user_input="Hello?") if way == "reply" else session.say(spoken)
        listener = asyncio.create_task(interrupt(moment, chance, session, reply, player)) if moment != "never" else None
        await reply.wait_for_playout()
        reported = player.positions_s[played:]
        if listener is not None:
            if moment != "by a close" or not player.begun.is_set():
                listener.cancel()
            await asyncio.wait([listener])
        player.clear_buffer()
        await asyncio.sleep(0.05)
        began_s += 0.0 if way == "text" else script.pause_s
        turns.append(
            Turn(
                studio.calls[calls:],
                player.frames[frames:],
                reported,
                reply.interrupted,
                text,
                began_s,
                capture.syntheses()[views:],
            )
        )
    await asyncio.sleep(10)  # adapters try whether their providers work again
    await session.aclose()
    await voice.aclose()
    return turns


def differs(what: str, recorded: float | None, true: float, slack: float = 0.0015) -> Iterator[str]:
    """A figure that is not as it was."""
    if abs((recorded or 0.0) - true) > slack:
        yield f"{what}: {recorded} for {true}"


def differences(turn: Turn) -> Iterator[str]:
    """What is not as it was."""
    calls = [call for call in turn.calls if not call.recovery]
    if not turn.views and not calls and not turn.frames:
        return  # cut off before anything was to be spoken
    if len(turn.views) != 1:
        yield f"{len(turn.views)} requests"
        return
    yield from how_it_ended(turn.views[0], turn, calls)
    yield from what_was_asked(turn.views[0], calls)
    yield from when_it_came(turn.views[0], turn)


def how_it_ended(view: SynthesisView, turn: Turn, calls: list[Call]) -> Iterator[str]:
    """Its outcome, and what was handed out and heard."""
    if turn.interrupted:
        if (view.outcome, view["tts.cancel.reason"]) != ("cancelled", "interrupted"):
            yield f"interrupted, but {view.outcome}"
        if view["tts.audio.delivered_duration"] < turn.captured_s - 0.0015:
            yield "more captured than handed out"
    else:
        yield from differs("handed out", view["tts.audio.delivered_duration"], turn.captured_s)
        if not (calls and calls[-1].whole if view.outcome == "ok" else not all(call.whole for call in calls)):
            yield f"outcome {view.outcome}"
    if turn.positions_s:
        yield from differs("heard", view["tts.audio.heard_duration"], sum(turn.positions_s))


def what_was_asked(view: SynthesisView, calls: list[Call]) -> Iterator[str]:
    """Of whom, what came of it, and its price."""
    attempts = [a for a in view.attempts if calls or a.outcome != "cancelled"]  # cut off before its provider got a sentence
    if [a.provider for a in attempts] != [call.provider for call in calls]:
        yield f"providers {[a.provider for a in view.attempts]}"
        return
    for attempt, call in zip(attempts, calls, strict=True):
        yield from differs("made by an attempt", attempt["tts.audio.duration"], call.made_s)
        if (attempt.outcome == "ok") != call.whole:
            yield f"attempt {attempt.outcome} for {call}"
    # Of a call that failed, LiveKit may drop all audio that it had not handed out, up to a frame.
    dropped_s = sum(call.made_s for call in calls if not call.whole and call.made_s <= FRAME_S)
    yield from differs("made", view["tts.audio.duration"], sum(call.made_s for call in calls), dropped_s + 0.0015)
    yield from differs(
        "cost", view["tts.usage.cost"], sum(PRICES[c.provider] * 1e-6 * len(c.text) for c in calls if c.made_s), 1e-9
    )


def when_it_came(view: SynthesisView, turn: Turn) -> Iterator[str]:
    """The first of it, and the gaps."""
    if turn.frames:
        yield from differs("first byte", view.first_byte, turn.frames[0][0] - turn.began_s, 0.002)
        yield from differs("underrun", view["tts.stream.underrun"], turn.shortfall_s, 0.002)
    if view.outcome == "ok" and view["tts.text.length"] != len(turn.text):
        yield f"{view['tts.text.length']} characters of {len(turn.text)}"


@pytest.mark.parametrize("kind", KINDS)
def test_each_turn_is_as_it_was(kind: str, loop: VirtualLoop, observe: Observe, capture_tts: Capture) -> None:
    """Requests, outcome, attempts, audio made, handed out and heard, gaps, first audio and cost, on spans and in the metrics."""
    observe(LiveKitInstrumentor)
    turns: list[Turn] = []
    for seed in range(6):
        turns += loop.run_until_complete(asyncio.wait_for(turns_of(kind, Random(f"{kind} {seed}"), capture_tts), 3000))
    assert len(turns) > 10
    assert [(wrong, turn.calls) for turn in turns if (wrong := list(differences(turn)))] == []
    views = capture_tts.syntheses()
    assert len({view.outcome for view in views}) > 1
    for total, of_views in (
        (capture_tts.total("tts.synthesis.duration"), len(views)),
        (capture_tts.total("tts.attempt.duration"), sum(len(view.attempts) for view in views)),
        (capture_tts.total("tts.usage.cost"), sum(view["tts.usage.cost"] or 0.0 for view in views)),
        (
            capture_tts.total("tts.synthesis.audio", {"tts.audio.state": "heard"}),
            sum(view["tts.audio.heard_duration"] or 0.0 for view in views),
        ),
    ):
        assert total == pytest.approx(of_views)


@pytest.mark.parametrize("late", ["audio", "text"])
def test_who_left_the_player_short(late: str, loop: VirtualLoop, observe: Observe, capture_tts: Capture) -> None:
    """A provider that falls silent until its voice gives it up; text that comes late, which is neither its doing nor the player's."""
    observe(LiveKitInstrumentor)
    voice = Voice(Studio(Random(2115), faults=("stalls",) if late == "audio" else ("",)), "alpha", streams=late == "text")

    async def push(stream: Any) -> None:
        stream.push_text(SENTENCES[1])
        await asyncio.sleep(PATIENCE_S)
        stream.push_text(SENTENCES[1])
        stream.end_input()

    async def read(stream: Any) -> None:
        async for _ in stream:
            pass

    async def spoken() -> None:
        if late == "audio":  # the adapter hands on what it had
            async with tts.FallbackAdapter([voice], max_retry_per_tts=0).synthesize(SENTENCES[2]) as stream:
                await read(stream)
        else:
            async with voice.stream() as stream:
                await asyncio.gather(push(stream), read(stream))

    loop.run_until_complete(spoken())
    view = capture_tts.synthesis(outcome="ok" if late == "text" else "partial")
    assert view["tts.stream.underrun"] > 1
    assert view["tts.underrun.provider"] == pytest.approx(view["tts.stream.underrun"] if late == "audio" else 0.0, abs=0.5)
    assert view["tts.underrun.consumer"] < FRAME_S


@pytest.mark.parametrize("then", ["alpha", "beta"])
@pytest.mark.parametrize("fault", ["refused", "hangs"])
def test_a_text_that_is_asked_for_once_more(
    fault: str, then: str, loop: VirtualLoop, observe: Observe, capture_tts: Capture
) -> None:
    """In one HTTP request, a text that a call failed to speak, or that a time limit gave up, is one request with the call that spoke it."""
    observe(LiveKitInstrumentor)
    once = APIConnectOptions(max_retry=0, timeout=100.0)

    async def speak(provider: str, fault: str, text: str) -> None:
        voice = Voice(Studio(Random(2115), faults=(fault,)), provider, streams=False)
        with suppress(APIStatusError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S / 2), voice.synthesize(text, conn_options=once) as stream:
                async for _ in stream:
                    pass

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await speak("alpha", fault, SENTENCES[0])
        await speak("gamma", "", SENTENCES[1])
        await speak(then, "", SENTENCES[0])
        await send({"type": "http.response.start", "status": 200})

    async def nothing(*_: Any) -> Any:
        return {}

    loop.run_until_complete(enclosed(application)({"type": "http", "method": "POST"}, nothing, nothing))
    attempts = [[(a.provider, a.reason, a.error_type) for a in synthesis.attempts] for synthesis in capture_tts.syntheses()]
    again = (then, "retry" if then == "alpha" else "fallback", None)
    failed = ("alpha", "initial", "unavailable" if fault == "refused" else "timeout")
    assert sorted(attempts) == [[failed, again], [("gamma", "initial", None)]]
    assert {synthesis.outcome for synthesis in capture_tts.syntheses()} == {"ok"}
    in_pieces = ("tts.time_to_first_text", "tts.time_to_first_segment", "tts.text.wait")
    assert [synthesis[name] for synthesis in capture_tts.syntheses() for name in in_pieces] == [None] * 6
    assert capture_tts.total("tts.synthesis.characters") == len(SENTENCES[0]) + len(SENTENCES[1])
    assert capture_tts.total("tts.provider.fallbacks") == (then == "beta")
