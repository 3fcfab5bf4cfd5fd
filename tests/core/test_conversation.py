"""Conversations: utterances with text in pieces and interruptions, what nobody heard, kinds of requests, the application's attributes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_tts import PCM16, Telemetry, semconv
from otel_tts.semconv import CancelReason
from otel_tts.testing.capture import Capture, FakeClock

FORMAT = PCM16(16000)
SECOND = b"\1\2" * 16000
Attributes = dict[str, Any]


def chunks(clock: FakeClock, count: int, wait_s: float = 0.1) -> Iterator[bytes]:
    """Pieces of a second each, made in ``wait_s``."""
    for _ in range(count):
        clock.advance(wait_s)
        yield SECOND


def points(reader: InMemoryMetricReader, name: str) -> list[tuple[Attributes, float]]:
    """The attribute sets of a metric, with their sums."""
    data = reader.get_metrics_data()
    return [
        (dict(point.attributes or {}), getattr(point, "sum", getattr(point, "value", 0)))
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


# -- the conversation -----------------------------------------------------------------------------------------------------------


def test_a_conversation_is_on_spans_and_never_on_metrics(capture_tts: Capture) -> None:
    """Its id and the application's attributes stand on the request, the id on the attempt too, and on no metric."""
    tts = capture_tts.telemetry()
    with (
        tts.conversation("call 7", attributes={"app.tenant": "acme"}),
        tts.synthesis("Hello.", attributes={"app.turn": 3}) as s,
        s.attempt("piper") as attempt,
    ):
        attempt.audio(SECOND, FORMAT)
    synthesis = capture_tts.synthesis(outcome="ok")
    kept = ("gen_ai.conversation.id", "app.tenant", "app.turn")
    assert {key: synthesis[key] for key in kept} == {"gen_ai.conversation.id": "call 7", "app.tenant": "acme", "app.turn": 3}
    assert synthesis.attempts[0]["gen_ai.conversation.id"] == "call 7"
    for metric in semconv.METRICS:
        assert semconv.CONVERSATION not in metric.attributes
        for point in capture_tts.points(metric):
            assert not {"app.tenant", "app.turn", "gen_ai.conversation.id"} & set(point.attributes or {})


def test_an_inner_layer_adds_what_it_knows(capture_tts: Capture) -> None:
    """A layer inside that names the conversation gives it to the request; the outer layer's attributes stay."""
    tts = capture_tts.telemetry()
    with tts.synthesis("Hello.", attributes={"app.tenant": "acme"}) as s, s.attempt("piper") as attempt:
        tts.synthesis(conversation="call 8", attributes={"app.tenant": "other", "app.page": "home"})
        attempt.audio(SECOND, FORMAT)
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["gen_ai.conversation.id"], synthesis["app.tenant"], synthesis["app.page"]) == ("call 8", "acme", "home")


