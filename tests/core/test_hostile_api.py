"""Every argument of the API, given values that no argument takes: the request is counted once, as it ended, and the host sees nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from otel_tts import PCM16, Attempt, Synthesis, Telemetry
from otel_tts.core.guard import guard
from otel_tts.semconv import Outcome
from otel_tts.testing.capture import Capture


class Raising:
    """An object that can be nothing but held."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __str__ = __repr__
    __hash__ = None  # type: ignore[assignment]


class Closed:
    """An object whose very class cannot be asked for."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Nameless(type):
    """A class that does not say its name."""

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


class OfNameless(metaclass=Nameless):
    """An object of such a class."""


class Markup(str):
    """A text whose methods do something else, as those of template engines do."""

    __slots__ = ()

    def __len__(self) -> int:
        return 99

    def __add__(self, other: object) -> str:
        raise RuntimeError

    __radd__ = __getitem__ = __iter__ = __str__ = isascii = isspace = strip = __add__  # type: ignore[assignment]


VALUES: list[Any] = [
    None, True, 0, -1, 1.5, float("nan"), float("inf"), 2**70, "", "nonsense", "\ud83d", "\x1b]52;c;eA==\x07", "x" * 10_000, b"bytes",
    [], [1], {}, {"a": 1}, {"\ud83d": object()}, {1}, range(3), object(), ..., ValueError("spoken"), ValueError, PCM16, Raising(), Closed(),
    OfNameless(), Markup("Hello"),
    np.array([1, 2]), np.array([]), np.float32(1), Decimal("NaN"), lambda: 1, iter(()), memoryview(b"abc"), 1j,
]  # fmt: skip
FORMAT = PCM16(16_000)
CHUNK = b"\x00\x40\x00\xc0" * 800
Speak = Callable[[Synthesis], object]


def attempt(synthesis: Synthesis, before: Callable[[Attempt], object] = lambda _: None, **arguments: Any) -> None:
    """Have a provider speak."""
    with synthesis.attempt(**{"provider": "piper", **arguments}) as tried:
        before(tried)
        list(tried.stream([CHUNK, CHUNK], FORMAT))


def request(begin: Callable[[], Synthesis], *steps: Speak) -> None:
    """Make a request of these steps; by default a provider speaks."""
    with begin() as synthesis:
        for step in steps or (attempt,):
            step(synthesis)


def enter(block: AbstractContextManager[Any]) -> None:
    """Go through a block in which nothing is done."""
    with block:
        pass


def in_conversation(tts: Telemetry, **arguments: Any) -> None:
    """A request in the block of a conversation."""
    with tts.conversation(**arguments):
        request(lambda: tts.synthesis("hi"))


def plain(*steps: Callable[[Synthesis, Any], object]) -> Callable[[Telemetry, Any], None]:
    """A case: a request of these steps, each of which gets the value."""
    return lambda tts, value: request(lambda: tts.synthesis("hi"), *(lambda s, step=step: step(s, value) for step in steps))


def spoken(step: Callable[[Synthesis, Any], object]) -> Callable[[Telemetry, Any], None]:
    """A case: somebody spoke, and then comes this step."""
    return plain(lambda s, _: attempt(s), step)


def aside(step: Callable[[Telemetry, Any], object]) -> Callable[[Telemetry, Any], None]:
    """A case: something outside of the request, and then a request."""

    def case(tts: Telemetry, value: Any) -> None:
        step(tts, value)
        request(lambda: tts.synthesis("hi"))

    return case


def _hit(synthesis: Synthesis, **arguments: Any) -> None:
    with synthesis.lookup("memory") as tier:
        tier.found(CHUNK, **arguments)


def _failing(synthesis: Synthesis, before: Callable[[Attempt], object]) -> None:
    with synthesis.attempt("piper") as tried:
        before(tried)


def _streaming(synthesis: Synthesis, format: Any) -> None:
    with synthesis.attempt("piper") as tried:
        assert list(tried.stream([CHUNK, CHUNK], format)) == [CHUNK, CHUNK]


def _pull(delivered: Any, value: Any) -> None:
    """Pull what is measured: it gives as much as the value itself, and raises what that raises."""
    if delivered is not value:  # which bytes are
        assert _pulled(delivered) == _pulled(value)


def _pulled(chunks: Any) -> tuple[int, type[Exception] | None]:
    count = 0
    try:
        for _ in chunks:
            count += 1
    except Exception as error:  # noqa: BLE001 - whatever it is
        return count, type(error)
    return count, None


def _attempted(synthesis: Synthesis, value: Any) -> None:
    with synthesis.attempt("piper") as tried:
        _pull(tried.stream(value, FORMAT), value)


def _whole(synthesis: Synthesis, data: Any, format: Any) -> None:
    with synthesis.attempt("piper") as tried:
        assert tried.audio(data, format) is data


GOOD: dict[str, Callable[[Telemetry, Any], None]] = {
    "synthesis(text)": lambda tts, value: request(lambda: tts.synthesis(value)),
    "synthesis(voice)": lambda tts, value: request(lambda: tts.synthesis("hi", value)),
    "synthesis(language)": lambda tts, value: request(lambda: tts.synthesis("hi", language=value)),
    "synthesis(stream)": lambda tts, value: request(lambda: tts.synthesis("hi", stream=value)),
    "synthesis(conversation)": lambda tts, value: request(lambda: tts.synthesis("hi", conversation=value)),
    "synthesis(kind)": lambda tts, value: request(lambda: tts.synthesis("hi", kind=value)),
    "synthesis(attributes)": lambda tts, value: request(lambda: tts.synthesis("hi", attributes=value)),
    "synthesis(attributes: value)": lambda tts, value: request(lambda: tts.synthesis("hi", attributes={"a": value})),
    "conversation(id)": lambda tts, value: in_conversation(tts, id=value),
    "conversation(kind)": lambda tts, value: in_conversation(tts, kind=value),
    "conversation(attributes)": lambda tts, value: in_conversation(tts, attributes=value),
    "attempt(provider)": plain(lambda s, value: attempt(s, provider=value)),
    "attempt(model)": plain(lambda s, value: attempt(s, model=value)),
    "attempt(reason)": plain(lambda s, value: attempt(s, reason=value)),
    "attempt(remote)": plain(lambda s, value: attempt(s, remote=value)),
    "attempt(text)": plain(lambda s, value: attempt(s, text=value)),
    "attempt.connection": plain(lambda s, value: attempt(s, lambda tried: tried.connection(reused=value))),
    "add_text": plain(lambda s, value: s.add_text(value), lambda s, _: attempt(s)),
    "text_from": plain(lambda s, value: list(s.text_from([value])), lambda s, _: attempt(s)),
    "lookup(tier)": plain(lambda s, value: enter(s.lookup(value)), lambda s, _: attempt(s)),
    "skipped(provider)": plain(lambda s, value: s.skipped(value), lambda s, _: attempt(s)),
    "skipped(error_type)": plain(lambda s, value: s.skipped("openai", value), lambda s, _: attempt(s)),
    "skipped(error)": plain(lambda s, value: s.skipped("openai", error=value), lambda s, _: attempt(s)),
    "coalesced(provider)": plain(lambda s, value: s.coalesced(value), lambda s, _: s.deliver(CHUNK, FORMAT)),
    "coalesced(leader)": plain(lambda s, value: s.coalesced(leader=value), lambda s, _: s.deliver(CHUNK, FORMAT)),
    "queued": spoken(lambda s, value: s.queued(value)),
    "heard": spoken(lambda s, value: s.heard(value)),
    "encoded(format)": spoken(lambda s, value: s.encoded(value, 0.1)),
    "encoded(seconds)": spoken(lambda s, value: s.encoded("wav", value)),
    "score(name)": spoken(lambda s, value: s.score(value, 1.0)),
    "score(value)": spoken(lambda s, value: s.score("mos", value)),
    "cache_write(tier)": spoken(lambda s, value: enter(s.cache_write(value))),
    "found(provider)": spoken(lambda s, value: _hit(s, provider=value)),
    "found(audio)": spoken(lambda s, value: _hit(s, audio=value)),
    "found(duration)": spoken(lambda s, value: _hit(s, duration=value)),
    "connection(provider)": aside(lambda tts, value: enter(tts.connection(value))),
    "probe(provider)": aside(lambda tts, value: enter(tts.probe(value))),
    "provider(name)": aside(lambda tts, value: tts.provider(value).available(True)),
    "available": aside(lambda tts, value: tts.provider("piper").available(value)),
    "cache_evicted(tier)": aside(lambda tts, value: tts.cache_evicted(value, "size")),
    "cache_evicted(reason)": aside(lambda tts, value: tts.cache_evicted("memory", value)),
    "cache_evicted(count)": aside(lambda tts, value: tts.cache_evicted("memory", "size", value)),
    "observe_cache(tier)": aside(lambda tts, value: tts.observe_cache(value, entries=lambda: 1)),
    "observe_cache(entries)": aside(lambda tts, value: tts.observe_cache("memory", entries=value)),
    "synthesis.stream(remote)": plain(lambda s, value: list(s.stream([CHUNK], "piper", audio=FORMAT, remote=value))),
}
"""What goes well whatever one argument is."""

FAILED: dict[str, Callable[[Telemetry, Any], None]] = {
    "fail(error)": spoken(lambda s, value: s.fail(value)),
    "fail(outcome)": spoken(lambda s, value: s.fail(outcome=value)),
    "fail(error_type)": spoken(lambda s, value: s.fail(error_type=value)),
    "attempt.fail(error)": plain(lambda s, value: _failing(s, lambda tried: tried.fail(value))),
    "attempt.fail(outcome)": plain(lambda s, value: _failing(s, lambda tried: tried.fail(outcome=value))),
    "attempt.fail(error_type)": plain(lambda s, value: _failing(s, lambda tried: tried.fail(error_type=value))),
    "interrupt(reason)": spoken(lambda s, value: s.interrupt(value)),
    "interrupt(heard)": spoken(lambda s, value: s.interrupt(heard=value)),
}
"""What the application reports as a failure or as cut off, and is no success therefore."""

UNREADABLE: dict[str, Callable[[Telemetry, Any], None]] = {
    "stream(format)": plain(_streaming),
    "audio(format)": plain(lambda s, value: _whole(s, CHUNK, value)),
    "audio(data)": plain(lambda s, value: _whole(s, value, FORMAT)),
    "deliver(format)": plain(lambda s, value: s.deliver(CHUNK, value)),
    "deliver(audio)": plain(lambda s, value: _pull(s.deliver(value, FORMAT), value)),
    "synthesis.stream(chunks)": plain(lambda s, value: _pull(s.stream(value, "piper", audio=FORMAT), value)),
    "synthesis.stream(audio)": plain(lambda s, value: list(s.stream([CHUNK], "piper", audio=value))),
    "attempt.stream(chunks)": plain(_attempted),
}
"""What leaves the audio unknown; whether there was any decides the outcome."""


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, capture_tts: Capture) -> Iterator[list[str]]:
    """What is logged, as in production, where nothing has been warned of yet."""
    monkeypatch.setattr(guard, "strict", False)
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Lines(logging.WARNING)
    logging.getLogger("otel_tts").addHandler(handler)
    yield lines
    logging.getLogger("otel_tts").removeHandler(handler)


@pytest.mark.parametrize("name", [*GOOD, *FAILED, *UNREADABLE])
def test_an_argument_that_makes_no_sense(
    name: str,
    capture_tts: Capture,
    warnings: list[str],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """Each value costs nothing but what it was given for; a warning names this file and its line, and holds no exception's message."""
    case = GOOD.get(name) or FAILED.get(name) or UNREADABLE[name]
    tts = capture_tts.telemetry()
    for position, value in enumerate(VALUES):
        monkeypatch.setattr(guard, "_warned", set())
        case(tts, value)
        syntheses = capture_tts.syntheses()
        assert len(syntheses) == position + 1, f"value {position} is lost"
        outcome = syntheses[-1].outcome
        if name in GOOD:
            assert outcome == Outcome.OK, f"value {position}"
        elif name in UNREADABLE:
            assert outcome in (Outcome.OK, Outcome.EMPTY, Outcome.ERROR), f"value {position}"
        elif not (value is None or "attempt" in name):
            assert outcome != Outcome.OK, f"value {position}"
    record_property("hostile inputs: API", len(VALUES))
    assert all(f"{__file__}:" in line for line in warnings), warnings
    assert not any("spoken" in line for line in warnings if "error=" in line), warnings
    assert capture_tts.total("tts.synthesis.requests") == len(VALUES)
    assert capture_tts.total("tts.synthesis.active") == 0


