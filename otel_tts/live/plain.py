"""Words that come with telemetry, such as a provider's name, shown as text: no Markdown, no link, no image, no HTML."""

from __future__ import annotations

import html
import re

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_JOINER = "\u2060"  # has no width, and keeps an address from being one


def markdown(words: str) -> str:
    """Escape words for where Streamlit takes Markdown: labels, captions. Addresses are no links.

    Args:
        words: from telemetry: they may contain marks of the format.
    """
    words = words.replace("://", f"{_JOINER}://").replace("www.", f"www{_JOINER}.").replace("@", f"{_JOINER}@")
    return _PUNCTUATION.sub(r"\\\1", " ".join(words.split()))


def plotly(words: str) -> str:
    """Escape words for where Plotly takes a kind of HTML: names of traces, ticks, what is hovered over.

    Args:
        words: from telemetry: they may contain marks of the format.
    """
    return html.escape(words, quote=False)
