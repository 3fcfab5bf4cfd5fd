"""Requests to speak whose handler never starts: an overloaded server does not look healthy."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from otel_tts import PCM16, Telemetry
from otel_tts.core.clock import SystemClock
from otel_tts.grpc import server_interceptor
from otel_tts.testing.capture import Capture
from tests.grpc.servers import connect, kind_of, speech, sync_server, wait_for
from tests.grpc.ways import ends

CALLS = 12
METHOD = "/test.Speech/"


class Service:
    """Handlers with two threads, which hang as long as they are told to."""

    def __init__(self, tts: Telemetry) -> None:
        self._tts = tts
        self.hanging = threading.Event()
        self.free = threading.Event()
        self.started: list[Any] = []

    def _hang(self) -> None:
        if self.hanging.is_set():
            self.free.wait(20)

    def _speak(self, text: bytes, **options: Any) -> bytes:
        with self._tts.synthesis(text.decode(), **options) as s, s.attempt("engine") as attempt:
            self._hang()
            return attempt.audio(bytes(3_200), PCM16(16_000))

    def unary_unary_speaks(self, request: bytes, context: Any) -> bytes:
        """Speak whatever it gets."""
        return self._speak(request)

    def unary_unary_for_nobody(self, request: bytes, context: Any) -> bytes:
        """Speak what nobody waits for."""
        return self._speak(request, kind="batch")

    def unary_stream_speaks(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Speak in pieces."""
        yield from self._tts.synthesis(request.decode(), stream=True).stream(self._engine(), "engine", audio=PCM16(16_000))

    def _engine(self) -> Iterator[bytes]:
        self._hang()
        yield bytes(3_200)

    def unary_unary_at_times(self, request: bytes, context: Any) -> bytes:
        """Speak only where it is asked to."""
        self._hang()
        return self._speak(request) if request == b"speak" else b"."

    def unary_unary_silent(self, request: bytes, context: Any) -> bytes:
        """Never speak."""
        self._hang()
        return b"."

    def stream_unary_reads(self, requests: Iterator[bytes], context: Any) -> bytes:
        """Begin to speak before its text has come, and read that in the block of the attempt."""
        self.started.append(context)
        with self._tts.synthesis() as s, s.attempt("engine") as attempt:
            self._hang()
            "".join(s.text_from(map(bytes.decode, requests)))
            return attempt.audio(bytes(3_200), PCM16(16_000))

    def stream_unary_speaks(self, requests: Iterator[bytes], context: Any) -> bytes:
        """Speak without a look at its text: nobody tells it that its caller is gone."""
        self.started.append(context)
        return self._speak(b"text of its own")

    def stream_stream_speaks(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Speak in pieces, and the second engine where the first one fails."""
        self.started.append(context)
        synthesis = self._tts.synthesis(stream=True)
        with suppress(OSError), synthesis, synthesis.attempt("broken"):
            raise OSError
        yield from synthesis.stream(self._engine(), "engine", audio=PCM16(16_000))

    def stream_unary_twice(self, requests: Iterator[bytes], context: Any) -> bytes:
        """Speak in two layers."""
        self.started.append(context)
        with self._tts.synthesis():
            return self._speak(b"text of its own")

    def handlers(self) -> Any:
        """Its methods."""
        names = [name for name in dir(self) if name.startswith(("unary", "stream"))]
        return speech(**{name: getattr(self, name) for name in names})


def many(port: int, method: str, *, timeout_s: float, cancel: bool = False, requests: Sequence[bytes] = ()) -> Counter[str]:
    """What clients see of many RPCs at once. requests: for methods that take several."""
    with connect(port) as channel:
        stub = getattr(channel, kind_of(method))(f"{METHOD}{method}")
        start = stub if kind_of(method).endswith("stream") else stub.future
        calls = [start(iter(requests) if requests else b"speak", timeout=timeout_s) for _ in range(CALLS)]
        if cancel:
            time.sleep(0.1)
            for call in calls:
                call.cancel()
        return Counter(call.code().name for call in calls)


def outcomes(capture: Capture) -> Counter[tuple[str, bool, str]]:
    """How requests to speak ended, by whether they are streams and who waits, as spans tell it."""
    return Counter(
        (
            synthesis["tts.outcome"],
            synthesis["gen_ai.request.stream"],
            synthesis["tts.request.kind"] or "interactive",
        )
        for synthesis in capture.syntheses()
    )


@pytest.fixture
def service(capture_tts: Capture) -> Service:
    """Measured by the real clock: deadlines are gRPC's."""
    return Service(capture_tts.telemetry(clock=SystemClock()))


@pytest.mark.parametrize(
    ("method", "stream", "kind"),
    [
        ("unary_unary_speaks", False, "interactive"),
        ("unary_stream_speaks", True, "interactive"),
        ("unary_unary_for_nobody", False, "batch"),
    ],
)
@pytest.mark.parametrize("cancel", [False, True], ids=["deadline", "cancelled"])
def test_what_waits_for_a_thread_until_its_caller_is_gone_is_a_request(
    capture_tts: Capture, service: Service, method: str, stream: bool, kind: str, cancel: bool
) -> None:
    """Each RPC of a method that always speaks is a request with the outcome that its caller saw, though no handler ran for it."""
    with sync_server(service._tts, service.handlers(), workers=2) as port:
        with connect(port) as channel:
            call = getattr(channel, kind_of(method))(f"{METHOD}{method}")(b"speak", timeout=10)
            assert b"".join(call if stream else [call]) == bytes(3_200)
        service.hanging.set()
        seen = many(port, method, timeout_s=20.0 if cancel else 1.0, cancel=cancel)
        expected = {"CANCELLED" if cancel else "DEADLINE_EXCEEDED": CALLS}
        assert seen == expected
        wait_for(lambda: sum(ends(capture_tts).values()) == CALLS + 1)  # only then threads are free: the server learns of it last
        service.free.set()
    assert ends(capture_tts) == {**expected, "OK": 1}
    bad = "cancelled" if cancel else "deadline"
    assert outcomes(capture_tts) == {("ok", stream, kind): 1, (bad, stream, kind): CALLS}
    durations = capture_tts.metrics()["tts.synthesis.duration" if kind == "interactive" else "tts.background.duration"]
    assert sum(count for _, count in durations) == CALLS + 1
    unread = [synthesis for synthesis in capture_tts.syntheses(outcome=bad) if synthesis["tts.text.length"] is None]
    assert len(unread) == CALLS - 2  # two had a thread


@pytest.mark.parametrize("cancel", [False, True], ids=["deadline", "cancelled"])
@pytest.mark.parametrize("method", ["stream_unary_reads", "stream_unary_speaks", "stream_stream_speaks", "stream_unary_twice"])
def test_a_handler_that_starts_when_its_caller_is_gone_makes_no_other_request(
    capture_tts: Capture, service: Service, method: str, cancel: bool
) -> None:
    """It starts when a thread is free. Its RPC is one request all the same, and what it does are attempts, which fail only by engines."""
    with sync_server(service._tts, service.handlers(), workers=2) as port:
        with connect(port) as channel:
            answer = getattr(channel, kind_of(method))(f"{METHOD}{method}")(iter([b"text"]), timeout=10)
            b"".join(answer if kind_of(method) == "stream_stream" else [answer])
        service.hanging.set()
        many(port, method, timeout_s=20.0 if cancel else 1.0, cancel=cancel, requests=[b"text"])
        wait_for(lambda: sum(ends(capture_tts).values()) == CALLS + 1)
        service.free.set()
        wait_for(lambda: len(service.started) == CALLS + 1 and not capture_tts.total("tts.synthesis.active"))
    bad = "cancelled" if cancel else "deadline"
    assert Counter(synthesis["tts.outcome"] for synthesis in capture_tts.syntheses()) == {"ok": 1, bad: CALLS}
    assert capture_tts.total("tts.synthesis.requests") == CALLS + 1
    attempts = [span for span in capture_tts.spans if (span.attributes or {}).get("tts.attempt.reason")]
    assert capture_tts.total("tts.attempt.duration") == len(attempts) > CALLS
    failed = {
        dict(span.attributes or {}).get("gen_ai.provider.name") for span in attempts if span.attributes["tts.outcome"] == "error"
    }  # type: ignore[index]
    assert failed <= {"broken"}


@pytest.mark.parametrize("method", ["unary_unary_silent", "unary_unary_at_times"])
def test_a_method_that_does_not_always_speak_is_not_guessed_at(capture_tts: Capture, service: Service, method: str) -> None:
    """What its callers asked for is not known, so nothing is counted but the RPCs."""
    with sync_server(service._tts, service.handlers(), workers=2) as port:
        with connect(port) as channel:
            stub = channel.unary_unary(f"{METHOD}{method}")
            for request in (b"speak", b"no"):
                stub(request, timeout=10)
        before = len(capture_tts.syntheses())
        service.hanging.set()
        many(port, method, timeout_s=0.5)
        wait_for(lambda: sum(ends(capture_tts).values()) == CALLS + 2)
        service.free.set()
    assert len(capture_tts.syntheses()) - before <= 2  # those whose handler had a thread


def test_a_server_that_refuses_looks_as_it_is(capture_tts: Capture, service: Service) -> None:
    """Beyond `maximum_concurrent_rpcs` each RPC of a method that speaks is a request that was not served."""
    with sync_server(service._tts, service.handlers(), workers=2, maximum_concurrent_rpcs=2) as port:
        with connect(port) as channel:
            channel.unary_unary(f"{METHOD}unary_unary_speaks")(b"speak", timeout=10)
        service.hanging.set()
        seen = many(port, "unary_unary_speaks", timeout_s=1.0)
        wait_for(lambda: sum(ends(capture_tts).values()) == CALLS + 1)
        service.free.set()
    assert ends(capture_tts) == {**seen, "OK": 1 + seen["OK"]}
    assert len(capture_tts.syntheses()) == CALLS + 1
    assert sum(count for (outcome, *_), count in outcomes(capture_tts).items() if outcome == "ok") == 1 + seen["OK"]


class Mapped:
    """A mapping that names one method."""

    def observe(self, behavior: Any, method: str, telemetry: Telemetry, **streaming: bool) -> Any:
        """Call the handler as it is."""
        return functools.partial(behavior) if method.endswith("_silent") else behavior


def test_a_mapped_method_needs_no_request_before(capture_tts: Capture, service: Service) -> None:
    """A mapping says that a method speaks: a server that hangs from its start counts all the same."""
    interceptor = server_interceptor(service._tts, mapping=Mapped())
    service.hanging.set()
    with sync_server(None, service.handlers(), workers=2, before=[interceptor]) as port:
        assert many(port, "unary_unary_silent", timeout_s=0.5) == {"DEADLINE_EXCEEDED": CALLS}
        wait_for(lambda: sum(ends(capture_tts).values()) == CALLS)
        service.free.set()
    assert outcomes(capture_tts) == {("deadline", False, "interactive"): CALLS - 2}  # two had a thread, and spoke nothing
