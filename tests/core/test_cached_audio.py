"""Audio from a cache: hits, misses, coalesced and stale audio, and writes."""

from __future__ import annotations

import array
import base64
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from otel_tts import PCM16, Encoded
from otel_tts.testing.capture import Capture
from tests.core.picture import (
    ASKED,
    COST,
    FORMAT,
    HALF,
    PRICES,
    RATE,
    SPEECH,
    TEXT,
    HttpError,
    P,
    aplay,
    attempted,
    ordered,
    points,
    roughly,
    tree,
)


def cached(capture: Capture) -> tuple[Any, ...]:
    """What the one request tells: cache result, tier, who made the audio, its seconds, those delivered, state of characters."""
    s = capture.synthesis()
    characters = [(point.attributes or {})["tts.characters.state"] for point in capture.points("tts.synthesis.characters")]
    keys = ("tts.cache.tier", "gen_ai.provider.name", "tts.audio.duration", "tts.audio.delivered_duration")
    return s.cache_result, *(s[key] for key in keys), *characters


def test_a_hit(capture_tts: Capture) -> None:
    """Audio from a cache: who made it then is who made it, what it would have cost is avoided, the client's span is a child."""
    tts = capture_tts.telemetry(prices=PRICES)
    with tts.synthesis(TEXT, "amy", "en") as s:
        with s.lookup("memory") as lookup:
            assert lookup.found(None) is None
        with s.lookup("redis") as lookup, trace.get_tracer("redis").start_as_current_span("GET"):
            audio = lookup.found(HALF, "piper", "joe", audio=FORMAT)
        assert s.deliver(audio, FORMAT) is HALF
    hit = {"tts.cache.result": "hit"}
    request = {
        "gen_ai.request.stream": False,
        "tts.outcome": "ok",
        "tts.text.length": 5,
        "tts.attempt.count": 0,
        "tts.fallback.used": False,
        "tts.cache.tier": "redis",
        "tts.audio.duration": 0.5,
        "tts.audio.delivered_duration": 0.5,
        "tts.audio.format": "pcm16",
        "tts.audio.sample_rate": RATE,
    }
    child = ["GET", SpanKind.INTERNAL, StatusCode.UNSET, [], {}, []]
    assert tree(capture_tts) == [
        ["tts.synthesize", SpanKind.INTERNAL, StatusCode.UNSET, [], SPEECH | ASKED | P | hit | request, [child]]
    ]
    assert points(capture_tts) == roughly(
        {
            "tts.cache.lookups": [
                ({"tts.cache.tier": "memory", "tts.cache.lookup.result": "miss"}, 1),
                ({"tts.cache.tier": "redis", "tts.cache.lookup.result": "hit"}, 1),
            ],
            "tts.synthesis.audio": [(P | {"tts.audio.state": "delivered", "tts.audio.source": "cache"}, 0.5)],
            "tts.synthesis.characters": [(P | {"tts.characters.state": "cached"}, 5)],
            "tts.synthesis.duration": [(P | hit | {"gen_ai.request.stream": False, "tts.outcome": "ok"}, (1, 0))],
            "tts.synthesis.requests": [(ASKED | {"tts.outcome": "ok"}, 1)],
            "tts.usage.cost_avoided": [(P, COST)],
        }
    )


def test_a_hit_streamed(capture_tts: Capture) -> None:
    """First byte, first audio and underruns of cached streams are told apart from those of providers, by the cache's result."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, "amy", "en", stream=True) as s:
        with s.lookup("memory") as lookup:
            lookup.found("key", "piper", "joe", duration=1)
        capture_tts.clock.advance(0.1)
        for _ in s.deliver([HALF, b"", HALF], FORMAT):
            capture_tts.clock.advance(0.6)
    assert cached(capture_tts) == ("hit", "memory", "piper", 1.0, 1.0, "cached")
    hit = P | {"tts.cache.result": "hit"}
    metrics = points(capture_tts)
    names = ("tts.synthesis.time_to_first_byte", "tts.synthesis.time_to_first_audio", "tts.stream.underrun")
    assert {name: metrics[name] for name in names} == roughly(
        {
            "tts.synthesis.time_to_first_byte": [(hit, (1, 0.1))],
            "tts.synthesis.time_to_first_audio": [(hit | {"tts.outcome": "ok"}, (1, 0.1))],
            "tts.stream.underrun": [
                (hit | {"tts.underrun.cause": "provider"}, (1, 0)),
                (hit | {"tts.underrun.cause": "consumer"}, (1, 0.7)),
            ],
        }
    )
    assert {"tts.attempt.duration", "tts.audio.loudness", "tts.attempt.real_time_factor"}.isdisjoint(metrics)


def test_a_hit_streamed_as_one_piece(capture_tts: Capture) -> None:
    """Bytes that answer a stream are its first and only chunk."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as s:
        with s.lookup("memory") as lookup:
            lookup.found(HALF)
        capture_tts.clock.advance(0.1)
        assert s.deliver(HALF, FORMAT) is HALF
    view = capture_tts.synthesis(cache_result="hit")
    assert [view.first_byte, view.first_audio, view["tts.stream.chunk.count"]] == pytest.approx([0.1, 0.1, 1])