def test_log_records_carry_the_conversation(capture_tts: Capture) -> None:
    """A record that is written while a request or a conversation is under way leaves with its id; the host's own handlers see none."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    from otel_tts.sdk.logs import ExportHandler

    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger, tts, seen = logging.getLogger("test.conversation"), capture_tts.telemetry(), []
    handler, witness = ExportHandler(provider, capture_text=False), logging.Handler()
    witness.emit = lambda record: seen.append(vars(record).get("gen_ai.conversation.id"))  # type: ignore[method-assign]
    for one in (handler, witness):
        logger.addHandler(one)
    try:
        with tts.synthesis("Hello.", conversation="call 9"):
            logger.warning("in a request")
        with tts.conversation("call 10"):
            logger.warning("in a conversation")
        logger.warning("outside")
    finally:
        for one in (handler, witness):
            logger.removeHandler(one)
    ids = [(item.log_record.attributes or {}).get("gen_ai.conversation.id") for item in exporter.get_finished_logs()]
    assert ids == ["call 9", "call 10", None]
    assert seen == [None, None, None]


# -- the application's own attributes ---------------------------------------------------------------------------------------------


def test_declared_attributes_are_on_metrics_within_their_bound() -> None:
    """The first values up to the bound are kept apart, all others are one; what is not declared is on no metric."""
    reader = InMemoryMetricReader()
    tts = Telemetry(
        attributes={"app.tenant": 2, "app.tier": ("free", "paid")}, meter_provider=MeterProvider([reader], shutdown_on_exit=False)
    )
    for number in range(5):
        own = {"app.tenant": f"tenant {number}", "app.tier": "paid" if number else "stolen", "app.user": number}
        with tts.synthesis("Hello.", attributes=own) as s, s.attempt("piper") as attempt:
            attempt.audio(SECOND, FORMAT)
    for name in ("tts.synthesis.duration", "tts.synthesis.requests", "tts.synthesis.characters", "tts.synthesis.audio"):
        recorded = [attributes for attributes, _ in points(reader, name) if attributes.get("tts.audio.state") != "generated"]
        assert {(a["app.tenant"], a["app.tier"]) for a in recorded} == {
            ("tenant 0", "_OTHER"), ("tenant 1", "paid"), ("_OTHER", "paid"),
        }  # fmt: skip
        assert not any("app.user" in attributes for attributes in recorded)


def test_own_attributes_never_break_a_metrics_limit() -> None:
    """However many values, providers and models there are, no metric has more attribute sets than it may."""
    reader = InMemoryMetricReader()
    tts = Telemetry(attributes={"a": 200, "b": 200}, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    for number in range(400):
        with (
            tts.synthesis("Hello.", attributes={"a": number % 300, "b": number % 7}) as s,
            s.attempt(f"provider {number % 60}", f"model {number % 11}") as attempt,
        ):
            attempt.audio(SECOND, FORMAT)
    for metric in semconv.METRICS:
        assert len(points(reader, metric.name)) <= semconv.MAX_ATTRIBUTE_SETS


@pytest.mark.parametrize("bound", [0, -1, 201, "acme"])
def test_a_bound_that_is_none_is_refused(bound: Any) -> None:
    """A bound that bounds nothing, or a text in place of values, is an error when the service starts."""
    with pytest.raises(ValueError, match="is no bound"):
        Telemetry(attributes={"app.tenant": bound})


@given(
    st.dictionaries(
        st.text(max_size=200) | st.sampled_from([a.key for a in semconv.SYNTHESIS_SPAN.attributes]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.lists(st.integers(), max_size=2),
        max_size=40,
    )
)
def test_hostile_attributes_never_replace_ours(attributes: dict[str, Any]) -> None:
    """Whatever names and values an application gives, ours stay as they are, and none is longer or more than may be."""
    purpose = Telemetry().conversation  # the block itself takes anything
    with purpose("c", attributes=attributes):
        from otel_tts.core.purpose import current

        kept = current().span_attributes()
    assert kept.pop("gen_ai.conversation.id") == "c"
    assert len(kept) <= 32
    assert not {a.key for a in semconv.SYNTHESIS_SPAN.attributes} & set(kept)
    assert all(len(key) <= 129 and not (isinstance(value, str) and len(value) > 129) for key, value in kept.items())


# -- kinds ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["prefetch", "batch"])
def test_background_requests_stay_out_of_objectives(capture_tts: Capture, kind: str) -> None:
    """A request for which nobody waits is in no metric of duration, number or failure but its own; its text, audio and cost count."""
    clock = capture_tts.clock
    tts = capture_tts.telemetry(prices={"piper": 10.0})
    with tts.synthesis("Hello.", stream=True, kind=kind) as s:
        list(s.attempt("piper").stream(chunks(clock, 2), FORMAT))
    assert capture_tts.synthesis(outcome="ok")["tts.request.kind"] == kind
    silent = (
        "tts.synthesis.duration", "tts.synthesis.requests", "tts.synthesis.time_to_first_byte", "tts.synthesis.time_to_first_audio",
        "tts.stream.underrun", "tts.attempt.duration", "tts.attempt.real_time_factor",
    )  # fmt: skip
    assert not any(capture_tts.points(name) for name in silent)
    assert capture_tts.total("tts.background.duration", {"tts.request.kind": kind}) == 1
    assert capture_tts.total("tts.synthesis.characters") == 6
    assert capture_tts.total("tts.usage.cost") == pytest.approx(6e-5)


def test_an_unknown_kind_is_reported_and_harms_nobody(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that there is none of is left out, and the line says where it stands."""
    from otel_tts.core.guard import guard

    monkeypatch.setattr(guard, "strict", False)
    with Telemetry().synthesis("Hello.", kind="urgent") as s:
        s.add_text("!")
    assert f"kind='urgent' at {__file__}:" in caplog.text


