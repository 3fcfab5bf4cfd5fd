"""Requests begun directly in the block of another one: one speech is one request, however many layers begin one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import product
from typing import Any

import pytest
from opentelemetry import trace

from otel_tts import Synthesis, Telemetry
from otel_tts.core.underway import UNDER_WAY
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT, attempted

Speak = Callable[[Telemetry], None]
FAILED = ConnectionError()


def good(tts: Telemetry) -> None:
    """The innermost layer, which calls the provider."""
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper")


def streaming(tts: Telemetry) -> None:
    """The same, as a stream without a block."""
    assert len(list(tts.synthesis(TEXT, stream=True).stream([HALF, HALF], "piper", audio=FORMAT))) == 2


def bad(tts: Telemetry) -> None:
    """The same, whose provider fails."""
    with tts.synthesis(TEXT) as s, s.attempt("piper"):
        raise FAILED


@contextmanager
def managed(tts: Telemetry) -> Iterator[Synthesis]:
    """A host's own context manager around a request."""
    with tts.synthesis(TEXT) as s:
        yield s


@asynccontextmanager
async def amanaged(tts: Telemetry) -> AsyncIterator[Synthesis]:
    """An asynchronous one."""
    async with tts.synthesis(TEXT) as s:
        yield s


def block(tts: Telemetry, inner: Speak) -> None:
    """A block."""
    with tts.synthesis(TEXT):
        inner(tts)


def stack(tts: Telemetry, inner: Speak) -> None:
    """A stack of blocks."""
    with ExitStack() as blocks:
        blocks.enter_context(tts.synthesis(TEXT))
        inner(tts)


def helper(tts: Telemetry, inner: Speak) -> None:
    """A context manager of the host."""
    with managed(tts):
        inner(tts)


def tasks(tts: Telemetry, inner: Speak) -> None:
    """An asynchronous one in an asynchronous stack; the layers inside run in a thread."""

    async def main() -> None:
        async with AsyncExitStack() as blocks:
            await blocks.enter_async_context(amanaged(tts))
            await asyncio.wait_for(asyncio.to_thread(inner, tts), 60)

    asyncio.run(main())


def generator(tts: Telemetry, inner: Speak) -> None:
    """A generator that streams."""

    def chunks() -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True):
            inner(tts)
            yield HALF

    assert list(chunks()) == [HALF]


OUTER = (block, stack, helper, tasks, generator)


def outcomes(capture: Capture) -> list[Any]:
    """The outcomes on spans; those of the metric of durations are the same."""
    on_spans = sorted(view.outcome for view in capture.syntheses())
    counted: list[Any] = []
    for point in capture.points("tts.synthesis.duration"):
        counted += [(point.attributes or {})["tts.outcome"]] * point.count  # type: ignore[union-attr]
    assert sorted(counted) == on_spans
    return on_spans


@pytest.mark.parametrize("layers", [*product(OUTER, repeat=1), *product(OUTER, repeat=2)])
@pytest.mark.parametrize("innermost", [good, streaming, bad])
def test_one_speech_is_one_request(capture_tts: Capture, layers: tuple[Any, ...], innermost: Speak) -> None:
    """However layers are nested: one request with the outcome, the text and the attempt of the innermost one."""
    tts = capture_tts.telemetry()
    speak = innermost
    for layer in layers:
        speak = partial(layer, inner=speak)
    with suppress(ConnectionError):
        speak(tts)
    assert outcomes(capture_tts) == ["error" if innermost is bad else "ok"]
    assert len(capture_tts.synthesis().attempts) == 1
    assert capture_tts.total("tts.synthesis.characters") == len(TEXT)
    assert sum(span.name == "tts.enclose" for span in capture_tts.spans) == len(layers)
    assert capture_tts.total("tts.synthesis.requests") == 1


def test_the_trace_id_of_the_outer_one_leads_to_the_inner(capture_tts: Capture) -> None:
    """It may have been given to a client; the spans stand one below the other, unless the host has a span of its own between."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as outer, tts.synthesis(TEXT) as inner:
        attempted(inner, "piper")
    assert inner.trace_id == outer.trace_id
    [(name, _, [(below, _, _)])] = capture_tts.tree()
    assert (name, below) == ("tts.enclose", "tts.synthesize")


def test_a_span_of_the_host_between(capture_tts: Capture) -> None:
    """It stays the parent of what is begun inside it."""
    tts, tracer = capture_tts.telemetry(), trace.get_tracer("host", tracer_provider=capture_tts._tracer_provider)
    with tts.synthesis(TEXT), tracer.start_as_current_span("host"):
        good(tts)
    tree = {name: [below for below, _, _ in inner] for name, _, inner in capture_tts.tree()}
    assert tree == {"tts.enclose": [], "host": ["tts.synthesize"]}


def test_what_the_outer_one_knows(capture_tts: Capture) -> None:
    """Voice, language, conversation, kind, own attributes and that a cache had nothing are those of the speech."""
    tts = capture_tts.telemetry(attributes={"app.tenant": 3})
    purpose: Any = {"conversation": "call-1", "kind": "batch", "attributes": {"app.tenant": "acme"}}
    with tts.synthesis(TEXT, "amy", "en", **purpose) as outer:
        with outer.lookup("memory"):
            pass
        with tts.synthesis(TEXT, "joe", attributes={"app.layer": "library"}) as inner:
            attempted(inner, "piper")
    attributes = dict(capture_tts.synthesis(cache_result="miss").span.attributes or {})
    wanted = {
        "tts.voice": "joe", "tts.language": "en", "gen_ai.conversation.id": "call-1", "tts.request.kind": "batch",
        "app.tenant": "acme", "app.layer": "library",
    }  # fmt: skip
    assert {key: attributes.get(key) for key in wanted} == wanted


@pytest.mark.parametrize("own", ["attempt", "hit", "fail", "raise", "interrupt"])
def test_an_outer_one_that_counts(capture_tts: Capture, own: str) -> None:
    """It does with audio of its own, if it is interrupted, and if it fails though what is inside ended well."""
    tts = capture_tts.telemetry()
    with suppress(ConnectionError), tts.synthesis(TEXT) as outer:
        good(tts)
        if own == "attempt":
            attempted(outer, "piper")
        elif own == "hit":
            with outer.lookup("memory") as lookup:
                lookup.found(HALF, audio=FORMAT)
        elif own == "fail":
            outer.fail(FAILED)
        elif own == "raise":
            raise FAILED
        else:
            outer.interrupt()
    own_outcome = {"attempt": "ok", "hit": "ok", "interrupt": "cancelled"}.get(own, "error")
    assert outcomes(capture_tts) == sorted(["ok", own_outcome])
    assert outer.outcome == own_outcome


def test_an_interruption_of_the_outer_one(capture_tts: Capture) -> None:
    """It is reported where the application knows of it, also while the inner one still speaks."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as outer, tts.synthesis(TEXT, stream=True) as inner:
        chunks = inner.attempt("piper").stream([HALF, HALF], FORMAT)
        next(chunks)
        outer.interrupt()
        chunks.close()
        inner.interrupt()
    assert outcomes(capture_tts) == ["cancelled", "cancelled"]


