"""Voices of LiveKit's that fail as a seed says, with a record of their own, and a player that plays in the time of its event loop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, APIStatusError, APITimeoutError, tts
from livekit.agents.tts import fallback_adapter
from livekit.agents.voice import io

RATE = 24000
CHARACTER_S = 0.05
"""Seconds of audio for a character."""
PATIENCE_S = 3.0
"""Until a voice gives up a provider that has fallen silent."""
PRICES = {"alpha": 10.0, "beta": 100.0, "gamma": 1000.0}
"""US dollars per million characters."""
FAULTS = ("refused", "lost", "broken", "stalls", "hangs", "mute", "bug")
_RECOVERING: ContextVar[bool] = ContextVar("recovering", default=False)


@dataclass
class Call:
    """A call of a provider, as the provider saw it."""

    provider: str
    text: str
    recovery: bool
    """Whether an adapter tries in the background whether it works again."""
    made_s: float = 0.0
    whole: bool = False
    """Whether it ended well."""


@dataclass
class Studio:
    """The providers, and all their calls."""

    random: Random
    faults: tuple[str, ...] = ("",) * 6 + FAULTS
    """What may be wrong with a sentence; empty: nothing."""
    calls: list[Call] = field(default_factory=list)

    def called(self, provider: str, text: str) -> Call:
        """Note a call."""
        call = Call(provider, text, _RECOVERING.get())
        self.calls.append(call)
        return call

    async def speak(self, call: Call, emitter: tts.AudioEmitter, text: str) -> None:
        """Make the audio of a text, as fast and as well as chance has it."""
        chance = self.random
        fault = chance.choice(self.faults)
        chunk_s, pace_s, last = chance.choice([0.02, 0.05, 0.25]), chance.choice([0.0, 0.01, 0.1]), chance.randrange(1, 6)
        if fault == "refused":
            raise APIStatusError("no", status_code=503)
        await asyncio.sleep(chance.choice([0.02, 0.1, 0.4]))
        if fault == "hangs":
            await self._silence()
        left = 0 if fault == "mute" else round(len(text) * CHARACTER_S * RATE)
        while left:
            piece = min(left, round(chunk_s * RATE))
            emitter.push(b"\1\0" * piece)
            call.made_s += piece / RATE
            left, last = left - piece, last - 1
            await asyncio.sleep(pace_s)
            if last or not left:
                continue
            if fault == "lost":
                raise APIConnectionError("lost")
            if fault == "broken":
                raise APIStatusError("broken", status_code=500)
            if fault == "bug":
                raise ValueError("bug")
            if fault == "stalls":
                await self._silence()

    async def _silence(self) -> None:
        await asyncio.sleep(PATIENCE_S)
        raise APITimeoutError


class Voice(tts.TTS[Any]):
    """A voice of a provider."""

    def __init__(self, studio: Studio, provider: str, *, streams: bool) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=streams), sample_rate=RATE, num_channels=1)
        self.studio, self._provider = studio, provider

    @property
    def provider(self) -> str:
        """Who."""
        return self._provider

    def synthesize(self, text: str, *, conn_options: APIConnectOptions = APIConnectOptions()) -> Any:  # noqa: B008
        """All text at once."""
        return _Whole(tts=self, input_text=text, conn_options=conn_options)

    def stream(self, *, conn_options: APIConnectOptions = APIConnectOptions()) -> Any:  # noqa: B008
        """Text in pieces."""
        return _InPieces(tts=self, conn_options=conn_options)


class _Whole(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        voice: Any = self._tts
        call = voice.studio.called(voice.provider, self._input_text)
        output_emitter.initialize(request_id="1", sample_rate=RATE, num_channels=1, mime_type="audio/pcm")
        await voice.studio.speak(call, output_emitter, self._input_text)
        output_emitter.flush()
        call.whole = call.made_s > 0


class _InPieces(tts.SynthesizeStream):
    """Reads its text in a task of its own, and speaks it sentence by sentence."""

    _pushed = ""

    def push_text(self, token: str) -> None:
        """Note it, too."""
        self._pushed += token
        super().push_text(token)

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        voice: Any = self._tts
        call: Call | None = None
        sentences: asyncio.Queue[str | None] = asyncio.Queue()

        async def read() -> None:
            nonlocal call
            sentence = ""
            async for token in self._input_ch:
                if isinstance(token, str):
                    call = call or voice.studio.called(voice.provider, "")
                    sentence += token
                if sentence.rstrip().endswith(".") or (sentence and not isinstance(token, str)):
                    self._mark_started()
                    sentences.put_nowait(sentence)
                    sentence = ""
            sentences.put_nowait(None)

        output_emitter.initialize(request_id="1", sample_rate=RATE, num_channels=1, mime_type="audio/pcm", stream=True)
        reader, begun = asyncio.create_task(read()), False
        try:
            while (sentence := await sentences.get()) is not None:
                if not begun:
                    output_emitter.start_segment(segment_id="1")
                begun = True
                assert call is not None
                await voice.studio.speak(call, output_emitter, sentence)
            if call is not None:
                output_emitter.end_segment()
                call.whole = call.made_s > 0
        finally:
            reader.cancel()
            await asyncio.wait([reader])
            if call is not None:
                call.text = self._pushed


class Player(io.AudioOutput):
    """Plays what it is given, up to its end or an interruption."""

    def __init__(self) -> None:
        super().__init__(label="player", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE)
        self.frames: list[tuple[float, float]] = []
        """When each came, and its length, in seconds."""
        self.positions_s: list[float] = []
        """Seconds of each segment that was played."""
        self.begun = asyncio.Event()
        self.complete = asyncio.Event()
        """No more will come, and the last of it is being played."""
        self._segment: list[tuple[float, float]] = []
        self._end: asyncio.TimerHandle | None = None

    @property
    def end_s(self) -> float:
        """When its last audio will have been played."""
        return self._segment[0][0] + sum(seconds for _, seconds in self._segment) if self._segment else 0.0

    async def capture_frame(self, frame: Any) -> None:
        """Take a frame."""
        await super().capture_frame(frame)
        now_s = asyncio.get_running_loop().time()
        if not self._segment:
            self.on_playback_started(created_at=now_s)
        self._segment.append((now_s, frame.duration))
        self.frames.append((now_s, frame.duration))
        self.begun.set()

    def flush(self) -> None:
        """The segment is whole."""
        super().flush()
        if self._segment:
            self._end = asyncio.get_running_loop().call_at(self.end_s, self._finish, False)
            self.complete.set()

    def clear_buffer(self) -> None:
        """The rest of the segment is not played."""
        self._finish(True)

    def _finish(self, interrupted: bool) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._segment:
            captured_s = sum(seconds for _, seconds in self._segment)
            position_s = min(captured_s, asyncio.get_running_loop().time() - self._segment[0][0]) if interrupted else captured_s
            self._segment = []
            self.positions_s.append(position_s)
            self.on_playback_finished(playback_position=position_s, interrupted=interrupted)


def note_recoveries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the record tell what adapters ask in the background; before anything is observed."""
    for kind in (fallback_adapter.FallbackChunkedStream, fallback_adapter.FallbackSynthesizeStream):

        def recover(stream: Any, voice: tts.TTS[Any], real: Any = kind._try_recovery) -> None:
            token = _RECOVERING.set(True)
            try:
                real(stream, voice)
            finally:
                _RECOVERING.reset(token)

        monkeypatch.setattr(kind, "_try_recovery", recover)
