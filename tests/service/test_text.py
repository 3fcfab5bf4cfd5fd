"""What is refused, and where text is cut."""

# ruff: noqa: RUF001 - sentences in many scripts

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts.service.speech import EngineRequest, InvalidInputError
from otel_tts.service.text import normalise, pieces, validate

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 30))
BILLION_LAUGHS = f'<!DOCTYPE speak [<!ENTITY l0 "ha">{LAUGHS}]><speak>&l29;</speak>'
NOTHING = "The text has no letter and no digit in it, so there is nothing to speak. Send some words."
ELEMENTS = "only these elements are allowed: break, emphasis, mark, p, phoneme, prosody, s, say-as, speak, sub."


@pytest.mark.parametrize(
    "text",
    ["Hi.", "你好", "١٢", "Ⅷ", "one\r\n\ttwo\x0bthree\x85four", "👍 great", "e\u0301", "\u202eabc", "a" * 5000, "a < b & c"],
)
def test_speakable_text_is_accepted(text: str) -> None:
    """A letter or a digit of any script is enough, and white space of any kind does no harm."""
    validate(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", NOTHING),
        (" \n\t", NOTHING),
        ("?!…", NOTHING),
        ("😀👩‍👩‍👧🏽", NOTHING),
        ("ab\x00c", "Character 3 of the text is a control character or half a surrogate pair. Remove it."),
        ("\x1b[31mred", "Character 1 of the text is a control character or half a surrogate pair. Remove it."),
        ("ab\ud800", "Character 3 of the text is a control character or half a surrogate pair. Remove it."),
        ("a" * 5001, "The text is too long (characters: 5001, at most: 5000). Send it in parts."),
        ("a" * 10**6, "The text is too long (characters: 1000000, at most: 5000). Send it in parts."),
    ],
)
def test_unspeakable_text_is_refused(text: str, message: str) -> None:
    """Each fault has a message that says what to change."""
    with pytest.raises(InvalidInputError) as refusal:
        validate(text)
    assert (refusal.value.field, str(refusal.value)) == ("text", message)


@pytest.mark.parametrize(
    "ssml",
    [
        "<speak>Hi.</speak>",
        '<?xml version="1.0" encoding="utf-16"?><speak xmlns="http://www.w3.org/2001/10/synthesis" version="1.1">Grüße</speak>',
        '<speak><p><s>One<break time="1s"/>&amp; <prosody rate="slow">two</prosody> &#20320;</s></p><!-- so --></speak>',
    ],
)
def test_sound_ssml_is_accepted(ssml: str) -> None:
    """A well-formed document of known elements, whatever encoding it claims for itself."""
    validate(ssml, ssml=True)


@pytest.mark.parametrize(
    ("ssml", "message"),
    [
        ("Hi.", "The SSML is not well-formed at line 1, column 1: syntax error. Correct it, or send plain text."),
        ("<speak>\nHi", "The SSML is not well-formed at line 2, column 3: no element found. Correct it, or send plain text."),
        (
            "<speak>a & b</speak>",
            "The SSML is not well-formed at line 1, column 11: not well-formed (invalid token). Correct it, or send plain text.",
        ),
        (
            "<speak>&nbsp;a</speak>",
            "The SSML is not well-formed at line 1, column 8: undefined entity. Correct it, or send plain text.",
        ),
        ("<p>Hi</p>", "The SSML is refused at line 1, column 1: the outermost element has to be <speak>."),
        ('<speak>Hi <audio src="file:///etc/passwd"/></speak>', f"The SSML is refused at line 1, column 11: {ELEMENTS}"),
        ('<speak><voice name="x">Hi</voice></speak>', f"The SSML is refused at line 1, column 8: {ELEMENTS}"),
        ('<speak><break time="1s"/></speak>', NOTHING),
    ],
)
def test_unsound_ssml_is_refused(ssml: str, message: str) -> None:
    """Each fault has a message with its place, and nothing of what stands there."""
    with pytest.raises(InvalidInputError) as refusal:
        validate(ssml, ssml=True)
    assert (refusal.value.field, str(refusal.value)) == ("text", message)


@pytest.mark.parametrize(
    "document",
    [BILLION_LAUGHS, '<!DOCTYPE speak SYSTEM "file:///etc/passwd"><speak>a</speak>', "<!DOCTYPE speak><speak>a</speak>"],
    ids=["billion laughs", "external", "empty"],
)
def test_document_types_are_refused_before_anything_expands(document: str) -> None:
    """Entities cannot be declared, so no small document grows: expanding this one would take longer than anybody lives."""
    with pytest.raises(InvalidInputError, match="a document type declaration is not allowed"):
        validate(document, ssml=True, limit=100_000)


