"""What happens inside one enclosing request: repetitions after failures are one synthesis, everything else is its own."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.context import attach, detach, set_value

from otel_tts import PCM16, Telemetry
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import run_deferred
from otel_tts.core.enclosure import Enclosure, inside
from otel_tts.instrumentation.connection import Connection
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.instrumentation.utterance import Asked, Utterance, begin
from otel_tts.testing.capture import Capture, SessionProviders
from tests.instrumentation.conftest import Observe

AUDIO = bytes(4800)
PROVIDERS = ("first", "second")
EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Told = tuple[str, str, tuple[tuple[str, str, str], ...]]


@dataclass
class Asking:
    """A call of an SDK that has begun. How it ends, whoever made it says."""

    telemetry: Telemetry
    provider: str
    text: str
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def __post_init__(self) -> None:
        asked = Asked(provider=self.provider, text=self.text, audio=PCM16(24000))
        utterance = self.context.run(begin, self.telemetry, asked)
        assert isinstance(utterance, Utterance)
        self._utterance = utterance

    def end(self, ending: str) -> None:
        """With audio, an error of the provider's, an answer without audio, or because the host waits no more."""
        self.context.run(self._end, ending)

    def _end(self, ending: str) -> None:
        if ending in ("ok", "empty"):
            self._utterance.whole(AUDIO if ending == "ok" else b"")
            return
        try:
            with self._utterance:
                raise ConnectionError if ending == "error" else asyncio.CancelledError
        except (ConnectionError, asyncio.CancelledError):
            pass


def speak(telemetry: Telemetry, provider: str, text: str, ending: str = "ok") -> None:
    """One call, from its beginning to its end."""
    Asking(telemetry, provider, text).end(ending)


@contextmanager
def http_request(_: Telemetry) -> Iterator[None]:
    """What an HTTP request is."""
    enclosure = Enclosure()
    with inside(enclosure):
        yield
    enclosure.close()


@contextmanager
def rpc(telemetry: Telemetry) -> Iterator[None]:
    """What an RPC is."""
    call = Call(RequestClock(telemetry.emitter.clock))
    token = attach(set_value(CALL, call))
    yield
    detach(token)
    call.end("OK")


Enclose = Callable[[Telemetry], AbstractContextManager[None]]
ENCLOSED = pytest.mark.parametrize("enclose", [http_request, rpc])


def recorded(capture: Capture) -> list[Told]:
    """Of each synthesis: its text's length, outcome and attempts, in no order."""
    return sorted(
        (
            str(synthesis["tts.text.length"]),
            synthesis.outcome,
            tuple((attempt.provider, attempt.reason, attempt.outcome) for attempt in synthesis.attempts),
        )
        for synthesis in capture.syntheses()
    )


class Truth:
    """What the rule says, told by itself: of each text, failures are open until a call with the same text makes them good."""

    def __init__(self) -> None:
        self.requests: list[dict[str, object]] = []

    def begin(self, provider: str, text: str) -> dict[str, object]:
        """A call begins."""
        for request in self.requests:
            if request["text"] == text and request["state"] == "failed":
                reason = "retry" if request["failed"] == provider else "fallback"
                self._give_up(request)
                break
        else:
            request, reason = {"text": text, "calls": [], "causes": []}, "initial"
            self.requests.append(request)
        request["state"] = "open"
        call = {"request": request, "provider": provider, "reason": reason}
        request["calls"].append(call)  # type: ignore[attr-defined]
        return call

    @staticmethod
    def _give_up(request: dict[str, object]) -> None:
        """What its caller did not wait for, and asks for once more, has failed."""
        calls, causes = request["calls"], request["causes"]
        assert isinstance(calls, list)
        assert isinstance(causes, list)
        if causes[-1] == "cancelled":
            causes[-1] = "error"
            for call in calls:
                if call["outcome"] == "cancelled":
                    call["outcome"] = "error"

    def end(self, call: dict[str, object], ending: str) -> None:
        """It ends."""
        request = call["request"]
        assert isinstance(request, dict)
        call["outcome"] = {"wait": "cancelled"}.get(ending, ending)
        if ending == "ok":
            request |= {"state": "good", "causes": ["ok"]}
            return
        request |= {"state": "failed", "failed": call["provider"]}
        # Which of its failures names a request: the first of a provider's, unless its caller left in the end.
        request["causes"] += [call["outcome"]]
        # In the order of their failures, since the one that waits longest goes on first.
        self.requests.remove(request)
        self.requests.append(request)

    def outcomes(self) -> list[Told]:
        """As `recorded`."""
        return sorted(
            (
                str(len(str(request["text"]))),
                self._outcome(request["causes"]),  # type: ignore[arg-type]
                tuple((call["provider"], call["reason"], call["outcome"]) for call in request["calls"]),  # type: ignore[attr-defined]
            )
            for request in self.requests
        )

    @staticmethod
    def _outcome(causes: list[str]) -> str:
        if causes[-1] in ("ok", "cancelled"):
            return causes[-1]
        return next(cause for cause in causes if cause != "cancelled")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("begin", "end")),
        st.integers(0, 3),
        st.sampled_from(PROVIDERS),
        st.sampled_from(("a", "bb", "ccc")),
        st.sampled_from(("ok", "error", "empty", "wait")),
    ),
    max_size=24,
)