# -- text in pieces and interruptions -----------------------------------------------------------------------------------------------


def test_text_in_pieces_has_two_beginnings(capture_tts: Capture) -> None:
    """The clock starts with the first piece; when the engine was given text to speak is kept beside it."""
    clock = capture_tts.clock
    tts = capture_tts.telemetry()
    with tts.synthesis(stream=True) as s:
        clock.advance(5)  # nobody has said anything yet
        for piece in ("Good ", "morning."):
            s.add_text(piece)
            clock.advance(0.2)
        s.flush()
        list(s.attempt("piper").stream(chunks(clock, 1, 0.3), FORMAT))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.time_to_first_text"] == pytest.approx(5)
    assert synthesis.span.end_time is not None
    assert synthesis.span.start_time is not None
    length_s = (synthesis.span.end_time - synthesis.span.start_time) / 1e9
    assert capture_tts.points("tts.synthesis.duration")[0].sum == pytest.approx(length_s - synthesis["tts.time_to_first_text"])
    assert synthesis["tts.time_to_first_segment"] == pytest.approx(0.4)
    assert synthesis["tts.time_to_first_byte"] == pytest.approx(0.7)
    assert synthesis["tts.real_time_factor"] == pytest.approx(0.3)
    assert synthesis.attempts[0]["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.3)


@pytest.mark.parametrize("late", [0, 1, 3])
def test_an_interruption_is_measured_to_the_last_audio(capture_tts: Capture, late: int) -> None:
    """However the block ends, the outcome is cancelled, with the reason, and how long audio was still handed out."""
    clock = capture_tts.clock
    tts = capture_tts.telemetry(prices={"cartesia": 100.0})
    with tts.synthesis("0123456789", stream=True) as s:
        stream = s.attempt("cartesia", remote=True).stream(chunks(clock, 10), FORMAT)
        next(stream), next(stream)
        s.interrupt(heard=1.5)
        for _ in range(late):
            next(stream)
        clock.advance(1)
        stream.close()
    synthesis = capture_tts.synthesis(outcome="cancelled")
    made = 2.0 + late
    assert {key: synthesis[key] for key in ("tts.cancel.reason", "error.type")} == {
        "tts.cancel.reason": "interrupted", "error.type": None,
    }  # fmt: skip
    assert synthesis["tts.time_to_interruption"] == pytest.approx(0.2)
    assert synthesis["tts.time_to_silence"] == pytest.approx(0.1 * late)
    assert synthesis["tts.audio.duration"] == pytest.approx(made)
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(made)
    assert synthesis["tts.audio.heard_duration"] == 1.5
    assert (synthesis.attempts[0].outcome, synthesis.attempts[0]["tts.cancel.reason"]) == ("cancelled", "interrupted")
    unheard = 1 - 1.5 / made
    assert capture_tts.total("tts.synthesis.characters", {"tts.characters.state": "wasted"}) == round(10 * unheard)
    assert capture_tts.total("tts.synthesis.characters") == 10
    assert capture_tts.total("tts.usage.cost") == pytest.approx(0.001)
    assert capture_tts.total("tts.usage.cost_wasted") == pytest.approx(0.001 * unheard)
    seconds = {
        state: capture_tts.total("tts.synthesis.audio", {"tts.audio.state": state})
        for state in ("generated", "delivered", "heard")
    }
    assert seconds == pytest.approx({"generated": made, "delivered": made, "heard": 1.5})
    assert [event.name for event in synthesis.span.events] == ["tts.interrupted"]


@pytest.mark.parametrize(
    ("reason", "outcome"), [(r.value, "cancelled") for r in CancelReason if r != "stopped"] + [("stopped", "partial")]
)
def test_every_reason_is_said(capture_tts: Capture, reason: str, outcome: str) -> None:
    """Each reason stands on the request and its attempt; stopped by the service itself is a failure of the service."""
    clock = capture_tts.clock
    with capture_tts.telemetry().synthesis("Hello.", stream=True) as s:
        stream = s.attempt("piper").stream(chunks(clock, 3), FORMAT)
        next(stream)
        s.interrupt(reason)
        s.interrupt("caller")  # the first time counts
        stream.close()
    assert capture_tts.synthesis(outcome=outcome)["tts.cancel.reason"] == reason


@pytest.mark.parametrize("pulled", range(4))
@pytest.mark.parametrize("reported", ["stream", "whole", "nothing"])
def test_an_attempt_whose_block_is_left_after_an_interruption(reported: str, pulled: int, capture_tts: Capture) -> None:
    """It is cancelled like the request, unless its provider had given everything; and never a provider that gave nothing."""
    clock = capture_tts.clock
    with capture_tts.telemetry().synthesis("Hello.", stream=True) as s, s.attempt("piper") as attempt:
        if reported == "whole":
            attempt.audio(b"\x00\x10" * 8000, FORMAT)
        if reported != "stream" or pulled == 0:
            s.interrupt()
        for number, _ in enumerate(attempt.stream(chunks(clock, 2 if pulled else 0), FORMAT) if reported == "stream" else ()):
            if number == min(pulled, 2) - 1:
                s.interrupt()
                if pulled < 3:
                    break
    [asked] = capture_tts.synthesis(outcome="cancelled").attempts
    complete = reported == "whole" or (reported == "stream" and pulled == 3)
    assert (asked.outcome, asked["tts.cancel.reason"]) == (("ok", None) if complete else ("cancelled", "interrupted"))
    assert capture_tts.total("tts.attempt.duration", {"tts.outcome": "error"}) == 0


def test_an_interruption_before_any_audio_wastes_all_text(capture_tts: Capture) -> None:
    """Nothing was handed out, so nothing was heard: silence came at once, and all characters are wasted."""
    clock = capture_tts.clock
    with capture_tts.telemetry().synthesis("Hello.", stream=True) as s, s.attempt("piper"):
        clock.advance(0.3)
        s.interrupt()
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert (synthesis["tts.time_to_silence"], synthesis["tts.time_to_first_byte"]) == (0.0, None)
    assert capture_tts.total("tts.synthesis.characters", {"tts.characters.state": "wasted"}) == 6


@given(st.integers(1, 8), st.floats(0, 1), st.booleans(), st.booleans())
def test_what_still_plays_is_not_wasted(pieces: int, share: float, stream: bool, cached: bool) -> None:
    """A request that ends ok has delivered all: what its player has not played yet by then is heard later, for all that is known."""
    reader, clock = InMemoryMetricReader(), FakeClock()
    tts = Telemetry(clock=clock, meter_provider=MeterProvider([reader], shutdown_on_exit=False), prices={"p": 7.0})
    with tts.synthesis("x" * 97, stream=stream) as s:
        made = list(s.attempt("p").stream(chunks(clock, pieces, 0.1), FORMAT))
        s.heard(share * pieces)
    if cached:
        with tts.synthesis("x" * 97, stream=stream) as s:
            with s.lookup("memory") as lookup:
                assert list(s.deliver(iter(lookup.found(made, "p")), FORMAT)) == made
            s.heard(share * pieces)
    characters = {a["tts.characters.state"]: value for a, value in points(reader, "tts.synthesis.characters")}
    assert characters == {"synthesized": 97} | ({"cached": 97} if cached else {})
    assert sum(value for _, value in points(reader, "tts.usage.cost_wasted")) == 0
    avoided = [value for _, value in points(reader, "tts.usage.cost_avoided")]
    assert avoided == ([pytest.approx(97 * 7e-6)] if cached else [])


@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=8), st.integers(0, 8), st.none() | st.floats(0, 20))
def test_what_was_wasted_is_never_more_than_all(waits: list[float], before: int, heard_s: float | None) -> None:
    """Whenever the interruption comes and whatever the player says, wasted and other characters are all of them, and money alike."""
    reader, clock = InMemoryMetricReader(), FakeClock()
    tts = Telemetry(clock=clock, meter_provider=MeterProvider([reader], shutdown_on_exit=False), prices={"p": 7.0})
    with tts.synthesis("x" * 97, stream=True) as s:
        stream = s.attempt("p").stream((b for w in waits for b in chunks(clock, 1, w)), FORMAT)
        for _ in range(min(before, len(waits))):
            next(stream)
        s.interrupt(heard=None if heard_s is None else heard_s * min(before, len(waits)) / 20)
        stream.close()
    states = {a["tts.characters.state"]: value for a, value in points(reader, "tts.synthesis.characters")}
    assert sum(states.values()) == 97
    assert all(value > 0 for value in states.values())
    cost = sum(value for _, value in points(reader, "tts.usage.cost"))
    assert 0 <= sum(value for _, value in points(reader, "tts.usage.cost_wasted")) <= cost + 1e-12


