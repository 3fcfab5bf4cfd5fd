"""What users see of the classes that they hold: what they may call, and nothing else."""

from __future__ import annotations

import inspect
import pydoc

import pytest

import otel_tts
from otel_tts.core.request import SynthesisRequest
from otel_tts.testing.capture import Capture

FORMAT = otel_tts.PCM16(8000)
BLOCK = {"__enter__", "__exit__", "__aenter__", "__aexit__"}
SURFACE: dict[type, set[str]] = {
    otel_tts.Synthesis: {
        "add_text", "attempt", "cache_write", "coalesced", "deliver", "encoded", "fail", "flush", "heard", "interrupt", "lookup", "outcome",
        "queued", "sampled", "score", "skipped", "stream", "text_from", "trace_id",
    },
    otel_tts.Attempt: {"audio", "connection", "fail", "stream"},
}  # fmt: skip


@pytest.mark.parametrize("cls", SURFACE)
def test_a_class_shows_what_users_may_call(cls: type) -> None:
    """Its public names are exactly these, and `help` shows no other."""
    names = {name for base in cls.__mro__[:-1] for name in vars(base)}
    assert {name for name in names if not name.startswith("_")} == SURFACE[cls]
    assert {name for name in names if name.startswith("__")} >= BLOCK
    text = pydoc.plain(pydoc.render_doc(cls))
    for word in ("Emitter", "RequestClock", "Record", "_finish", "not for applications"):
        assert word not in text


def test_an_object_has_nothing_more(capture_tts: Capture) -> None:
    """Nor has an instance any public attribute of its own."""
    tts = capture_tts.telemetry()
    with tts.synthesis("Hello") as s, s.attempt("piper") as attempt:
        attempt.audio(b"\x00\x40" * 800, FORMAT)
        for thing in (s, attempt):
            assert {name for name in dir(thing) if not name.startswith("_")} == SURFACE[type(thing)]
            assert not hasattr(thing, "__dict__")


def test_every_public_method_says_what_it_takes() -> None:
    """Each parameter of a public method stands in its docstring."""
    surface = {**SURFACE, otel_tts.Telemetry: {name for name in vars(otel_tts.Telemetry) if not name.startswith("_")}}
    for cls, names in surface.items():
        for name in names:
            member = inspect.getattr_static(cls, name)
            if isinstance(member, property):
                assert member.__doc__
                continue
            for parameter in inspect.signature(getattr(cls, name)).parameters:
                assert parameter == "self" or f"{parameter}:" in (getattr(cls, name).__doc__ or ""), (
                    f"{cls.__name__}.{name}({parameter})"
                )


def test_the_state_is_one_object_behind_all_handles(capture_tts: Capture) -> None:
    """However many layers ask, they hold the same request, which is gone when the last of them is."""
    tts = capture_tts.telemetry()
    with tts.synthesis("Hello") as outer, outer.lookup("memory"):
        inner = tts.synthesis("Hello")
        assert isinstance(inner._request, SynthesisRequest)
        assert inner._request is outer._request
    assert capture_tts.total("tts.synthesis.requests") == 1
