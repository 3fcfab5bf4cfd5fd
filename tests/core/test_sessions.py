"""Several voice sessions at once in one event loop: what is recorded of each turn, beside a ledger that the surroundings kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from otel_tts import Synthesis, Telemetry
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, tone

CHUNK, CHUNK_S = tone(0.1), 0.1
PRICES = {"alpha": 10.0, "beta": 100.0, "gamma": 1000.0}
"""US dollars per million characters."""
VOICES = (("amy", "en-GB"), ("hans", "de"), ("chloé", "fr"), (None, None))
WAYS = ("attempt", "no block", "stream", "player", "worker")


@dataclass
class Turn:
    """A turn, as its session saw it."""

    name: str
    conversation: str | None
    voice: str | None
    language: str | None
    text: str
    way: str
    attempts: list[list[Any]] = field(default_factory=list)
    """Of each provider that was called: its name, why, how it ended, and how many chunks it made."""
    delivered: int = 0
    """Chunks that were handed out."""
    heard_s: float | None = None
    outcome: str = "ok"


async def _pause(chance: Random) -> None:
    for _ in range(chance.randrange(4)):
        await asyncio.sleep(0)


class Studio:
    """What all sessions share: the providers, a player, a worker and a listener, each a task of the session that needed it first.

    Where they are inside, that was in an attempt of that session, which lasts as long as they do.
    """

    def __init__(self, tts: Telemetry, chance: Random) -> None:
        self.tts, self.chance = tts, chance
        self.turns: list[Turn] = []
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self._jobs: dict[str, asyncio.Queue[Any]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def work(self, name: str, job: Any) -> None:
        """Have a task do a job, which the first session that needs it starts, in its own context."""
        if name not in self._jobs:
            self._jobs[name] = asyncio.Queue()
            self.tasks.append(asyncio.create_task(self._serve(self._jobs[name])))
        done = asyncio.get_running_loop().create_future()
        self._jobs[name].put_nowait((job, done))
        await done

    @staticmethod
    async def _serve(jobs: asyncio.Queue[Any]) -> None:
        async def do(job: Any, done: asyncio.Future[None]) -> None:
            await job()
            done.set_result(None)

        running = set()
        while True:
            running.add(asyncio.create_task(do(*await jobs.get())))

    async def engine(self, attempt: list[Any], chunks: int, fault: bool) -> AsyncIterator[bytes]:
        """The audio of a provider, which may fail before it."""
        await _pause(self.chance)
        if fault:
            raise ConnectionError
        for _ in range(chunks):
            attempt[3] += 1
            yield CHUNK
            await _pause(self.chance)

    async def turn(self, turn: Turn) -> None:
        """One turn: perhaps a provider that fails, one that speaks, and an interruption that comes from somewhere else."""
        chance = self.chance
        self.turns.append(turn)
        given = {"conversation": turn.conversation or ""} if turn.way == "worker" else {}
        synthesis = self.tts.synthesis(
            None if turn.way == "no block" else turn.text,
            turn.voice,
            turn.language,
            stream=True,
            attributes={"app.turn": turn.name},
            **given,
        )
        if turn.way == "no block":
            synthesis.add_text(turn.text)
        await _pause(chance)
        cut_at = chance.choice([None, None, 1, 2])
        providers = chance.sample(list(PRICES), 2)
        if turn.way == "stream":
            turn.attempts.append([providers[1], "initial", "ok", 0])
            await self._play(
                turn, synthesis, synthesis.stream(self.engine(turn.attempts[-1], 3, False), providers[1], audio=FORMAT), cut_at
            )
            return
        async with synthesis:
            if chance.random() < 0.4:
                turn.attempts.append([providers[0], "initial", "error", 0])
                with suppress(ConnectionError):
                    async with synthesis.attempt(providers[0]) as attempt:
                        async for _ in attempt.stream(self.engine(turn.attempts[-1], 0, True), FORMAT):
                            raise AssertionError
            why = "fallback" if turn.attempts else "initial"
            turn.attempts.append([providers[1], why, "ok", 0])
            attempt = synthesis.attempt(providers[1])
            chunks = attempt.stream(self.engine(turn.attempts[-1], 3, False), FORMAT)
            if turn.way == "player":  # it pulls what another task has begun
                await self.work("player", lambda: self._play(turn, synthesis, chunks, cut_at))
            elif turn.way == "no block":
                await self._play(turn, synthesis, chunks, cut_at)
            else:
                async with attempt:
                    await self._play(turn, synthesis, chunks, cut_at)

    async def _play(self, turn: Turn, synthesis: Synthesis, chunks: Any, cut_at: int | None) -> None:
        async for _ in chunks:
            turn.delivered += 1
            await _pause(self.chance)
            if turn.delivered == cut_at:
                turn.heard_s, turn.outcome, turn.attempts[-1][2] = 0.05 * cut_at, "cancelled", "cancelled"

                async def interrupt() -> None:
                    synthesis.interrupt(heard=turn.heard_s)

                await self.work("listener", interrupt)
                await chunks.aclose()

    async def attempt(self) -> None:
        """Begin all shared tasks inside an attempt, and stay there until they have ended."""
        turn = Turn("-1.0", "call -1", None, None, "Wait.", "attempt", [["alpha", "initial", "ok", 0]])
        self.turns.append(turn)
        async with (
            self.tts.synthesis("Wait.", conversation="call -1", attributes={"app.turn": "-1.0"}) as s,
            s.attempt("alpha") as attempt,
        ):

            async def nothing() -> None: ...

            for name in ("player", "worker", "listener"):
                await self.work(name, nothing)
            self.begun.set()
            await self.over.wait()
            turn.attempts[0][3] += 1
            attempt.audio(CHUNK, FORMAT)
            turn.delivered = 1


async def session(studio: Studio, number: int, turns: int) -> None:
    """Its turns, some of which begin before the one before them has ended."""
    chance = studio.chance
    conversation = None if number % 3 == 2 else f"call {number}"
    voice, language = VOICES[number % len(VOICES)]
    under_way = []
    with studio.tts.conversation(conversation) if conversation else nullcontext():
        for index in range(turns):
            text = f"{number}.{index} " + "word " * chance.randrange(1, 9)
            ways = (
                WAYS if conversation or not studio.begun.is_set() else WAYS[:-1]
            )  # a worker inside an attempt works for it, if nothing is stated
            turn = Turn(f"{number}.{index}", conversation, voice, language, text, chance.choice(ways))

            async def speak(turn: Turn = turn) -> None:
                await studio.turn(turn)

            job = studio.work("worker", speak) if turn.way == "worker" else speak()
            under_way.append(asyncio.create_task(job))
            if chance.random() < 0.5:
                await asyncio.wait(under_way[-1:])
        for task in under_way:
            await task


def _is_as_it_was(view: Any, turn: Turn) -> None:
    spoken = [attempt for attempt in turn.attempts if attempt[3]]
    expected = {
        "gen_ai.conversation.id": turn.conversation,
        "tts.voice": turn.voice,
        "tts.language": turn.language,
        "tts.text.length": len(turn.text),
        "tts.audio.duration": pytest.approx(CHUNK_S * sum(attempt[3] for attempt in spoken)),
        "tts.audio.delivered_duration": pytest.approx(CHUNK_S * turn.delivered),
        "tts.audio.heard_duration": None if turn.heard_s is None else pytest.approx(turn.heard_s),
        "tts.usage.cost": pytest.approx(sum(PRICES[attempt[0]] * 1e-6 * len(turn.text) for attempt in spoken)),
    }
    assert {key: view[key] for key in expected} == expected, turn
    assert [[a.provider, a.reason, a.outcome] for a in view.attempts] == [attempt[:3] for attempt in turn.attempts], turn
    assert view.outcome == turn.outcome
    for attempt in view.attempts:
        assert attempt["gen_ai.conversation.id"] == turn.conversation
        assert attempt.span.context.trace_id == view.span.context.trace_id


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_each_turn_of_each_session_is_as_it_was(capture_tts: Capture, seed: int, inside: bool) -> None:
    """Conversation, voice, text, attempts, audio made, handed out and heard, and money: none of it is another session's; sums are right."""
    chance = Random(seed)
    studio = Studio(capture_tts.telemetry(prices=PRICES), chance)

    async def sessions() -> None:
        around = asyncio.create_task(studio.attempt()) if inside else None
        if around is not None:
            await studio.begun.wait()
        await asyncio.gather(*(session(studio, number, chance.randrange(1, 6)) for number in range(6)))
        studio.over.set()
        if around is not None:
            await around
        for task in studio.tasks:
            task.cancel()

    asyncio.run(sessions())
    views = {str(view["app.turn"]): view for view in capture_tts.syntheses()}
    assert len(views) == len(capture_tts.syntheses()) == len(studio.turns)
    for turn in studio.turns:
        _is_as_it_was(views[turn.name], turn)
    assert capture_tts.total("tts.synthesis.duration") == len(studio.turns)
    assert capture_tts.total("tts.attempt.duration") == sum(len(turn.attempts) for turn in studio.turns)
    assert capture_tts.total("tts.usage.cost") == pytest.approx(sum(view["tts.usage.cost"] for view in views.values()))
    assert capture_tts.total("tts.synthesis.active") == 0
    fallbacks = sum(attempt[1] == "fallback" for turn in studio.turns for attempt in turn.attempts)
    assert (capture_tts.total("tts.provider.fallbacks") if fallbacks else 0) == fallbacks