@pytest.mark.parametrize("end", ["swallowed", "raised", "translated", "stated"])
def test_a_failure_counts_once(capture_tts: Capture, end: str) -> None:
    """Whatever the outer layer makes of the failure of the inner one."""
    tts = capture_tts.telemetry()
    with suppress(RuntimeError, ConnectionError), tts.synthesis(TEXT) as outer:
        try:
            bad(tts)
        except ConnectionError as error:
            if end == "raised":
                raise
            if end == "translated":
                raise RuntimeError from error
            if end == "stated":
                outer.fail(error)
    assert outcomes(capture_tts) == ["error"]
    assert outer.outcome == "error"


@pytest.mark.parametrize(("conversation", "kind"), [("b", None), (None, "prefetch"), (None, "batch")])
def test_another_speech_inside(capture_tts: Capture, conversation: str | None, kind: str | None) -> None:
    """One of another conversation or kind is not that of the outer one, whose own end then counts."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, conversation="a"), tts.synthesis(TEXT, conversation=conversation, kind=kind) as inner:
        attempted(inner, "piper")
    assert len(capture_tts.syntheses()) == 2
    assert not any(span.name == "tts.enclose" for span in capture_tts.spans)


@pytest.mark.parametrize("outer", [None, "a"])
@pytest.mark.parametrize("inner", [None, "a"])
def test_the_conversation_of_one_layer(capture_tts: Capture, outer: str | None, inner: str | None) -> None:
    """Whichever layer knows it."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, conversation=outer), tts.synthesis(TEXT, conversation=inner) as s:
        attempted(s, "piper")
    assert capture_tts.synthesis()["gen_ai.conversation.id"] == (outer or inner)


def test_what_a_consumer_begins(capture_tts: Capture) -> None:
    """Once a generator has yielded audio inside its block, what its consumer begins takes nothing from it."""
    tts = capture_tts.telemetry()

    def speak(conversation: str) -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True, conversation=conversation) as s:
            yield from s.attempt("piper").stream([HALF, HALF], FORMAT)

    for _ in speak("a"):
        good(tts)
    attributes = [dict(view.span.attributes or {}) for view in capture_tts.syntheses()]
    assert [a.get("gen_ai.conversation.id") for a in attributes] == [None, None, "a"]
    assert len({view.span.context.trace_id for view in capture_tts.syntheses() if view.span.context}) == 3


def test_many_sentences(capture_tts: Capture) -> None:
    """A block around requests of their own, one after another or at once, is none itself; one that fails is one failure."""
    tts = capture_tts.telemetry()

    async def sentence(number: int) -> None:
        async with tts.synthesis(TEXT) as s:
            await asyncio.sleep(0)
            if number == 1:
                raise FAILED
            attempted(s, "piper")

    async def main() -> None:
        async with tts.synthesis(TEXT * 3):
            await asyncio.gather(*map(sentence, range(3)), return_exceptions=True)
            await sentence(3)

    asyncio.run(main())
    assert outcomes(capture_tts) == ["error", "ok", "ok", "ok"]


@pytest.mark.parametrize("dropped", [False, True])
def test_an_inner_one_that_outlives_the_outer(capture_tts: Capture, *, dropped: bool) -> None:
    """A stream that is given out of the block, and one that nobody pulls to its end."""
    tts = capture_tts.telemetry()

    def stream() -> Iterator[bytes]:
        with tts.synthesis(TEXT):
            return tts.synthesis(TEXT, stream=True).stream([HALF, HALF], "piper", audio=FORMAT)

    chunks = stream()
    next(chunks)
    if not dropped:
        next(chunks)
        assert list(chunks) == []
    del chunks
    assert outcomes(capture_tts) == ["cancelled" if dropped else "ok"]


def test_the_process_ends_in_layers(capture_tts: Capture) -> None:
    """Stopped by the service once, not once for each layer."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT), tts.synthesis(TEXT), tts.synthesis(TEXT) as inner, inner.attempt("piper"):
        UNDER_WAY.stop()
    assert outcomes(capture_tts) == ["error"]
