"""Several sessions of LiveKit's agents at once, which share one voice: each turn beside what its providers and its player recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from otel_tts import Telemetry
from otel_tts.instrumentation.livekit import LiveKitInstrumentor
from otel_tts.testing.capture import Capture
from otel_tts.testing.views import SynthesisView
from tests.instrumentation.conftest import Observe
from tests.instrumentation.virtual_time import VirtualLoop, virtual_time

pytest.importorskip("livekit.agents", reason="it needs the extra `vendors`")

from livekit.agents import Agent

from tests.instrumentation.livekit_agent import Script
from tests.instrumentation.livekit_voices import Player, Studio
from tests.instrumentation.test_livekit_turns import (
    KINDS,
    MOMENTS,
    Turn,
    differences,
    interrupt,
    pieces,
    session_of,
    surroundings,
    voice_of,
)

_ = surroundings  # a fixture
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
NAMES = ("Anna", "Bertram", "Cleo", "Dorothea", "Emil")
ENDS = ("speaks.", "is here, and says some more.", "has one word.", "says that the weather is fine today.")


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualLoop]:
    """Time that passes at once."""
    with virtual_time(monkeypatch) as loop:
        yield loop


class Listeners:
    """A task that interrupts the replies of all sessions, in the context of none of them."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[Any] = asyncio.Queue()
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            interruption, begun = await self._asked.get()
            begun.set_result(asyncio.create_task(interruption))

    async def begin(self, interruption: Any) -> asyncio.Task[None]:
        """Have it interrupt."""
        begun: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait((interruption, begun))
        return await begun


async def turns_of(name: str, voice: Any, studio: Studio, listeners: Listeners, capture: Capture) -> list[Turn]:
    """The turns of one session."""
    loop, chance = asyncio.get_running_loop(), Random(f"{name} {studio.random.random()}")
    player, script, turns = Player(), Script([]), list[Turn]()
    session = session_of(script, voice, player, chance.choice([0, 1]))

    def views() -> list[SynthesisView]:
        return [view for view in capture.syntheses() if view["app.session"] == name]

    with Telemetry.conversation(None if name == "Cleo" else f"room {name}", attributes={"app.session": name}):
        await session.start(Agent(instructions="Answer."))
        for _ in range(4):
            await asyncio.sleep(chance.random() * 3)
            text = "".join(f"{name} {end} " for end in chance.sample(ENDS, chance.randrange(1, 4)))
            script.words, script.pause_s = [f"{word} " for word in text.split()], chance.choice([0.0, 0.01, 0.1])
            calls, frames, played, before = len(studio.calls), len(player.frames), len(player.positions_s), len(views())
            player.begun.clear()
            player.complete.clear()
            began_s, way = loop.time(), chance.choice(["reply", "text", "pieces"])
            moment = chance.choice([moment for moment in MOMENTS if moment != "by a close"])
            spoken: Any = text if way == "text" else pieces(script)
            reply = session.generate_reply(user_input="Hello?") if way == "reply" else session.say(spoken)
            listener = await listeners.begin(interrupt(moment, chance, session, reply, player)) if moment != "never" else None
            await reply.wait_for_playout()
            reported = player.positions_s[played:]
            if listener is not None:
                listener.cancel()
                await asyncio.wait([listener])
            player.clear_buffer()
            await asyncio.sleep(0.05)
            began_s += 0.0 if way == "text" else script.pause_s
            its = [call for call in studio.calls[calls:] if call.text.startswith(name)]
            turns.append(Turn(its, player.frames[frames:], reported, reply.interrupted, text, began_s, views()[before:]))
        await session.aclose()
    return turns


@pytest.mark.parametrize("kind", KINDS)
def test_each_turn_of_each_session_is_as_it_was(kind: str, loop: VirtualLoop, observe: Observe, capture_tts: Capture) -> None:
    """No audio, text, heard time, attempt, cost or conversation of one session is another's, and sums are right."""
    observe(LiveKitInstrumentor)
    ended: dict[str, list[Turn]] = {}

    async def sessions(seed: int) -> None:
        studio = Studio(Random(f"{kind} {seed}"))
        voice, listeners = voice_of(kind, studio), Listeners()
        turns = await asyncio.gather(*(turns_of(name, voice, studio, listeners, capture_tts) for name in NAMES))
        for name, its in zip(NAMES, turns, strict=True):
            ended.setdefault(name, []).extend(its)
        listeners.task.cancel()
        await asyncio.sleep(10)  # adapters try whether their providers work again
        await voice.aclose()

    for seed in range(2):
        loop.run_until_complete(asyncio.wait_for(sessions(seed), 3000))
    assert [
        (wrong, name, turn.text, turn.calls)
        for name, turns in ended.items()
        for turn in turns
        if (wrong := list(differences(turn)))
    ] == []
    views = capture_tts.syntheses()
    assert len(views) == sum(len(turn.views) for turns in ended.values() for turn in turns)
    for view in views:
        name = view["app.session"]
        room = None if name == "Cleo" else f"room {name}"
        assert {room} == {view["gen_ai.conversation.id"], *(attempt["gen_ai.conversation.id"] for attempt in view.attempts)}
    assert capture_tts.total("tts.synthesis.duration") == len(views)
    assert capture_tts.total("tts.attempt.duration") == sum(len(view.attempts) for view in views)
    assert capture_tts.total("tts.usage.cost") == pytest.approx(sum(view["tts.usage.cost"] or 0.0 for view in views))
    heard_s = sum(view["tts.audio.heard_duration"] or 0.0 for view in views)
    assert capture_tts.total("tts.synthesis.audio", {"tts.audio.state": "heard"}) == pytest.approx(heard_s)
