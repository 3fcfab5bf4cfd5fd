"""Vendors' SDKs against a real server that speaks their protocols, and against one that fails as told."""

from __future__ import annotations

import asyncio
import inspect
import io
import wave
from collections.abc import Callable
from typing import Any

import pytest

from otel_tts import Telemetry
from otel_tts.instrumentation.cartesia import CartesiaInstrumentor
from otel_tts.instrumentation.polly import PollyInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Faulty, Observe, bill
from tests.instrumentation.pictures import PLAYED, QUALITY, audio, counts, tree
from tests.instrumentation.vendors import SDKS, Sdk, cartesia

for _module in ("boto3", "cartesia", "deepgram", "elevenlabs", "google.cloud.texttospeech"):
    pytest.importorskip(_module, reason="it needs the extra `vendors`")
pytestmark = [
    pytest.mark.vendors,
    pytest.mark.filterwarnings(r"ignore:websockets\.:DeprecationWarning"),  # of deepgram-sdk's making
]

TEXT = "Hello there. How are you?"
PCM = bytes(range(256)) * 125  # 1 s at 16 kHz
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}
FAILED = ONE | {"tts.synthesis.failures": 1}
SERVED = {name: sdk for name, sdk in SDKS.items() if name != "aiobotocore httpx"}
"""By the real server: that one asks with the whole URL in the request line, of which uvicorn knows no page."""
RAW = {name: sdk for name, sdk in SDKS.items() if name != "google rest"}  # its answer is JSON
STREAMS = {name: sdk for name, sdk in SDKS.items() if sdk.stream}
ASYNCHRONOUS = {name: sdk for name, sdk in SDKS.items() if sdk.asynchronous}


def each(sdks: dict[str, Sdk]) -> pytest.MarkDecorator:
    """A test of each of these."""
    return pytest.mark.parametrize("sdk", sdks.values(), ids=list(sdks))


def seconds(data: bytes, sdk: Sdk) -> float:
    """How long an answer lasts."""
    if sdk.format != "wav":
        return len(data) / 2 / sdk.rate
    with wave.open(io.BytesIO(data)) as file:
        return float(file.getnframes() / file.getframerate())


@each(SERVED)
def test_what_a_real_server_speaks(capture_tts: Capture, observe: Observe, ovos: str, sdk: Sdk) -> None:
    """All of it, to the last byte, as one request with one attempt."""
    observe(sdk.instrumentor)
    length = seconds(sdk.run(ovos + sdk.path, TEXT), sdk)
    assert length > 1
    (synthesis,) = capture_tts.syntheses()
    pieces = {"tts.stream.chunk.count": synthesis["tts.stream.chunk.count"]} if sdk.stream else {}
    spoken = audio(length, sdk.rate, sdk.format) | pieces
    first_piece = sdk.asked | QUALITY | {"tts.audio.delivered_duration": pytest.approx(length, abs=0.001)}
    if sdk.stream:
        first_piece |= PLAYED
    assert capture_tts.tree() == [
        tree(sdk.provider, sdk.model, characters=25, stream=sdk.stream, of_both=spoken, of_synthesis=first_piece)
    ]
    assert counts(capture_tts) == ONE
    assert [span.kind.name for span in capture_tts.spans] == ["CLIENT", "INTERNAL"]


@each(RAW)
def test_samples_without_a_header_are_what_was_asked_for(
    capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk
) -> None:
    """16-bit at 16 kHz."""
    observe(sdk.instrumentor)
    faulty.pieces = [PCM, PCM]
    assert sdk.run(faulty.url, TEXT) == PCM * 2
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.audio.format"], synthesis["tts.audio.sample_rate"]) == ("pcm16", 16000)
    assert synthesis["tts.audio.duration"] == pytest.approx(2.0)