async def test_cached_audio_from_an_asynchronous_store(capture_tts: Capture) -> None:
    """`async with` and `async for` do what their synchronous twins do."""
    tts = capture_tts.telemetry()
    async with tts.synthesis(TEXT, stream=True) as s:
        async with s.lookup("redis") as lookup:
            lookup.found(True, "piper", "joe")
        assert [chunk async for chunk in s.deliver(aplay([HALF, HALF], capture_tts.clock), FORMAT)] == [HALF, HALF]
    assert cached(capture_tts) == ("hit", "redis", "piper", 1.0, 1.0, "cached")


def test_what_cannot_be_read_keeps_the_length_that_the_cache_knows(capture_tts: Capture) -> None:
    """Cached MP3 whose seconds stand in the cache is delivered in those seconds, as a whole or as a stream."""
    tts = capture_tts.telemetry()
    for stream in (False, True):
        with tts.synthesis(TEXT, stream=stream) as s:
            with s.lookup("redis") as lookup:
                lookup.found(b"...", "openai", "tts-1", audio=Encoded("mp3"), duration=2)
            assert b"".join(s.deliver([b"...", b"..."], Encoded("mp3"))) == b"......"
    assert [
        (v["tts.audio.duration"], v["tts.audio.delivered_duration"], v["tts.audio.format"]) for v in capture_tts.syntheses()
    ] == [(2.0, 2.0, "mp3")] * 2
    assert capture_tts.total("tts.synthesis.audio") == 4.0


def test_a_miss(capture_tts: Capture) -> None:
    """No tier had it: the provider makes it."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        with s.lookup("memory") as lookup:
            lookup.found(None)
        with s.lookup("redis"):
            pass
        attempted(s, "piper")
    assert cached(capture_tts) == ("miss", None, "piper", 0.5, 0.5, "synthesized")
    assert capture_tts.total("tts.cache.lookups", {"tts.cache.lookup.result": "miss"}) == 2


def test_a_broken_cache(capture_tts: Capture) -> None:
    """A look-up that raises is an error of its tier and a miss of the request; the exception is the application's."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        with pytest.raises(ConnectionError), s.lookup("redis"):
            raise ConnectionError
        attempted(s, "piper")
    assert cached(capture_tts) == ("miss", None, "piper", 0.5, 0.5, "synthesized")
    assert points(capture_tts)["tts.cache.lookups"] == ordered(
        [({"tts.cache.tier": "redis", "tts.cache.lookup.result": "error"}, 1)]
    )
    assert capture_tts.synthesis().outcome == "ok"


def test_no_cache(capture_tts: Capture) -> None:
    """Without any look-up the cache is bypassed."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper")
    assert cached(capture_tts) == ("bypass", None, "piper", 0.5, 0.5, "synthesized")


def test_coalesced(capture_tts: Capture) -> None:
    """Audio of an identical request under way: cached characters, an avoided cost, no attempt."""
    tts = capture_tts.telemetry(prices=PRICES)
    with tts.synthesis(TEXT) as s:
        with s.lookup("memory"):
            pass
        s.coalesced("piper", "joe")
        assert s.deliver(HALF, FORMAT) == HALF
    assert cached(capture_tts) == ("coalesced", None, "piper", 0.5, 0.5, "cached")
    assert capture_tts.total("tts.usage.cost_avoided", P) == pytest.approx(COST)
    assert capture_tts.points("tts.usage.cost") == []


@pytest.mark.parametrize("matching", ["hit", "coalesced"])
@pytest.mark.parametrize("fault", [None, HttpError(503)])
def test_found_but_asked_after_all(capture_tts: Capture, matching: str, fault: Exception | None) -> None:
    """Audio that was found and could not be used counts for nothing once a provider is asked."""
    tts = capture_tts.telemetry(prices=PRICES)
    with tts.synthesis(TEXT) as s:
        if matching == "hit":
            with suppress(ValueError), s.lookup("redis") as lookup:
                lookup.found(HALF, "openai", "tts-1", audio=FORMAT, duration=9.0)
                raise ValueError("torn")
        else:
            s.coalesced("openai", "tts-1")
        attempted(s, "piper", fault)
    if fault is None:
        assert cached(capture_tts) == ("miss", None, "piper", 0.5, 0.5, "synthesized")
    else:
        assert cached(capture_tts) == ("miss", None, "piper", None, 0.0, "wasted")
    assert capture_tts.points("tts.usage.cost_avoided") == []


def test_stale_audio_when_the_provider_fails(capture_tts: Capture) -> None:
    """A hit after a failed attempt makes the request good."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper", HttpError(503))
        with s.lookup("stale") as lookup:
            lookup.found(HALF, "openai", "tts-1", audio=FORMAT)
    assert cached(capture_tts) == ("hit", "stale", "openai", 0.5, 0.5, "cached")
    assert capture_tts.synthesis().outcome == "ok"


