"""Names that come with telemetry are text on the dashboard, whatever they say."""

from __future__ import annotations

import re

import pytest

from otel_tts.live.plain import markdown, plotly

HOSTILE = [
    "![pixel](http://evil.example/pixel.png)", "[click](javascript:alert(1))", "<img src=http://evil.example/x>", "http://evil.example",
    "www.evil.example", "me@evil.example", ":material/delete:", ":red[alarm]", "$\\frac{1}{2}$", "**bold** _it_ ~~no~~ `code`", "# title",
    "| a | b |", "1. one", "- item", "<https://evil.example>", "&lt;b&gt;", "a\n\n# b", "[x]: http://evil.example", "> quote",
]  # fmt: skip


@pytest.mark.parametrize("words", HOSTILE)
def test_markdown_is_text(words: str) -> None:
    """Every mark is escaped, and no address is left for a parser that makes links of bare ones."""
    shown = markdown(words)
    assert not re.search(r"[!-/:-@\[-`{-~]", re.sub(r"\\[!-/:-@\[-`{-~]", "", shown))
    unescaped = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown)
    assert not re.search(r"https?://|www\.|[\w.]@\w", unescaped)
    assert unescaped.replace("\u2060", "") == " ".join(words.split())


@pytest.mark.parametrize("words", HOSTILE)
def test_plotly_is_text(words: str) -> None:
    """No tag is left of what Plotly would draw as one."""
    assert "<" not in plotly(words)
