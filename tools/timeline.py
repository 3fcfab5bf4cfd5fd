"""The picture of a stream on a time line, for docs/concepts.md: `python -m tools.timeline` writes docs/images/stream.svg.

The moments are those of one stream: an engine that gives audio in four chunks, of which the third comes late.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

TARGET = Path(__file__).parents[1] / "docs" / "images" / "stream.svg"

_LEFT, _SCALE = 150, 220  # pixels: of the names, and of a second
_ROWS = {"request": 40, "attempt": 80, "chunks": 120, "listener": 180}
_FIRST_CHUNK, _LEADING_SILENCE = 0.4, 0.1  # seconds
_CHUNKS = ((0.4, 0.6), (0.8, 0.6), (2.0, 0.5), (2.2, 0.5))
"""When each chunk arrives, and the seconds of audio in it."""
_END = 2.4


def playback() -> list[tuple[float, float]]:
    """When each chunk is played, by a player that starts with the first and buffers nothing: its beginning and its end."""
    played: list[tuple[float, float]] = []
    for arrival, length in _CHUNKS:
        begin = max(arrival, played[-1][1] if played else arrival)
        played.append((begin, begin + length))
    return played


def _x(seconds: float) -> float:
    return round(_LEFT + seconds * _SCALE, 1)


def _bar(row: str, begin: float, end: float, colour: str, label: str = "") -> str:
    middle = (_x(begin) + _x(end)) / 2
    text = f'<text x="{middle:g}" y="{_ROWS[row] + 17}" text-anchor="middle" fill="#000">{label}</text>' if label else ""
    width = round(_x(end) - _x(begin), 1)
    return f'<rect x="{_x(begin):g}" y="{_ROWS[row]}" width="{width:g}" height="24" rx="3" fill="{colour}"/>{text}'


def _mark(seconds: float, label: str, row: int) -> str:
    y = 238 + 20 * row
    line = f'<line x1="{_x(seconds):g}" y1="30" x2="{_x(seconds):g}" y2="{y - 13}" stroke="#555" stroke-dasharray="4 3"/>'
    return f'{line}<text x="{_x(seconds):g}" y="{y}" fill="#000">{label}</text>'


def draw() -> str:
    """The picture, as SVG."""
    played = playback()
    gap = next((before, after) for (_, before), (after, _) in pairwise(played) if after > before)
    parts = [
        _bar("request", 0, _END, "#56b4e9", "tts.synthesize: one synthesis"),
        _bar("attempt", 0.05, _END, "#009e73", "text_to_speech: one attempt at a provider"),
        *(_bar("chunks", arrival, arrival + 0.08, "#e69f00") for arrival, _ in _CHUNKS),
        *(_bar("listener", begin, end, "#f0e442", f"{end - begin:g} s") for begin, end in played),
        _bar("listener", *gap, "#d55e00", "gap"),
        _mark(0, "the clock starts", 0),
        _mark(_FIRST_CHUNK, "time to first byte", 1),
        _mark(_FIRST_CHUNK + _LEADING_SILENCE, "time to first audio (100 ms of silence lead)", 0),
        _mark(gap[0], f"underrun: {gap[1] - gap[0]:g} s, caused by the provider", 1),
        *(
            f'<text x="8" y="{y + 17}" fill="#000">{name}</text>'
            for name, y in zip(("request", "engine", "chunks arrive", "listener hears"), _ROWS.values(), strict=True)
        ),
    ]
    body = "\n".join(parts)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 280" width="860" height="280" '
        'font-family="sans-serif" font-size="13" role="img" aria-label="A stream on a time line">\n'
        f'<rect width="860" height="280" fill="#fff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
    print(TARGET)
