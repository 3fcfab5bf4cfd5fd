"""A client of Azure's speech service over its REST API, without Microsoft's SDK.

    export AZURE_SPEECH_KEY=... AZURE_SPEECH_ENDPOINT=https://westeurope.tts.speech.microsoft.com
    python examples/azure_rest.py "Hello there." hello.wav
    otel-tts requests

The audio comes while it is made, so the first byte and the first audio are measured. An answer such as 401 or 429 raises, and the
attempt has its type (`unauthorized`, `rate_limited`). The text of the request is the plain one: markup is not counted as characters.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path

import requests

import otel_tts
from otel_tts import Telemetry, Wav


def speak(tts: Telemetry, text: str, *, endpoint: str, key: str, voice: str = "en-US-AvaNeural") -> Iterator[bytes]:
    """Yield WAV, 24 kHz, 16 bit, as it comes."""
    language = "-".join(voice.split("-")[:2])
    ssml = f"<speak version='1.0' xml:lang='{language}'><voice name='{voice}'>{escape(text)}</voice></speak>"
    headers = {
        "Ocp-Apim-Subscription-Key": key,
        "Content-Type": "application/ssml+xml",
        "X-Microsoft-OutputFormat": "riff-24khz-16bit-mono-pcm",
        "User-Agent": "otel-tts-example",
    }
    with (
        tts.synthesis(text=text, voice=voice, language=language, stream=True) as synthesis,
        synthesis.attempt("azure.speech", remote=True) as attempt,
        requests.post(
            f"{endpoint}/cognitiveservices/v1", ssml.encode(), headers=headers, stream=True, timeout=(5, 30)
        ) as response,
    ):
        response.raise_for_status()
        yield from attempt.stream(response.iter_content(4096), Wav())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text")
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    pipeline = otel_tts.configure(service_name="azure-rest")
    endpoint, key = os.environ["AZURE_SPEECH_ENDPOINT"], os.environ["AZURE_SPEECH_KEY"]
    try:
        with arguments.file.open("wb") as file:
            file.writelines(speak(Telemetry(), arguments.text, endpoint=endpoint, key=key))
    finally:
        pipeline.shutdown()


if __name__ == "__main__":
    main()