@each(RAW)
def test_an_answer_that_says_what_it_is(capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk) -> None:
    """Samples at the rate of its header, and not at the one that was asked for."""
    observe(sdk.instrumentor)
    faulty.headers, faulty.pieces = {"Content-Type": "audio/pcm;rate=8000"}, [PCM]
    assert sdk.run(faulty.url, TEXT) == PCM
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.audio.format"], synthesis["tts.audio.sample_rate"]) == ("pcm16", 8000)
    assert synthesis["tts.audio.duration"] == pytest.approx(2.0)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_cartesia_s_raw_answer(capture_tts: Capture, observe: Observe, faulty: Faulty, asynchronous: bool) -> None:
    """``with_raw_response`` is measured like any other."""
    observe(CartesiaInstrumentor)
    faulty.pieces = [PCM]
    speak = cartesia("raw", asynchronous)(faulty.url, TEXT)
    assert (asyncio.run(speak) if asynchronous else speak) == PCM
    assert capture_tts.synthesis(outcome="ok")["tts.audio.duration"] == pytest.approx(1.0)
    assert counts(capture_tts) == ONE


@each(STREAMS)
def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk) -> None:
    """Cancelled, with what was delivered until then."""
    observe(sdk.instrumentor)
    faulty.pieces = [PCM]
    faulty.hangs.set()
    length = len(sdk.run(faulty.url, TEXT, leave=True)) / 32000
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(length)
    assert [attempt.outcome for attempt in synthesis.attempts] == ["cancelled"]
    assert counts(capture_tts) == ONE


@each(SDKS)
@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (400, "rejected", "invalid_input"),
        (401, "error", "unauthorized"),
        (429, "error", "rate_limited"),
        (503, "error", "unavailable"),
    ],
)
def test_a_refusal(
    capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk, status: int, outcome: str, error: str
) -> None:
    """The SDK's own exception reaches the host; the status says what it was."""
    faulty.status, faulty.pieces = status, [b'{"error": {"message": "no"}}']
    faulty.headers = {"Content-Type": "application/json"}
    with pytest.raises(Exception, match=r".*") as unobserved:
        sdk.run(faulty.url, TEXT)
    observe(sdk.instrumentor)
    with pytest.raises(Exception, match=r".*") as observed:
        sdk.run(faulty.url, TEXT)
    assert type(observed.value) is type(unobserved.value)
    nothing = sdk.asked | {"tts.audio.delivered_duration": 0.0}
    assert capture_tts.tree() == [
        tree(sdk.provider, sdk.model, characters=25, stream=sdk.stream, outcome=outcome, error=error, of_synthesis=nothing)
    ]
    assert counts(capture_tts) == (ONE if outcome == "rejected" else FAILED)


@each(SERVED)
def test_a_server_that_fails(capture_tts: Capture, observe: Observe, ovos: str, sdk: Sdk) -> None:
    """The real one, asked for nothing."""
    observe(sdk.instrumentor)
    with pytest.raises(Exception, match=r".*"):
        sdk.run(ovos + sdk.path, "")
    (synthesis,) = capture_tts.syntheses()
    assert (synthesis.outcome, [attempt.outcome for attempt in synthesis.attempts]) == ("rejected", ["rejected"])


@each(SDKS)
def test_a_timeout(capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk) -> None:
    """The SDK's patience is at its end before anything came."""
    observe(sdk.instrumentor)
    faulty.hangs.set()
    with pytest.raises(Exception, match=r".*"):
        sdk.run(faulty.url, TEXT, patience=0.2)
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "timeout")]
    assert counts(capture_tts) == FAILED


@each(STREAMS)
def test_an_answer_that_breaks_off(capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk) -> None:
    """Audio had been delivered: partial."""
    observe(sdk.instrumentor)
    faulty.pieces, faulty.broken = [PCM], True
    with pytest.raises(Exception, match=r".*"):
        sdk.run(faulty.url, TEXT)
    synthesis = capture_tts.synthesis(outcome="partial")
    assert [attempt.outcome for attempt in synthesis.attempts] == ["partial"]
    assert counts(capture_tts) == FAILED


