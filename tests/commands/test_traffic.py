"""Traffic: planned alike from the same seed, with each kind in its share."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from otel_tts.commands.load.traffic import Mix, Planned, plan
from otel_tts.service.proto.yap.tts.v1 import tts_pb2

VOICES = [
    tts_pb2.Voice(id="ann", provider="first", language="en-US"),
    tts_pb2.Voice(id="bob", provider="second", language="en-GB"),
    tts_pb2.Voice(id="eva", provider="second", language="de"),
    tts_pb2.Voice(id="aki", provider="second", language="ja"),
]
MIX = Mix(fresh=0.2, repeated=0.1, invalid=0.2, hang_ups=0.05, impatient=0.05)


def planned(number: int, seed: int = 1, mix: Mix = MIX) -> list[Planned]:
    """The first calls of a plan."""
    return list(islice(plan(VOICES, mix, seed), number))


def valid(call: Planned) -> bool:
    """Whether a service would speak it."""
    request = call.request
    ids = {voice.id for voice in VOICES}
    return (
        any(map(str.isalnum, request.text))
        and "\x07" not in request.text
        and not request.HasField("speaking_rate")
        and request.encoding in tts_pb2.AudioEncoding.values()
        and request.language in ("", "en")
        and (not request.voice or request.voice in ids)
        and request.provider in ("", "first", "second")
    )


def test_a_seed_says_everything() -> None:
    """The same seed plans the same calls, another one others."""
    assert planned(200) == planned(200)
    assert planned(200) != planned(200, seed=2)


@pytest.mark.parametrize("seed", range(5))
def test_every_stretch_has_its_share_of_each_kind(seed: int) -> None:
    """Of any 20 calls of a mix with 20 % invalid ones, 3 to 5 are invalid; hang-ups and haste come as often as asked."""
    calls = planned(400, seed)
    for start in range(0, 380, 7):
        assert 3 <= sum(not valid(call) for call in calls[start : start + 20]) <= 5
    assert 19 <= sum(call.hangs_up for call in calls) <= 21
    assert 19 <= sum(call.patience_s is not None for call in calls) <= 21


def test_texts_come_again_and_new_ones_come_too() -> None:
    """There is something for a cache to hit, to miss, and to make only once for several."""
    times = Counter(call.request.SerializeToString(deterministic=True) for call in planned(400) if valid(call))
    assert max(times.values()) > 5
    assert sum(number == 1 for number in times.values()) > 50


def test_voices_speak_their_own_language() -> None:
    """Each voice gets text in its language; one without texts gets none; streams and whole files, named voices and none."""
    calls = [call for call in planned(400) if valid(call)]
    assert {call.request.voice for call in calls} == {"", "ann", "bob", "eva"}
    assert {call.stream for call in calls} == {True, False}
    german = [call.request.text for call in calls if call.request.voice == "eva"]
    assert not {"the", "order", "please"} & {word for text in german for word in text.lower().split()}


def test_a_voice_for_any_language_speaks_english() -> None:
    """A service behind which there is one model for all languages gets its traffic too."""
    (call,) = islice(
        plan([tts_pb2.Voice(id="alloy", provider="openai", language="mul")], Mix(fresh=1, repeated=0, invalid=0), 1), 1
    )
    assert call.request.language in ("", "en")
    assert call.request.text.isascii()


def test_voices_of_unknown_languages_are_refused() -> None:
    """Without any text to speak there is no plan, and the message says for which languages there is."""
    with pytest.raises(
        ValueError, match=r"^No voice of the service speaks a language that there are texts for: en, de, fr, es, it\.$"
    ):
        next(plan([tts_pb2.Voice(id="aki", language="ja")], MIX, 1))