# -- connections ------------------------------------------------------------------------------------------------------------------


def test_a_connection_is_a_fact_of_its_own(capture_tts: Capture) -> None:
    """How long opening took, that it failed and why, and which utterances reused one; giving up is nobody's failure."""
    clock = capture_tts.clock
    tts = capture_tts.telemetry()
    with tts.connection("cartesia"):
        clock.advance(0.25)
    for error in (ConnectionRefusedError(), GeneratorExit()):
        with pytest.raises(type(error)), tts.connection("cartesia"):
            raise error
    for reused in (False, True, True):
        with tts.synthesis("Hello.") as s, s.attempt("cartesia", remote=True) as attempt:
            attempt.connection(reused=reused)
            attempt.audio(SECOND, FORMAT)
    uses = {reused: capture_tts.total("tts.connection.uses", {"tts.connection.reused": reused}) for reused in (False, True)}
    assert uses == {False: 1, True: 2}
    spans = [span for span in capture_tts.spans if span.name == "tts.connect"]
    assert [(span.attributes or {}).get("error.type") for span in spans] == [None, "connection", None]
    assert (spans[0].end_time or 0) - (spans[0].start_time or 0) == 250_000_000


def test_the_conventions_metrics_have_each_attempt(capture_tts: Capture) -> None:
    """Their two client metrics have one value for each attempt, of streams the time to the first audio too, with their attributes."""
    clock = capture_tts.clock
    tts = capture_tts.telemetry()
    with tts.synthesis("Hello.", stream=True) as s:
        with pytest.raises(TimeoutError), s.attempt("openai", "tts-1", remote=True):
            raise TimeoutError
        list(s.attempt("piper", "joe").stream(chunks(clock, 2), FORMAT))
    with tts.synthesis("Hello.") as s, s.attempt("piper", "joe") as attempt:
        attempt.audio(SECOND, FORMAT)
    duration = capture_tts.points("gen_ai.client.operation.duration")
    first = capture_tts.points("gen_ai.client.operation.time_to_first_chunk")
    assert sum(point.count for point in duration) == 3  # type: ignore[union-attr]
    assert [dict(point.attributes or {}) for point in first] == [
        {"gen_ai.operation.name": "text_to_speech", "gen_ai.provider.name": "piper", "gen_ai.request.model": "joe"}
    ]
    assert [point.sum for point in first] == [pytest.approx(0.1)]  # type: ignore[union-attr]