def _play(
    providers: SessionProviders, enclose: Enclose, steps: list[tuple[str, int, str, str, str]]
) -> tuple[list[Told], list[Told]]:
    """What is recorded of calls that begin and end so, and what the rule says."""
    with Capture(providers) as capture:
        telemetry, truth = capture.telemetry(), Truth()
        under_way: list[tuple[Asking, dict[str, object]]] = []
        with enclose(telemetry):
            for step, which, provider, text, ending in steps:
                if step == "begin":
                    under_way.append((Asking(telemetry, provider, text), truth.begin(provider, text)))
                elif under_way:
                    asking, call = under_way.pop(which % len(under_way))
                    asking.end(ending)
                    truth.end(call, ending)
            for asking, call in under_way:
                asking.end("ok")
                truth.end(call, "ok")
        assert capture.total("tts.synthesis.active") == 0
        return recorded(capture), truth.outcomes()


@pytest.fixture
def providers(_tts_providers: SessionProviders) -> SessionProviders:
    """Those of the session, of which each example has a Capture of its own."""
    return _tts_providers


@given(steps=STEPS)
@EXAMPLES
def test_any_sequence_of_calls_is_told_as_the_rule_says(
    providers: SessionProviders, steps: list[tuple[str, int, str, str, str]]
) -> None:
    """Calls that begin and end in any order, several at a time: never mixed, each text's failures made good by its own repetitions."""
    counted, expected = _play(providers, http_request, steps)
    assert counted == expected


@given(steps=STEPS.map(lambda steps: [step for step in steps if step[4] != "wait"]))
@EXAMPLES
def test_any_sequence_of_calls_in_an_rpc_is_told_so(
    providers: SessionProviders,
    steps: list[tuple[str, int, str, str, str]],
) -> None:
    """The same in an RPC that ends well."""
    counted, expected = _play(providers, rpc, steps)
    assert counted == expected


@ENCLOSED
def test_a_fallback_is_one_request(capture_tts: Capture, enclose: Enclose) -> None:
    """One request, ok, with two attempts, and in the metrics one fallback and no failed request."""
    telemetry = capture_tts.telemetry()
    with enclose(telemetry):
        speak(telemetry, "first", "Hello.", "error")
        speak(telemetry, "second", "Hello.")
    synthesis = capture_tts.synthesis(outcome="ok")
    assert [(attempt.provider, attempt.reason) for attempt in synthesis.attempts] == [
        ("first", "initial"),
        ("second", "fallback"),
    ]
    assert synthesis["tts.fallback.used"] is True
    assert capture_tts.total("tts.synthesis.requests") == 1
    assert capture_tts.total("tts.provider.fallbacks", {"tts.fallback.from": "first", "error.type": "connection"}) == 1
    assert capture_tts.total("tts.synthesis.failures") == 0