@given(st.text(max_size=50), st.text(max_size=50), st.booleans())
def test_messages_never_quote_the_text(before: str, after: str, ssml: bool) -> None:
    """Whatever stands around a secret and however it is refused, the message does not hold it."""
    for text in (f"{before}OPENSESAME{after}\x00", f"<{before}OPENSESAME{after}>", f"<speak><OPENSESAME {after}>{before}"):
        with pytest.raises(InvalidInputError) as refusal:
            validate(text, ssml=ssml, limit=5000 if ssml else 3)
        assert "OPENSESAME" not in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate", math.nan),
        ("rate", math.inf),
        ("rate", 0.0),
        ("rate", -1.0),
        ("rate", 0.24),
        ("rate", 4.1),
        ("pitch", math.nan),
        ("pitch", -21.0),
        ("volume_gain_db", -math.inf),
        ("volume_gain_db", 17.0),
    ],
)
def test_numbers_out_of_range_are_refused(field: str, value: float) -> None:
    """No request exists whose numbers make no sense."""
    change: dict[str, Any] = {field: value}
    with pytest.raises(InvalidInputError, match=rf"{field} is \S+; it has to be from \S+ to \S+\.") as refusal:
        replace(EngineRequest("Hi", "joe", "en-US"), **change)
    assert refusal.value.field == field


def test_normalised_text_is_equal_for_texts_that_sound_the_same() -> None:
    """Composed or not, and however it is spaced."""
    assert normalise(" Cafe\u0301\n\n  au\tlait ") == normalise("Café au lait") == "Café au lait"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First. Second!  Third?\nFourth", ["First. ", "Second!  ", "Third?\n", "Fourth"]),
        ('"Stop!" he said. (Really.) Oh?! …Well…', ['"Stop!" he said. ', "(Really.) ", "Oh?! ", "…Well…"]),
        ("Dr. Smith met J. K. Rowling at 3.5 p.m. on example.com.", ["Dr. Smith met J. K. Rowling at 3.5 p.m. on example.com."]),
        ("First line\r\nsecond line\u2029third", ["First line\r\n", "second line\u2029", "third"]),
        ("你好。今天天气很好！“你呢？”他问。", ["你好。", "今天天气很好！", "“你呢？”", "他问。"]),
        ("यह एक वाक्य है। दूसरा वाक्य।", ["यह एक वाक्य है। ", "दूसरा वाक्य।"]),
        ("هل أنت بخير؟ نعم.", ["هل أنت بخير؟ ", "نعم."]),
        ("", []),
    ],
)
def test_pieces_end_where_sentences_end(text: str, expected: list[str]) -> None:
    """In any script, and not at abbreviations, initials, numbers and addresses."""
    assert list(pieces(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eins, zwei, drei vier", ["eins, zwei, ", "drei vier"]),
        ("eins zwei drei vier", ["eins zwei ", "drei vier"]),
        ("einszweidreivier", ["einszweidrei", "vier"]),
        ("一二三四五，六七八九十、一二", ["一二三四五，六七八九十、", "一二"]),
        ("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", ["👩‍👩‍👧👩‍👩‍👧", "👩‍👩‍👧"]),
        ("abcdefghijke\u0301\u0323f", ["abcdefghijk", "e\u0301\u0323f"]),
    ],
)
def test_long_sentences_are_cut_where_it_is_heard_least(text: str, expected: list[str]) -> None:
    """Behind a clause, else a word, else a character, but never inside what a reader takes for one."""
    assert list(pieces(text, longest=12)) == expected


@given(st.text(alphabet=st.one_of(st.sampled_from("aZ .!?…。，,\"')\n\u0301\u200d👩 "), st.characters())), st.integers(2, 40))
def test_pieces_join_to_the_text(text: str, longest: int) -> None:
    """Nothing is lost, added or empty, and nothing is longer than allowed."""
    parts = list(pieces(text, longest))
    assert "".join(parts) == text
    assert all(0 < len(part) <= longest for part in parts)


@pytest.mark.parametrize("unit", [".", ". ", "!)", ")", " ", "a", "\n", "\u0301", "\u200d", "A.", ',"', "。"])
def test_hostile_text_is_cut_in_linear_time(unit: str) -> None:
    """Long runs of what the rules look for: a quadratic rule would take minutes for these."""
    text = unit * (200_000 // len(unit))
    assert sum(map(len, pieces(text))) == len(text)
