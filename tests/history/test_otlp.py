"""Values of OTLP/JSON: what is none is left out and counted, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import semconv
from otel_tts.history import otlp
from otel_tts.semconv import Attribute

ARRAY = semconv.FALLBACK_PROVIDERS.key
INTEGER = next(a.key for a in vars(semconv).values() if isinstance(a, Attribute) and a.type == "int")
NO_NUMBERS = st.one_of(
    st.booleans(),
    st.none(),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), "NaN", "Infinity", "-inf", "x", "", 10**400]),
    st.lists(st.none(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
)


def decoded(*values: Any, key: str = "a") -> tuple[dict[str, Any], int]:
    """The attributes, and how many were counted as unreadable."""
    unreadable = otlp.Unreadable()
    holder = {"attributes": [{"key": f"{key}{'.' * number}", "value": value} for number, value in enumerate(values)]}
    return otlp.attributes(holder, unreadable), unreadable.count


@given(NO_NUMBERS, st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_no_finite_number_is_left_out_and_counted(wrong: Any, right: float) -> None:
    """As is truth, which Python would take for a number. A number beside it stays."""
    assert decoded({"doubleValue": wrong}, {"doubleValue": right}) == ({"a.": right}, 1)


@given(st.one_of(st.text(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)))
def test_an_attribute_of_the_registry_has_its_type(value: Any) -> None:
    """One of another type is left out and counted."""
    kind = {str: "stringValue", bool: "boolValue", float: "doubleValue"}[type(value)]
    assert decoded({kind: value}, key=INTEGER) == ({}, 1)


@pytest.mark.parametrize(("levels", "unreadable"), [(1, 0), (16, 0), (17, 1), (100, 1), (100_000, 1)])
def test_levels_of_a_value_are_bounded(levels: int, unreadable: int) -> None:
    """What has too many is left out and counted, also where it is deeper than Python's stack."""
    value: dict[str, Any] = {"boolValue": True}
    for level in range(levels):
        value = {"arrayValue": {"values": [value]}} if level % 2 else {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    attributes, count = decoded(value)
    assert (len(attributes), count) == (1 - unreadable, unreadable)


@given(st.text(st.characters(categories=["Cs", "Lu", "Ll"]), min_size=1))
def test_texts_can_be_encoded(text: str) -> None:
    """A surrogate is replaced, everything else stays."""
    ((key, value),) = decoded({"stringValue": text}, key=text)[0].items()
    assert key == value == "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= c <= "\udfff" else c for c in text)


@given(st.lists(st.text(), max_size=3))
def test_texts_of_an_array_come_as_jaeger_writes_them(texts: list[str]) -> None:
    """As an array, or as the JSON of one; what is neither is left out and counted."""
    encoded = [{"stringValue": otlp.text(text)} for text in texts]
    clean = tuple(item["stringValue"] for item in encoded)
    assert decoded({"arrayValue": {"values": encoded}}, key=ARRAY) == ({ARRAY: clean}, 0)
    for separators in ((",", ":"), (", ", ": ")):
        for ascii_only in (True, False):
            written = json.dumps(clean, separators=separators, ensure_ascii=ascii_only)
            assert decoded({"stringValue": written}, key=ARRAY) == ({ARRAY: clean}, 0)


@pytest.mark.parametrize("text", ["", "piper", "{}", '{"a": "b"}', "[1]", '["a", 1]', '["a"', "[" * 5_000, '["\\x"]', "null"])
def test_a_text_that_is_no_array_is_left_out(text: str) -> None:
    """It is counted as unreadable."""
    assert decoded({"stringValue": text}, key=ARRAY) == ({}, 1)