TEXT = "My secret words."
WITH_TEXT: list[Any] = [
    TEXT,
    TEXT.encode(),
    ValueError(TEXT),
    [TEXT],
    {"a": TEXT},
    (TEXT,),
    {TEXT},
    np.array([TEXT]),
    Markup(TEXT),
]


@pytest.mark.parametrize("name", [*GOOD, *FAILED, *UNREADABLE])
def test_no_warning_has_the_text_to_speak(
    name: str, capture_tts: Capture, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the message of an exception: whoever passes one in the wrong place is told of the place and the type."""
    case = GOOD.get(name) or FAILED.get(name) or UNREADABLE[name]
    tts = capture_tts.telemetry()
    for value in WITH_TEXT:
        monkeypatch.setattr(guard, "_warned", set())
        case(tts, value)
    assert not any("secret" in line for line in warnings), warnings


@pytest.mark.parametrize("how", ["outcome", "error_type"])
def test_a_failed_attempt_is_none_that_went_well(how: str, capture_tts: Capture, warnings: list[str]) -> None:
    """Whatever its failure is called."""
    tts = capture_tts.telemetry()
    with tts.synthesis("hi") as s:
        for value in VALUES[1:]:
            _failing(s, lambda tried, value=value: tried.fail(**{how: value}))  # type: ignore[misc]
        attempt(s)
    outcomes = [
        attributes["tts.outcome"] for span in capture_tts.spans if "tts.attempt.reason" in (attributes := span.attributes or {})
    ]
    assert outcomes == ["error"] * (len(VALUES) - 1) + ["ok"]


def test_a_probe_is_counted_whatever_its_arguments_are(capture_tts: Capture, warnings: list[str]) -> None:
    """Also where nothing says whether ``remote`` is true: an array of several values."""
    tts = capture_tts.telemetry()
    for value in VALUES:
        with tts.probe("piper", remote=value):
            pass
    assert capture_tts.total("tts.attempt.duration") == len(VALUES)
    assert not any("failed" in line for line in warnings), warnings


def test_the_characters_of_a_text_do_not_depend_on_its_methods(capture_tts: Capture) -> None:
    """Those of a subclass of ``str``: given at once, in pieces, and to an attempt."""
    tts = capture_tts.telemetry()
    with tts.synthesis(Markup("Hello")) as s:
        s.add_text(Markup("<b>"))
        list(s.text_from([Markup("you")]))
        attempt(s, text=Markup("Hello"))
    assert capture_tts.synthesis()["tts.text.length"] == 11