@ENCLOSED
def test_what_nothing_repeats_fails_when_it_failed(capture_tts: Capture, enclose: Enclose) -> None:
    """Its end is that of its call, however long the enclosing request goes on."""
    telemetry = capture_tts.telemetry()
    with enclose(telemetry):
        speak(telemetry, "first", "Hello.", "error")
        speak(telemetry, "first", "Good bye.")
    failed = capture_tts.synthesis(outcome="error")
    assert [span.name for span in capture_tts.spans].count("tts.synthesize") == 2
    assert failed["error.type"] == "connection"


def test_nothing_encloses_what_comes_after(capture_tts: Capture) -> None:
    """A task that outlives its request is on its own."""
    telemetry = capture_tts.telemetry()
    with http_request(telemetry):
        context = contextvars.copy_context()
        speak(telemetry, "first", "Hello.", "error")
    context.run(speak, telemetry, "second", "Hello.")
    assert sorted(synthesis.outcome for synthesis in capture_tts.syntheses()) == ["error", "ok"]


def test_a_call_that_ends_after_what_encloses_it(capture_tts: Capture) -> None:
    """It fails when it fails: no repetition in the same request can come any more."""
    telemetry, enclosure = capture_tts.telemetry(), Enclosure()
    with inside(enclosure):
        asking = Asking(telemetry, "first", "Hello.")
    enclosure.close()
    asking.end("error")
    assert capture_tts.synthesis()["error.type"] == "connection"


def failed_call(telemetry: Telemetry) -> Utterance:
    """A call that failed, made in the context of the caller."""
    utterance = begin(telemetry, Asked(provider="first", text="Hello.", audio=PCM16(24000)))
    assert isinstance(utterance, Utterance)
    with suppress(ConnectionError), utterance:
        raise ConnectionError
    return utterance


def test_what_encloses_may_be_dropped(capture_tts: Capture) -> None:
    """Whoever never ends it, a task that is never awaited say, loses no request, also if what failed is kept somewhere."""
    telemetry = capture_tts.telemetry()

    def drop() -> Utterance:
        with inside(Enclosure()):
            return failed_call(telemetry)

    kept = drop()
    gc.collect()
    run_deferred()
    assert capture_tts.synthesis()["error.type"] == "connection"
    del kept


def test_a_failed_call_of_a_message_ends_with_the_message(capture_tts: Capture) -> None:
    """The next message of a WebSocket ends it, also if the host keeps the exception, whose frames have the call."""
    telemetry, connection = capture_tts.telemetry(), Connection()
    kept: list[Utterance] = []

    def receive() -> None:
        connection.message_came()
        kept.append(failed_call(telemetry))

    def serve() -> None:
        for number in range(3):
            receive()
            gc.collect()
            run_deferred()
            assert len(capture_tts.syntheses(outcome="error")) == number

    contextvars.copy_context().run(serve)
    connection.close()


def test_an_interruption_is_no_failure(capture_tts: Capture) -> None:
    """Whoever interrupts an utterance, and asks for the same text again, wants two."""
    telemetry = capture_tts.telemetry()
    with http_request(telemetry):
        asking = Asking(telemetry, "first", "Hello.")
        asking._utterance._request.interrupt("interrupted")
        asking.end("wait")
        speak(telemetry, "first", "Hello.")
    assert sorted(synthesis.outcome for synthesis in capture_tts.syntheses()) == ["cancelled", "ok"]


def test_the_application_s_own_requests_are_never_joined(capture_tts: Capture) -> None:
    """It says what a request is: two `synthesis()` blocks are two, whatever failed."""
    telemetry = capture_tts.telemetry()
    with http_request(telemetry):
        for ending in ("error", "ok"):
            with telemetry.synthesis("Hello."):
                speak(telemetry, "first", "Hello.", ending)
    assert sorted(synthesis.outcome for synthesis in capture_tts.syntheses()) == ["error", "ok"]


def test_a_request_of_the_application_continues_none_that_failed(capture_tts: Capture) -> None:
    """Also after a call that stood alone: a `synthesis()` is a request, and what failed before it another."""
    telemetry = capture_tts.telemetry()
    with http_request(telemetry):
        speak(telemetry, "first", "Hello.", "error")
        with telemetry.synthesis("Hello."):
            speak(telemetry, "second", "Hello.")
    assert sorted(synthesis.outcome for synthesis in capture_tts.syntheses()) == ["error", "ok"]


