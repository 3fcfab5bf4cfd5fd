"""What LiveKit Agents and Pipecat report of three replies, the last one interrupted, beside what otel-tts and the listener recorded.

    python -m benchmarks.frameworks

Both speak over one WebSocket to a local server of Cartesia's protocol with a real engine behind it, which sends a quarter of a second of
audio every 0.1 s. The listener counts by itself. Pipecat needs `make tools`: it has an environment of its own. The table is Markdown, as
in `docs/guides/voice-agents.md`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.frameworks_played import REPLIES
from tests.instrumentation.speech_sockets import SpeechSockets

ROOT = Path(__file__).parents[1]
PYTHONS = {"livekit": sys.executable, "pipecat": str(ROOT / ".tools" / "pipecat" / "bin" / "python")}
PRICES = "[cartesia]\nusd_per_million_characters = 50.0\n"
PACE_S = 0.1
"""Between two messages of a quarter of a second of audio."""


def run(framework: str) -> dict[str, Any]:
    """Run the replies of one framework.

    Returns:
        What it, otel-tts and the listener have of each, and its version.

    Raises:
        RuntimeError: the program failed.
    """
    with TemporaryDirectory() as directory, SpeechSockets().running() as server:
        server.pace_s = PACE_S
        prices = Path(directory) / "prices.toml"
        prices.write_text(PRICES)
        environ = os.environ | {"OTEL_TTS_DATA_DIR": f"{directory}/data", "PYTHONPATH": str(ROOT), "OTEL_TTS_PRICES": str(prices)}
        command = [PYTHONS[framework], "-m", "benchmarks.frameworks_played", framework, server.url]
        ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=200)
    if ran.returncode:
        raise RuntimeError(f"{framework}: {ran.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def rows(result: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows of a framework's table."""
    for text, reported, request, listener in zip(
        REPLIES, result["framework"], result["otel_tts"], result["listener"], strict=True
    ):
        ours = {
            key: round(value, 3) if isinstance(value, float) else value for key, value in request.items() if value is not None
        }
        ours.pop("cost", None)
        yield f"{len(text.split())} words", _text(reported) or "nothing", _text(ours), _text(listener)


def _text(figures: dict[str, Any]) -> str:
    return (
        json.dumps({key: _short(value) for key, value in figures.items() if value not in ([], None)}).strip("{}").replace('"', "")
    )


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, list):
        return [_short(item) for item in value]
    return {key: _short(item) for key, item in value.items()} if isinstance(value, dict) else value


def main() -> None:
    """Run both, and print their tables."""
    for framework in PYTHONS:
        result = run(framework)
        print(
            f"\n{framework} {result['version']}\n\n| reply | {framework} | otel-tts | the listener |\n| --- | --- | --- | --- |"
        )
        for row in rows(result):
            print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
