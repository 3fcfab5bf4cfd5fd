"""Vendors that answer anything: their SDKs give and raise what they would without us, and each call is one request, with true numbers."""

from __future__ import annotations

import math
import random
import re
import struct
from collections.abc import Callable
from typing import Any

import pytest

from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Faulty, Observe
from tests.instrumentation.vendors import SDKS, Sdk

for _module in ("boto3", "cartesia", "deepgram", "elevenlabs", "google.cloud.texttospeech"):
    pytest.importorskip(_module, reason="it needs the extra `vendors`")
pytestmark = [
    pytest.mark.vendors,
    pytest.mark.filterwarnings(r"ignore:websockets\.:DeprecationWarning"),  # of deepgram-sdk's making
]

ANSWERS = 3
"""For each SDK: each of them makes clients of its own, which takes its time."""
STATUSES = [200] * 8 + [201, 203, 206, 204, 400, 401, 404, 408, 418, 422, 429, 500, 502, 503, 599]
TYPES = [
    "audio/wav", "audio/mpeg", "audio/pcm;rate=abc", "audio/pcm; rate=99999999999999999999", "audio/L16;rate=-1;channels=0",
    "audio/l16;;;=;",
    "audio/wav; codecs=1; rate=0", "application/json", "application/json; charset=nonsense", "text/html", "multipart/mixed; boundary=",
    "text/event-stream", "", ";", "audio", "a/" + "b" * 5000, "audio/ogg; codecs=opus", "audio/webm", "\u00fc/\u00df",
]  # fmt: skip
STARTS = [b"", b"RIFF", b"RIFX", b"ID3\x04", b"OggS\x00\x02", b"fLaC", b"\x1aE\xdf\xa3", b"\xff\xfb\x90", b"\xff\xf1P\x80", b"{", b"<html>",
          b"\xef\xbb\xbf{", b"FORM\x00\x00\x00\x00AIFF", b"\x00\x00\x00\x18ftypM4A ", b"\x1f\x8b\x08"]  # fmt: skip


def wav(rng: random.Random) -> bytes:
    """A WAV whose header says anything."""
    odd = [0, 1, 2, 3, 7, 255, 65534, 65535]
    coding, channels, align, bits = (rng.choice([*odd, usual]) for usual in (1, 1, 2, 16))
    rate, size = rng.choice([0, 1, 16_000, 2**31, 2**32 - 1]), rng.choice([0, 1, 5, 1000, 2**31, 2**32 - 1])
    header = struct.pack(
        "<4sI4s4sIHHIIHH",
        b"RIFF",
        size,
        b"WAVE",
        b"fmt ",
        rng.choice([16, 18, 0, 2**32 - 1]),
        coding,
        channels,
        rate,
        0,
        align,
        bits,
    )
    return header + rng.choice([b"data", b"LIST", b"junk"]) + struct.pack("<I", size) + rng.randbytes(rng.randrange(3000))


def body(rng: random.Random) -> list[bytes]:
    """An answer's pieces."""
    whole = wav(rng) if rng.random() < 0.4 else rng.choice(STARTS) + rng.randbytes(rng.choice([0, 1, 3, 700, 9000]))
    cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(rng.randrange(4)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True) if end > start]


def call(sdk: Sdk, url: str) -> tuple[Any, ...]:
    """What the host gets."""
    try:
        return "gave", sdk.run(url, "Hello there.")
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises
        return type(error), re.sub(r"\d\d:\d\d:\d\d", "", str(error))  # the Date of the answer


@pytest.mark.parametrize("sdk", SDKS.values(), ids=list(SDKS))
def test_any_answer(
    capture_tts: Capture,
    observe: Observe,
    faulty: Faulty,
    sdk: Sdk,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """Any status, type, header and bytes, whole or broken off."""
    answers = []
    for number in range(ANSWERS):
        rng = random.Random(f"{request.node.name} {number}")  # others for each SDK
        answer = rng.choice(STATUSES), {"Content-Type": rng.choice(TYPES)}, body(rng), rng.random() < 0.2
        if rng.random() < 0.1:
            answer[1]["Content-Encoding"] = rng.choice(["gzip", "br", "nonsense"])
        answers.append(answer)

    def given(answer: Any) -> tuple[Any, ...]:
        faulty.status, faulty.headers, faulty.pieces, faulty.broken = answer
        return call(sdk, faulty.url)

    without = [given(answer) for answer in answers]
    observe(sdk.instrumentor)
    for position, answer in enumerate(answers):
        assert given(answer) == without[position], answer
        syntheses = capture_tts.syntheses()
        assert len(syntheses) == position + 1, answer
        synthesis = syntheses[-1]
        assert synthesis["tts.attempt.count"] == 1
        failed = without[position][0] != "gave"
        assert not failed or synthesis.outcome != "ok", answer
        for name, value in (synthesis.span.attributes or {}).items():
            assert not isinstance(value, float) or (math.isfinite(value) and value >= 0), (name, value, answer)
    assert capture_tts.total("tts.synthesis.active") == 0
    assert capture_tts.total("tts.synthesis.requests") == ANSWERS
    record_property("hostile inputs: vendor answers", len(answers))