@each(ASYNCHRONOUS)
async def test_a_cancelled_task(capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk) -> None:
    """While it waits for the answer."""
    observe(sdk.instrumentor)
    faulty.hangs.set()
    task = asyncio.create_task(sdk.speak(faulty.url, TEXT))
    await asyncio.to_thread(faulty.asked.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [[s.outcome, *(a.outcome for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "cancelled"]]
    assert counts(capture_tts) == ONE


@each({name: sdk for name, sdk in ASYNCHRONOUS.items() if sdk.stream})
async def test_a_task_that_is_cancelled_in_the_middle(capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk) -> None:
    """Of the stream: what was delivered until then is known."""
    observe(sdk.instrumentor)
    faulty.pieces = [PCM]
    faulty.hangs.set()
    first_piece = asyncio.Event()
    task = asyncio.create_task(sdk.speak(faulty.url, TEXT, first_piece=first_piece))
    await asyncio.wait_for(first_piece.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert 0 < synthesis["tts.audio.delivered_duration"] <= 1
    assert [a.outcome for a in synthesis.attempts] == ["cancelled"]
    assert counts(capture_tts) == ONE


async def test_a_task_that_waits_for_polly(capture_tts: Capture, observe: Observe, faulty: Faulty) -> None:
    """In another thread, as boto3 knows no tasks: the request is cancelled, and what comes afterwards belongs to it still."""
    observe(PollyInstrumentor, ThreadsInstrumentor)
    faulty.hangs.set()
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def speak() -> None:
        try:
            SDKS["polly"].run(faulty.url, TEXT)
        finally:
            refused.get_loop().call_soon_threadsafe(refused.set_result, None)

    async def request() -> None:
        async with Telemetry().synthesis(TEXT):
            await asyncio.to_thread(speak)

    task = asyncio.create_task(request())
    await asyncio.to_thread(faulty.asked.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    faulty.over.set()
    await asyncio.wait_for(refused, 10)
    assert [[s.outcome, *(a.provider for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "aws.polly"]]
    assert counts(capture_tts) == ONE


@each(RAW)
def test_inside_a_request_it_is_an_attempt(capture_tts: Capture, observe: Observe, faulty: Faulty, sdk: Sdk) -> None:
    """And inside an attempt it is that one."""
    observe(sdk.instrumentor)
    faulty.pieces = [PCM]
    tts = Telemetry()
    with tts.synthesis(TEXT):
        sdk.run(faulty.url, TEXT)
    with tts.synthesis(TEXT) as s, s.attempt(sdk.provider, sdk.model, remote=True):
        sdk.run(faulty.url, TEXT)
    assert [[a.provider for a in s.attempts] for s in capture_tts.syntheses(outcome="ok")] == [[sdk.provider]] * 2
    assert counts(capture_tts) == {name: 2 * count for name, count in ONE.items()}


@each(SERVED)
def test_a_price(capture_tts: Capture, observe: Observe, price: Callable[[str], None], ovos: str, sdk: Sdk) -> None:
    """That the user gave."""
    price(sdk.provider)
    observe(sdk.instrumentor)
    sdk.run(ovos + sdk.path, TEXT)
    assert bill(capture_tts) == {"span": pytest.approx(100e-6), "cost": pytest.approx(100e-6), "unpriced": 0}


@pytest.mark.parametrize("instrumentor", dict.fromkeys(sdk.instrumentor for sdk in SDKS.values()), ids=lambda kind: kind.__name__)
def test_the_functions_come_back(observe: Observe, instrumentor: Any) -> None:
    """Observed, they are of the same kinds and signatures; afterwards they are the very same."""
    import importlib

    owners = []
    for target in instrumentor.targets:
        kind, _, name = target.name.partition(".")
        try:
            owner = getattr(importlib.import_module(target.module), kind)
        except ModuleNotFoundError:
            continue  # a package that an older version lacks; that the newest has them all is a test of the registry
        if hasattr(owner, name) or not target.optional:
            owners.append((owner, name))
    before = [vars(owner)[name] for owner, name in owners]
    instrumentor().instrument()
    try:
        for (owner, name), original in zip(owners, before, strict=True):
            observed = getattr(owner, name)
            assert observed is not original
            assert inspect.signature(observed) == inspect.signature(original)
            for kind in (inspect.isgeneratorfunction, inspect.isasyncgenfunction, inspect.iscoroutinefunction):
                assert kind(observed) == kind(original)
    finally:
        instrumentor().uninstrument()
    assert all(vars(owner)[name] is original for (owner, name), original in zip(owners, before, strict=True))
