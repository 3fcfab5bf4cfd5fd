"""An agent of LiveKit's without a room: a language model that follows a script, and a player that keeps what it is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from livekit.agents import Agent, AgentSession, llm, tts
from livekit.agents.voice import io


class Script(llm.LLM):
    """Says the same words whatever it is asked."""

    def __init__(self, words: Sequence[str], pause_s: float = 0.005) -> None:
        super().__init__()
        self.words, self.pause_s = words, pause_s

    def chat(self, *, chat_ctx: Any, tools: Any = None, conn_options: Any = None, **_: Any) -> Any:
        """The words as tokens."""
        return _Words(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Words(llm.LLMStream):
    async def _run(self) -> None:
        script: Any = self._llm
        for word in script.words:
            await asyncio.sleep(script.pause_s)
            self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=llm.ChoiceDelta(role="assistant", content=word)))


class Player(io.AudioOutput):
    """Keeps what it is given, and plays it: at once to its end, or up to an interruption."""

    def __init__(self) -> None:
        super().__init__(label="player", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=24000)
        self.segments: list[float] = []
        """Seconds of each segment that was captured."""
        self.positions: list[float] = []
        """Seconds of each that were played."""
        self.captured = asyncio.Event()
        self._seconds = 0.0
        self._began = 0.0

    async def capture_frame(self, frame: Any) -> None:
        """Keep a frame."""
        await super().capture_frame(frame)
        if not self._seconds:
            self._began = time.time()
            self.on_playback_started(created_at=self._began)
        self._seconds += frame.duration
        self.captured.set()

    def flush(self) -> None:
        """The segment is whole."""
        super().flush()
        self._finish(self._seconds, interrupted=False)

    def clear_buffer(self) -> None:
        """The rest of the segment is not played."""
        self._finish(min(self._seconds, time.time() - self._began), interrupted=True)

    def _finish(self, position: float, *, interrupted: bool) -> None:
        if self._seconds:
            self.segments.append(self._seconds)
            self.positions.append(position)
            self._seconds = 0.0
            self.on_playback_finished(playback_position=position, interrupted=interrupted)


@asynccontextmanager
async def agent(voice: tts.TTS, words: Sequence[str]) -> AsyncIterator[tuple[AgentSession[None], Player]]:
    """A session under way, and its player."""
    session: AgentSession[None] = AgentSession(llm=Script(words), tts=voice)
    player = Player()
    session.output.audio = player
    await session.start(Agent(instructions="Answer."))
    try:
        yield session, player
    finally:
        await session.aclose()
