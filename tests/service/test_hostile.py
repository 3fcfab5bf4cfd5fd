"""Whatever comes in: a status from the table in the proto, a message that helps, and a service that goes on."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import struct
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import grpc
import pytest

from otel_tts.service.cache import cache_tiers
from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from otel_tts.service.providers import Provider

CANARY = "the canary sings at midnight"
REQUESTS = 1000
SEED = 20261123

OK, INVALID, MISSING, UNSUPPORTED, INTERNAL = (
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
)
WITHIN = {"text": CANARY}
LAUGHS = "".join(f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in pairwise("abcdefghijk"))


def text(make: Callable[[random.Random], str]) -> Callable[[random.Random], dict[str, Any]]:
    """A request that is good but for its text."""
    return lambda rng: {"text": make(rng)}


def with_control_character(rng: random.Random) -> str:
    """A character that cannot be spoken, anywhere in the text."""
    at = rng.randrange(len(CANARY))
    return CANARY[:at] + chr(rng.choice([0, 1, 7, 8, 14, 27, 31, 127, 0x85 + 1, 0x9F])) + CANARY[at:]


def one_of(*values: Any, field: str) -> Callable[[random.Random], dict[str, Any]]:
    """A request that is good but for one field."""
    return lambda rng: {**({} if field == "ssml" else WITHIN), field: rng.choice(values)}


KINDS: list[tuple[grpc.StatusCode, Callable[[random.Random], dict[str, Any]]]] = [
    (OK, text(lambda rng: f"Number {rng.randrange(20)}.")),
    (OK, text(lambda rng: " \t\r\n".join(["Yes."] * rng.randrange(1, 4)))),
    (OK, one_of(0.5, 0.9, 1.0, 2.0, field="speaking_rate")),
    (OK, one_of(8000, 11025, 48000, field="sample_rate")),
    (INVALID, lambda rng: {}),
    (INVALID, text(lambda rng: rng.choice(["", " ", "\n\t", "\u200b\u2028"]))),
    (INVALID, text(lambda rng: rng.choice([CANARY, "x", "é", "🙂"]) * (10**6 // 28))),
    (INVALID, text(lambda rng: "".join(rng.choices("🙂🎉👍🏽👩‍👩‍👧❤️", k=rng.randrange(1, 50))))),
    (INVALID, text(lambda rng: "".join(rng.choices("…!?.,;:-—'\"()", k=rng.randrange(1, 50))))),
    (INVALID, text(with_control_character)),
    (INVALID, one_of(0.0, -1.0, 0.2, 4.1, 1e308, math.nan, math.inf, -math.inf, field="speaking_rate")),
    (INVALID, one_of(21.0, -20.5, math.nan, math.inf, field="pitch")),
    (INVALID, one_of(17.0, -97.0, math.nan, -math.inf, field="volume_gain_db")),
    (INVALID, one_of(-1, 1, 7999, 48001, 2**31 - 1, -(2**31), field="sample_rate")),
    (INVALID, one_of(6, 77, -1, 2**31 - 1, field="encoding")),
    (INVALID, lambda rng: {**WITHIN, "encoding": tts_pb2.AUDIO_ENCODING_OPUS, "sample_rate": rng.choice([22050, 44100])}),
    (INVALID, one_of("english please", "e", "en_US", "en-", "🙂", "x" * 10_000, field="language")),
    (INVALID, one_of("<speak>", "</speak>", f"<speak>{CANARY}", "<p>a</p>", "a < b", "&amp;", "<speak/>", "\x00", field="ssml")),
    (INVALID, lambda rng: {"ssml": f"<speak>{'<p>' * rng.randrange(1, 900)}{CANARY}</speak>"}),
    (INVALID, lambda rng: {"ssml": f"<speak><{rng.choice(['audio', 'voice', 'lexicon', 'x:y'])}/>{CANARY}</speak>"}),
    (INVALID, lambda rng: {"ssml": f"<!DOCTYPE s [<!ENTITY a 'lol'>{LAUGHS}]><speak>&k; {CANARY}</speak>"}),
    (INVALID, lambda rng: {"ssml": f"<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><speak>&x; {CANARY}</speak>"}),
    (UNSUPPORTED, lambda rng: {"ssml": f"<speak>{CANARY}</speak>"}),
    (UNSUPPORTED, one_of(1.0, -20.0, field="pitch")),
    (UNSUPPORTED, one_of(6.0, -12.0, field="volume_gain_db")),
    (UNSUPPORTED, one_of(0.3, 3.9, field="speaking_rate")),
    (MISSING, one_of("nobody", "🙂", "'; drop table voices", "x" * 10_000, "heart\n", field="voice")),
    (MISSING, one_of("polly", "HIBARI", "\u202e", "y" * 10_000, field="provider")),
    (MISSING, one_of("zz", "de-AT", "fr", "cmn-Hans-CN", field="language")),
    (INTERNAL, text(lambda rng: rng.choice(["你好", "مرحبا", "नमस्ते"]) * rng.randrange(1, 5))),
]  # fmt: skip


def unreadable(rng: random.Random) -> bytes:
    """Bytes that are no request: text that is no UTF-8, a message cut off, a wire type that does not exist."""
    return rng.choice(
        [
            b"\x0a\x02\xff\xfe",
            b"\x0a\x04ab\xc3\x28",
            b"\x0a\x03\xed\xa0\x80",
            b"\x0a\x7fshort",
            b"\x0f" + rng.randbytes(4),
            b"\xff" * rng.randrange(1, 30),
        ]
    )


def request(rng: random.Random) -> tuple[grpc.StatusCode, bytes]:
    """A request and the status that it has to be answered with."""
    if rng.random() < 0.05:
        return INVALID, unreadable(rng)
    code, fields = rng.choice(KINDS)
    return code, tts_pb2.SynthesizeRequest(**fields(rng)).SerializeToString()


async def test_a_thousand_hostile_requests(
    start: Any,
    hibari: Provider,
    capture_tts: Any,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    """Each gets its status and a sentence of help that repeats nothing of its text; every one is counted; the service goes on."""
    caplog.set_level(logging.DEBUG, "otel_tts")
    client = await start(hibari, cache=cache_tiers("memory://"))
    rng = random.Random(SEED)
    unary = client.channel.unary_unary("/yap.tts.v1.TextToSpeech/Synthesize")
    stream = client.channel.unary_stream("/yap.tts.v1.TextToSpeech/SynthesizeStream")
    requests = [(*request(rng), rng.random() < 0.5) for _ in range(REQUESTS)]
    answers: Counter[grpc.StatusCode] = Counter()
    at_once = asyncio.Semaphore(8)

    async def send(expected: grpc.StatusCode, data: bytes, *, streaming: bool) -> None:
        async with at_once:
            call = stream(data) if streaming else unary(data)
            try:
                parts = [part async for part in call] if streaming else [await call]
            except grpc.aio.AioRpcError as error:
                code, details = error.code(), error.details() or ""
                assert details.endswith("."), (expected, data[:200], details)
                assert len(details) < 400
                assert not any(word in details for word in (CANARY, "Error", "Exception", "Unexpected", "passwd"))
            else:
                code = OK
                assert parts
            assert code is expected, (data[:200], code, expected)
            answers[code] += 1

    await asyncio.gather(*(send(code, data, streaming=streaming) for code, data, streaming in requests))
    assert answers == Counter(code for code, _, _ in requests)
    record_property("hostile inputs: RPCs", answers.total())
    assert (await client.speak("Still here.")).audio_duration_seconds > 0
    await client.until(lambda: capture_tts.total("tts.synthesis.requests") == REQUESTS + 1)
    outcomes = {
        outcome: capture_tts.total("tts.synthesis.requests", {"tts.outcome": outcome})
        for outcome in ("ok", "rejected", "empty", "error", "cancelled", "partial", "deadline")
    }
    refused = sum(count for code, count in answers.items() if code in (INVALID, MISSING, UNSUPPORTED))
    assert outcomes == {
        "ok": answers[OK] + 1, "rejected": refused, "empty": answers[INTERNAL],
        "error": 0, "cancelled": 0, "partial": 0, "deadline": 0,
    }  # fmt: skip
    assert CANARY not in caplog.text


async def test_a_request_beyond_grpcs_own_limit_is_grpcs_to_refuse(start: Any, hibari: Provider) -> None:
    """More than 4 MiB never reaches us; what comes after does."""
    client = await start(hibari)
    error = await client.refused("a" * (5 * 2**20))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await client.speak("Still here.")).audio_duration_seconds > 0


async def test_a_double_that_is_no_number_is_refused_on_the_wire(start: Any, hibari: Provider) -> None:
    """A signalling NaN, as only raw bytes can say it."""
    client = await start(hibari)
    data = tts_pb2.SynthesizeRequest(text="Hi.").SerializeToString() + b"\x31" + struct.pack("<Q", 0x7FF0000000000001)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.channel.unary_unary("/yap.tts.v1.TextToSpeech/Synthesize")(data)
    assert (refused.value.code(), refused.value.details()) == (INVALID, "rate is nan; it has to be from 0.25 to 4.")