def test_a_cache_write_is_a_trace_of_its_own(capture_tts: Capture) -> None:
    """What outlives the request is linked to it, is no child of it, and is current in its block; its failure is nobody else's."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        pass
    with suppress(ConnectionError), s.cache_write("redis"):
        trace.get_tracer("redis").start_span("SET").end()
        raise ConnectionError
    spans: dict[str, Any] = {span.name: span for span in capture_tts.spans}
    request, write, client = (spans[name] for name in ("tts.synthesize", "tts.cache.write", "SET"))
    assert [link.context.span_id for link in write.links] == [request.context.span_id]
    assert write.context.trace_id != request.context.trace_id
    assert write.parent is None
    assert client.parent.span_id == write.context.span_id
    assert dict(write.attributes or {}) == {"tts.cache.tier": "redis"}
    assert (write.status.status_code, [event.name for event in write.events]) == (StatusCode.ERROR, ["exception"])
    assert capture_tts.synthesis().outcome == "ok"


SECOND = np.arange(16_000, dtype="<i2")
FORMS: dict[str, Any] = {
    "bytes": SECOND.tobytes(),
    "bytearray": bytearray(SECOND.tobytes()),
    "memoryview of bytes": memoryview(SECOND.tobytes()),
    "memoryview of numbers": memoryview(SECOND),
    "array": SECOND,
    "column": SECOND.reshape(-1, 1),
    "array.array": array.array("h", SECOND.tolist()),
    "samples": SECOND.tolist(),
    "base64": base64.b64encode(SECOND.tobytes()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("delivers", [False, True], ids=["found", "deliver"])
def test_audio_of_every_form(capture_tts: Capture, form: str, delivers: bool) -> None:
    """What an attempt reads, a lookup and a delivery read, too: it comes back as it is, and its length is known."""
    audio = FORMS[form]
    with capture_tts.telemetry().synthesis(TEXT) as s:
        with s.lookup("memory") as lookup:
            if not delivers:
                assert lookup.found(audio, "piper", audio=PCM16(16_000)) is audio
            else:
                lookup.found(object(), "piper")
        if delivers:
            assert s.deliver(audio, PCM16(16_000)) is audio
    view = capture_tts.synthesis()
    assert (view.outcome, view["tts.audio.duration"], view["tts.audio.delivered_duration"]) == ("ok", 1.0, 1.0)


@pytest.mark.parametrize(
    "sentences", [[SECOND, SECOND[:8_000]], (SECOND[:8_000].reshape(-1, 1), SECOND), [SECOND.tobytes(), bytes(16_000)]]
)
def test_sentences_of_arrays(capture_tts: Capture, sentences: Any) -> None:
    """A list of arrays or buffers is one after the other, not one channel each; as a delivery it is chunks."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s, s.attempt("piper") as attempt:
        attempt.audio(sentences, PCM16(16_000))
    with tts.synthesis(TEXT) as s, s.lookup("memory") as lookup:
        lookup.found(sentences, audio=PCM16(16_000))
    with tts.synthesis(TEXT, stream=True) as s:
        with s.lookup("memory") as lookup:
            lookup.found("key")
        assert [chunk is sentence for chunk, sentence in zip(s.deliver(sentences, PCM16(16_000)), sentences, strict=True)] == [
            True
        ] * 2
    assert [view["tts.audio.delivered_duration"] for view in capture_tts.syntheses()] == [1.5] * 3