def test_the_failure_of_what_has_ended_is_not_that_of_what_comes_after(capture_tts: Capture) -> None:
    """A task that outlives its request, and is cancelled, was cancelled, whatever the request had answered."""
    telemetry = capture_tts.telemetry()
    enclosure = Enclosure()
    with inside(enclosure):
        context = contextvars.copy_context()
    enclosure.fail(RuntimeError())
    enclosure.close()
    context.run(speak, telemetry, "first", "Hello.", "wait")
    assert capture_tts.synthesis().outcome == "cancelled"


def test_a_thread_is_inside(capture_tts: Capture, observe: Observe) -> None:
    """What the host hands to a pool of threads, with `run_in_executor` say."""
    observe(ThreadsInstrumentor)
    telemetry = capture_tts.telemetry()

    async def handle() -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, speak, telemetry, "first", "Hello.", "error")
        await loop.run_in_executor(None, speak, telemetry, "second", "Hello.")

    with http_request(telemetry):
        asyncio.run(handle())
    assert len(capture_tts.synthesis(outcome="ok").attempts) == 2


CALLS = st.lists(
    st.tuples(st.sampled_from(("a", "bb", "ccc dd")), st.sampled_from(("ok", "error", "empty"))), min_size=1, max_size=6
)


@given(calls=CALLS, stated=st.sampled_from((None, "All of it.")))
@EXAMPLES
def test_the_text_of_a_block_is_that_of_all_its_calls(
    providers: SessionProviders, calls: list[tuple[str, str]], stated: str | None
) -> None:
    """Where the application states none: what a retry is given again counts once."""
    with Capture(providers) as capture:
        telemetry = capture.telemetry()
        with telemetry.synthesis(stated):
            for text, ending in calls:
                speak(telemetry, "first", text, ending)
        begun = [text for number, (text, _) in enumerate(calls) if number == 0 or calls[number - 1][1] == "ok"]
        assert capture.synthesis()["tts.text.length"] == len(stated or "".join(begun))


@given(
    texts=st.lists(st.lists(st.sampled_from(("a", "bb", "ccc ")), min_size=1, max_size=4), min_size=1, max_size=4),
    counted=st.booleans(),
    failures=st.lists(st.integers(0, 4), max_size=2),
)
@EXAMPLES
def test_text_in_pieces_counts_once(
    providers: SessionProviders, texts: list[list[str]], counted: bool, failures: list[int]
) -> None:
    """Whether only the calls in a block know it, or the application counts it as well; a call that fails after some pieces is repeated."""
    with Capture(providers) as capture:
        telemetry = capture.telemetry()

        def take(pieces: list[str]) -> Utterance:
            utterance = begin(telemetry, Asked(provider="first", audio=PCM16(24000)))
            assert isinstance(utterance, Utterance)
            for piece in pieces:
                utterance.add_text(piece)
            return utterance

        with telemetry.synthesis() as s:
            for pieces in texts:
                if counted:
                    list(s.text_from(pieces))
                for taken in failures:
                    take(pieces[:taken]).finished(None, ConnectionError())
                take(pieces).whole(AUDIO)
        assert capture.synthesis()["tts.text.length"] == len("".join("".join(pieces) for pieces in texts))


def test_the_text_of_a_block_is_unknown_where_a_call_does_not_state_it(capture_tts: Capture) -> None:
    """The text of its other calls is a part only: no length, and no cost of what nobody can count."""
    telemetry = capture_tts.telemetry(prices={"first": 1.0})
    with telemetry.synthesis():
        speak(telemetry, "first", "Two.")
        utterance = begin(telemetry, Asked(provider="first", audio=PCM16(24000)))
        assert isinstance(utterance, Utterance)
        utterance.whole(AUDIO)
        speak(telemetry, "first", "Three.")
    view = capture_tts.synthesis(outcome="ok")
    assert (view["tts.text.length"], view["tts.usage.cost"]) == (None, None)
    assert capture_tts.total("tts.usage.cost") == pytest.approx(len("Two.Three.") * 1e-6)
    assert capture_tts.total("tts.usage.unpriced") == 1
