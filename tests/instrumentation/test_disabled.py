"""Names in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS that switch nothing off."""

from __future__ import annotations

from itertools import pairwise

import pytest

from otel_tts.instrumentation.disabled import misspelt
from otel_tts.instrumentation.registry import LIBRARIES

INSTALLED = {"grpc_client", "httpx", "psycopg", *(library.entry_point for library in LIBRARIES)}


def typing_errors(name: str) -> set[str]:
    """The name with a letter too few, one too many, or two that changed places."""
    swapped = {name[:i] + b + a + name[i + 2 :] for i, (a, b) in enumerate(pairwise(name))}
    return {*swapped, *(name[:i] + name[i + 1 :] for i in range(5, len(name))), name + "x", name.replace("_", "-")} - INSTALLED


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.entry_point)
def test_a_typing_error_is_said_with_the_nearest_names(library: object) -> None:
    """Whichever letter is wrong, and without the prefix: the name that was given and the one that is meant, one line each."""
    name = library.entry_point  # type: ignore[attr-defined]
    for wrong in typing_errors(name) | {name.removeprefix("tts_")}:
        (line,) = misspelt(f"{name}, {wrong},, {wrong}", INSTALLED)
        assert f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS has '{wrong}'" in line
        nearest = line.partition("The nearest: ")[2]
        assert name in nearest.rstrip(".").split(", "), (wrong, line)


@pytest.mark.parametrize("value", ["", " , ", "*", "tts_piper,grpc_client", "django", "httpx2,psycopg2", "aiohttp-client"])
def test_right_names_are_not_said(value: str) -> None:
    """Those that are installed, and those of packages that are not, also where they resemble one that is."""
    assert list(misspelt(value, INSTALLED)) == []


def test_a_name_of_ours_that_resembles_none() -> None:
    """Where no name is near, the page that lists them is named."""
    (line,) = misspelt("tts_", INSTALLED)
    assert line.endswith("docs/zero-code.md lists those of otel-tts.")
