"""An exception of a host's signal handler, wherever in a request's life: nothing stays active or taken, and spans and points agree."""

from __future__ import annotations

import contextvars
import gc
import pkgutil
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import otel_tts.core
from otel_tts import Telemetry
from otel_tts.core.deferred import run_deferred
from otel_tts.core.total import Sum
from otel_tts.core.underway import UNDER_WAY
from otel_tts.testing.capture import Capture
from tests.core.test_turn import FORMAT, SHORT, blocks, failures, from_cache, interrupt, text_in_pieces

RECORDING = ("histogram", "total", "attribute_sets")
"""In the middle of a point nobody can know whether it is recorded: that is a limit, which docs/telemetry.md has."""
CORE: Any = tuple(
    f"otel_tts.core.{module.name}" for module in pkgutil.iter_modules(otel_tts.core.__path__) if module.name not in RECORDING
)


def whole(tts: Telemetry) -> None:
    """A request with a look-up in vain, a failed attempt and a fallback."""
    with tts.synthesis("hello") as s:
        with s.lookup("memory") as lookup:
            lookup.found(None)
        s.attempt("openai").fail(outcome="error")
        with s.attempt("piper") as attempt:
            attempt.audio(SHORT, FORMAT)


def one_stream(tts: Telemetry) -> None:
    """A request that is one stream, which is left."""
    stream = tts.synthesis("hello", stream=True).stream([SHORT, SHORT], "piper", audio=FORMAT)
    next(stream)
    stream.close()


def layers(tts: Telemetry) -> None:
    """A request around one, and an attempt around one."""
    with tts.synthesis("hello"), tts.synthesis("hello") as s, s.attempt("library"), tts.synthesis() as inner:
        inner.attempt("piper").audio(SHORT, FORMAT)


def agree(capture: Capture) -> list[str]:
    """What is wrong after a request that was cut off."""
    gc.collect()
    run_deferred()
    spans = Counter(span.name.split()[0] for span in capture.spans)
    wrong = []
    if capture.total("tts.synthesis.active"):
        wrong.append("active")
    for metric, span in (("tts.synthesis.duration", "tts.synthesize"), ("tts.attempt.duration", "text_to_speech")):
        if capture.total(metric) != spans[span]:
            wrong.append(f"{metric}: {capture.total(metric)} points, {spans[span]} spans")
    if Sum.lock.locked():
        wrong.append("a lock is taken")
    if len(UNDER_WAY._references):
        wrong.append("under way")
    UNDER_WAY._references.clear()
    return wrong


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("work", [blocks, whole, one_stream, layers, from_cache, text_in_pieces, failures])
def test_what_is_cut_off_leaves_nothing_wrong(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, work: Callable[[Telemetry], None], part: int
) -> None:
    """Wherever Python looks for signals in the core: no request stays active, and each recorded span has its point."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # Python ignores what is raised in a finaliser
    monkeypatch.setattr(UNDER_WAY, "_references", {})
    tts = capture_tts.telemetry()
    contextvars.copy_context().run(work, tts)
    point = part + 1
    while contextvars.copy_context().run(interrupt, point, partial(work, tts), CORE):
        assert agree(capture_tts) == [], f"after the exception at {point}"
        point += 4 * STRIDE
    assert point > 4 * STRIDE


STRIDE = 3
"""A part of the places at each run of the whole suite; 1 for all of them."""
