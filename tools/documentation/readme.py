"""Two parts of ``README.md``: what zero code observes, and what others record. The rest of it is written by hand."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from otel_tts.instrumentation.registry import HEAD, rows
from tools.documentation.markdown import table

BEGIN = "<!-- coverage: written by `make generate` from otel_tts/instrumentation/registry.py -->"
END = "<!-- end of coverage -->"
PEERS_BEGIN = "<!-- peers: written by `make generate` from benchmarks/peers_recorded.json -->"
PEERS_END = "<!-- end of peers -->"
_RECORDED = Path(__file__).parents[2] / "benchmarks" / "peers_recorded.json"


def render(readme: str) -> str:
    """The README with both parts as they are now.

    Args:
        readme: the text of README.md.

    Raises:
        ValueError: the marks between which they stand are missing.
    """
    with_peers = _put(readme, PEERS_BEGIN, peers(_RECORDED.read_text("utf-8")), PEERS_END)
    return _put(with_peers, BEGIN, table(HEAD, rows()), END)


def peers(recorded: str) -> str:
    """What each peer records of the stream, and when that was measured.

    Args:
        recorded: what ``python -m benchmarks.peers_recorded`` has written.
    """
    result = json.loads(recorded)
    measured, by_peer = date.fromisoformat(result["measured"]), result["recorded"]
    facts = next(iter(by_peer.values()))
    lines = [[fact, *(each[fact] for each in by_peer.values())] for fact in facts]
    return (
        f"Measured on {measured.day} {measured:%B %Y} by `python -m benchmarks.peers_recorded`.\n\n{table(['', *by_peer], lines)}"
    )


def _put(text: str, begin: str, part: str, end: str) -> str:
    before, mark, rest = text.partition(begin)
    _, closing, after = rest.partition(end)
    if not (mark and closing):
        raise ValueError(f"README.md needs the lines {begin!r} and {end!r}: a part that is generated stands between them.")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"
